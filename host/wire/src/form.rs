//! Bodies and queries of forms (`application/x-www-form-urlencoded`).
//!
//! Pure.

use crate::percent;

/// Fields of a form, decoded (WHATWG URL, section 5.1). Bytes that are no UTF-8 become the replacement character.
pub fn read(body: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(body).into_owned().collect()
}

/// The inverse of [`read`].
pub fn write<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        percent::encode(name, &mut body);
        body.push('=');
        percent::encode(value, &mut body);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_encoded() {
        let fields = read(b"a=1&b=%C3%BC+x&c&=d&&e=%zz%4");
        let expected = [("a", "1"), ("b", "ü x"), ("c", ""), ("", "d"), ("e", "%zz%4")];
        assert_eq!(fields, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let odd = "p%C3 a+b&c=d;\"e'<f>\\gü€#?";
        let body = write([("_pass", odd)]);
        assert_eq!(read(body.as_bytes()), [("_pass".to_owned(), odd.to_owned())]);
    }
}
