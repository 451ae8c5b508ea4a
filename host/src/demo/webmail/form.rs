//! Pure. Reads what browsers write: urlencoded forms, queries and cookies.

use std::collections::HashMap;

/// A form's fields. The first value of a name counts; there is no form here with two.
pub(super) struct Form(HashMap<String, String>);

impl Form {
    /// Reads `a=1&b=2`. Bytes that are no UTF-8 become replacement characters, which match no account.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut fields = HashMap::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            fields.entry(decode(name)).or_insert_with(|| decode(value));
        }
        Self(fields)
    }

    /// The field `name`, empty if it is missing.
    pub(super) fn field(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// The value of the cookie `name` in a `Cookie` header.
pub(super) fn cookie<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Whether `target` is a place on this server and nowhere else, so that a login cannot send anybody off to a stranger.
pub(super) fn is_local(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("//")
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (nibble(*high), nibble(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_gives_back_what_was_typed() {
        let form = Form::parse(b"user=zo%C3%AB+x&password=a%26b%3d%25&odd=%zz%4&user=second&&flag");
        for (name, expected) in
            [("user", "zoë x"), ("password", "a&b=%"), ("odd", "%zz%4"), ("flag", ""), ("missing", "")]
        {
            assert_eq!(form.field(name), expected, "{name}");
        }
        assert_eq!(Form::parse(b"user=%ff").field("user"), "\u{fffd}");
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        for (header, expected) in [
            ("webmail_session=1", Some("1")),
            ("a=b; webmail_session=1=2; c=d", Some("1=2")),
            ("xwebmail_session=1", None),
            ("webmail_session", None),
            ("", None),
        ] {
            assert_eq!(cookie(header, "webmail_session"), expected, "{header}");
        }
    }

    #[test]
    fn a_login_leads_to_no_other_server() {
        for (target, local) in [
            ("/message/2?x=1", true),
            ("/", true),
            ("", false),
            ("inbox", false),
            ("//evil.test/", false),
            ("/\\evil.test", false),
            ("/a\r\nSet-Cookie: x=y", false),
            ("https://evil.test/", false),
        ] {
            assert_eq!(is_local(target), local, "{target:?}");
        }
    }
}
