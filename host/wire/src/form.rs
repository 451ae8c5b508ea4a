//! Bodies and queries of forms (`application/x-www-form-urlencoded`), and percent-encoding.
//!
//! Pure.

/// Fields of `application/x-www-form-urlencoded`, decoded (WHATWG URL, section 5.1). Bytes that are no UTF-8 become
/// the replacement character.
pub fn form_fields(body: &[u8]) -> Vec<(String, String)> {
    let decode = |bytes: &[u8]| String::from_utf8_lossy(&percent_decode(bytes, true)).into_owned();
    body.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let cut = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (decode(&pair[..cut]), decode(pair.get(cut + 1..).unwrap_or_default()))
        })
        .collect()
}

/// The inverse of [`form_fields`].
pub fn form_encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        percent_encode(name, &mut body);
        body.push('=');
        percent_encode(value, &mut body);
    }
    body
}

/// Percent-decoding; `+` is a blank in forms. A `%` without two digits stays as it is.
pub fn percent_decode(bytes: &[u8], form: bool) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, digit(bytes.get(at)), digit(bytes.get(at + 1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 2;
            }
            (b'+', ..) if form => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
    }
    decoded
}

/// Everything but the unreserved characters (RFC 3986, section 2.3) as `%XX`.
pub fn percent_encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The same for what is a path already: its slashes and its escapes stay.
pub fn path_encode(text: &str, into: &mut String) {
    for (index, piece) in text.split('/').enumerate() {
        if index > 0 {
            into.push('/');
        }
        for (index, part) in piece.split('%').enumerate() {
            if index > 0 {
                let escape = part.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                into.push_str(if escape { "%" } else { "%25" });
            }
            percent_encode(part, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_encoded() {
        let fields = form_fields(b"a=1&b=%C3%BC+x&c&=d&&e=%zz%4");
        let expected = [("a", "1"), ("b", "ü x"), ("c", ""), ("", "d"), ("e", "%zz%4")];
        assert_eq!(fields, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let odd = "p%C3 a+b&c=d;\"e'<f>\\gü€#?";
        let body = form_encode([("_pass", odd)]);
        assert_eq!(form_fields(body.as_bytes()), [("_pass".to_owned(), odd.to_owned())]);
    }
}
