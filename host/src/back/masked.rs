//! Where a redirect leads, as people may see it: paths can hold a session's id.
//!
//! Pure.

/// What stands for a part that could be secret.
const MASK: &str = "…";
/// Longer words are no names of pages, though they may be random letters.
const WORD: usize = 20;
/// What is so short opens nothing.
const SHORT: usize = 4;

/// A `Location` without its query, and with each part of its path masked that is no plain name, or that has one of the
/// `secrets` in it.
pub(super) fn masked<'a>(location: &str, secrets: impl Iterator<Item = &'a str> + Clone) -> String {
    let location = location.split(['?', '#']).next().unwrap_or_default();
    let (site, path) = match location.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            (format!("{scheme}//{host}"), path)
        }
        _ => (String::new(), location),
    };
    let part = |part: &str| {
        let (name, parameters) = part.split_at(part.find(';').unwrap_or(part.len()));
        let is_secret = secrets.clone().any(|secret| secret.len() >= SHORT && name.contains(secret));
        let name = if is_secret || !name.split(|c: char| !c.is_alphanumeric()).all(is_word) { MASK } else { name };
        format!("{name}{}", if parameters.is_empty() { "" } else { ";…" })
    };
    site + &path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Whether it is a word of some language, or too short for an id. Random letters change their case often.
fn is_word(text: &str) -> bool {
    let letters: Vec<char> = text.chars().collect();
    let turns = letters.windows(2).filter(|pair| pair[0].is_lowercase() && pair[1].is_uppercase()).count();
    letters.len() <= SHORT || (letters.len() <= WORD && turns <= 2 && letters.iter().all(|c| c.is_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pages_are_shown_and_what_could_be_an_id_is_not() {
        for (location, shown) in [
            ("/services/portal/?h=secret", "/services/portal/"),
            ("/", "/"),
            ("", ""),
            ("/SOGo/so/alice/Mail/view#!/INBOX", "/SOGo/so/alice/Mail/view"),
            ("/owa/auth/logon.aspx?reason=2", "/owa/auth/logon.aspx"),
            ("src/webmail.php", "src/webmail.php"),
            ("/app/v2/index2.php", "/app/v2/…"),
            ("/mail/;jsessionid=0A1B2C3D4E", "/mail/;…"),
            ("/mail;jsessionid=0A1B/inbox;x", "/mail;…/inbox;…"),
            ("/cgi-bin/webmail/login/alice/B9F3A0C1D2E3F4A5B6C7/1700000000", "/cgi-bin/webmail/login/alice/…/…"),
            ("/s/qWeRtYuIoPaSdFgH/inbox", "/s/…/inbox"),
            ("/s/abcdefghijklmnopqrstuvwxyz/inbox", "/s/…/inbox"),
            ("/s/of-alice/inbox", "/s/…/inbox"),
            ("https://u:p@mail.test:8443/s/0123456789?x", "https://mail.test:8443/s/…"),
            ("//mail.test/x", "//mail.test/x"),
        ] {
            assert_eq!(masked(location, ["of-alice", "x"].into_iter()), shown, "{location}");
        }
    }
}
