//! `[[site]]`: a virtual host, and how its pages look and what they say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use doorward_wire::host::host_name;

use super::link::{LINK, link};
use super::{Place, Table};

/// `[[site]]`: a virtual host.
#[derive(Debug, Clone)]
pub struct Site {
    /// Names, `*.domain` wildcards, or `*` for every other.
    pub hosts: Vec<String>,
    /// Template when no policy picks one.
    pub template: String,
    /// Shown on its pages.
    pub title: String,
    /// The file of a picture that takes the place of the look's own.
    pub logo: Option<PathBuf>,
    /// The colour of buttons and links, in red, green and blue.
    pub accent_color: Option<[u8; 3]>,
    /// Links below the login form.
    pub links: Vec<Link>,
    /// What is told above the login form.
    pub announcement: Option<Wording>,
    /// Until when, in seconds since 1970.
    pub announcement_until: Option<u64>,
    /// Whether people log in at computers that others use too.
    pub shared_computer: SharedComputer,
    /// Where it stands.
    pub place: Place,
}

/// A link below the login form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it says.
    pub text: Wording,
    /// Where it leads.
    pub url: String,
    /// Where it stands.
    pub place: Place,
}

/// What an operator tells people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wording {
    /// A text for everybody, or the key of one in the files of languages.
    Same(String),
    /// A text for each language, by its tag.
    ByLanguage(BTreeMap<String, String>),
}

/// Whether people log in at computers that others use too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SharedComputer {
    /// They do not.
    #[default]
    Never,
    /// The login page asks.
    Ask,
    /// They do.
    Always,
}

impl SharedComputer {
    /// The word for it, in the configuration and in templates.
    pub fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Ask => "ask",
            Self::Always => "always",
        }
    }
}

/// Nobody reads more on a login page.
const ANNOUNCEMENT: usize = 1000;
/// A link says where it leads in a few words.
const LINK_TEXT: usize = 80;
/// So many links fit below a form.
const LINKS: usize = 8;

pub(super) fn site(t: &Table<'_>, base: &Path) -> Site {
    let hosts: Vec<String> =
        t.texts("hosts").iter().map(|host| host.trim_end_matches('.').to_ascii_lowercase()).collect();
    if hosts.is_empty() {
        t.fault("hosts", "nothing", "at least one host name, \"*.domain\", or \"*\"");
    }
    for host in &hosts {
        let name = host.strip_prefix("*.").unwrap_or(host);
        if host != "*" && host_name(name).as_deref() != Some(name) {
            t.fault("hosts", format!("\"{host}\""), "a host name without port, \"*.domain\", or \"*\"");
        }
    }
    let links = t.tables("links", |t| Link {
        text: wording(t, "text", LINK_TEXT).unwrap_or_else(|| Wording::Same(missing(t, "text"))),
        url: t.parsed("url", LINK, link).unwrap_or_else(|| missing(t, "url")),
        place: t.place(),
    });
    if links.len() > LINKS {
        t.fault("links", format!("{} links", links.len()), format!("at most {LINKS}"));
    }
    let all = [SharedComputer::Never, SharedComputer::Ask, SharedComputer::Always].map(|kind| (kind.word(), kind));
    let announcement_until = t.moment("announcement-until");
    if t.has("announcement-until") && !t.has("announcement") {
        t.warn("announcement-until", "an end without an announcement", "an announcement that ends then");
    }
    Site {
        template: t.text("template").unwrap_or_else(|| "blue".to_owned()),
        title: t.text("title").unwrap_or_else(|| "Webmail".to_owned()),
        logo: t.text("logo").map(|path| base.join(path)),
        accent_color: t.parsed("accent-color", "a colour such as \"#1656c8\"", color),
        links,
        announcement: wording(t, "announcement", ANNOUNCEMENT),
        announcement_until,
        shared_computer: t.choice("shared-computer", &all).unwrap_or_default(),
        hosts,
        place: t.place(),
    }
}

/// Faults a required key that is not there; one that is wrong was told of.
fn missing(t: &Table<'_>, key: &str) -> String {
    if t.has(key) { String::new() } else { t.required(key) }
}

/// A text, or a table with one for each language.
fn wording(t: &Table<'_>, key: &str, most: usize) -> Option<Wording> {
    let check = |t: &Table<'_>, key: &str, text: &str| {
        let length = text.chars().count();
        if text.trim().is_empty() || length > most {
            t.fault(key, format!("a text of {length} characters"), format!("one of 1 to {most}"));
        }
        if text.contains(|c: char| c.is_control() && c != '\n') {
            t.fault(key, "a control character", "a text of letters, in lines where it is long");
        }
    };
    if t.is_table(key) {
        let texts = t.table(key, |t| {
            let text = |tag: String| {
                let text = t.text(&tag)?;
                check(t, &tag, &text);
                Some((tag, text.trim().to_owned()))
            };
            t.keys().into_iter().filter_map(text).collect::<BTreeMap<_, _>>()
        })?;
        if texts.is_empty() {
            t.fault(key, "an empty table", "a text for at least one language");
        }
        return Some(Wording::ByLanguage(texts));
    }
    let text = t.text(key)?;
    check(t, key, &text);
    Some(Wording::Same(text.trim().to_owned()))
}

fn color(text: &str) -> Option<[u8; 3]> {
    let is_color = |digits: &&str| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = text.strip_prefix('#').filter(is_color)?;
    let part = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    Some([part(0)?, part(2)?, part(4)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_written_as_in_style_sheets() {
        assert_eq!(color("#1656C8"), Some([0x16, 0x56, 0xc8]));
        for none in ["1656c8", "#1656c", "#1656c8f", "#+656c8", "blue", "#éé1", ""] {
            assert_eq!(color(none), None, "{none}");
        }
    }
}
