//! Percent-encoding (RFC 3986, section 2.1).
//!
//! Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode, utf8_percent_encode};

/// Everything but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Bytes without the encoding. A `%` without two digits stays as it is.
pub fn decode(bytes: &[u8]) -> Vec<u8> {
    percent_decode(bytes).collect()
}

/// Adds a text with everything but the unreserved characters encoded.
pub fn encode(text: &str, into: &mut String) {
    into.extend(utf8_percent_encode(text, RESERVED));
}

/// The same for what is a path already: its slashes and its escapes stay.
pub fn encode_path(text: &str, into: &mut String) {
    for (index, piece) in text.split('/').enumerate() {
        if index > 0 {
            into.push('/');
        }
        for (index, part) in piece.split('%').enumerate() {
            if index > 0 {
                let escape = part.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                into.push_str(if escape { "%" } else { "%25" });
            }
            encode(part, into);
        }
    }
}

/// Bytes as ASCII: only what is beyond ASCII is encoded.
pub fn encode_beyond_ascii(bytes: &[u8]) -> String {
    percent_encode(bytes, &AsciiSet::EMPTY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_is_encoded_and_decoded() {
        let check = |text: &str, encoded: &str| {
            let mut into = String::new();
            encode(text, &mut into);
            assert_eq!(into, encoded);
            assert_eq!(decode(into.as_bytes()), text.as_bytes());
        };
        check("aZ0-._~", "aZ0-._~");
        check("a b/%&+=\u{e9}*", "a%20b%2F%25%26%2B%3D%C3%A9%2A");
        assert_eq!(decode(b"%zz%4%C3%a9+%"), b"%zz%4\xc3\xa9+%");
    }

    #[test]
    fn a_path_keeps_its_slashes_and_escapes() {
        let check = |text: &str, encoded: &str| {
            let mut into = String::new();
            encode_path(text, &mut into);
            assert_eq!(into, encoded);
        };
        check("/a b/c%2fd/%zz/\u{e9}", "/a%20b/c%2fd/%25zz/%C3%A9");
        check("%", "%25");
    }

    #[test]
    fn ascii_stays_where_only_the_rest_is_encoded() {
        assert_eq!(encode_beyond_ascii(b"\0\t %/\x7f\x80\xc3\xa9"), "\0\t %/\x7f%80%C3%A9");
    }
}
