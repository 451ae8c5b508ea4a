//! Finds the value of an input in a page, leniently, as browsers do.
//!
//! Pure.

/// The value of the first `<input>` with this name.
pub(super) fn input_value(page: &str, name: &str) -> Option<String> {
    let mut rest = page;
    while let Some(at) = find_ignoring_case(rest, "<input") {
        rest = &rest[at + "<input".len()..];
        let attributes = attributes(rest);
        let of = |wanted: &str| attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        if of("name") == Some(name) {
            return Some(of("value").unwrap_or("").to_owned());
        }
    }
    None
}

fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    text.as_bytes().windows(needle.len()).position(|part| part.eq_ignore_ascii_case(needle.as_bytes()))
}

/// Attributes of a tag, from behind its name to its `>` (WHATWG HTML, section 13.2.5.32 and on).
fn attributes(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        let end = text.find(|c: char| c.is_ascii_whitespace() || "=>/".contains(c)).unwrap_or(text.len());
        if end == 0 {
            return found;
        }
        let name = text[..end].to_ascii_lowercase();
        text = text[end..].trim_start();
        let mut value = "";
        if let Some(rest) = text.strip_prefix('=') {
            let rest = rest.trim_start();
            let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
            let inner = if quote.is_some() { &rest[1..] } else { rest };
            let end = match quote {
                Some(quote) => inner.find(quote),
                None => inner.find(|c: char| c.is_ascii_whitespace() || c == '>'),
            };
            let end = end.unwrap_or(inner.len());
            value = &inner[..end];
            text = inner[end..].strip_prefix(['"', '\'']).filter(|_| quote.is_some()).unwrap_or(&inner[end..]);
        }
        found.push((name, unescape(value)));
    }
}

/// The character references that attribute values of forms have.
fn unescape(text: &str) -> String {
    let named = [("&quot;", "\""), ("&#39;", "'"), ("&#039;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&#x2F;", "/")];
    let text = named.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_found_however_they_are_written() {
        let check =
            |page: &str, value: Option<&str>| assert_eq!(input_value(page, "_token").as_deref(), value, "{page}");
        check(r#"<form><input type="hidden" name="_token" value="a&amp;b"></form>"#, Some("a&b"));
        check("<INPUT value='x y' NAME=_token>", Some("x y"));
        check("<input name=_token value=abc/><p>", Some("abc/"));
        check(r#"<input name="_token">"#, Some(""));
        check(r#"<input name="x_token" value="1"><input name="_token" value="2">"#, Some("2"));
        check(r#"<input name="other" value="name=_token">"#, None);
        for broken in ["", "<input", "<input name", "<input name=", "<input name='_token", "<input =\">", "<inputü"] {
            let _ = input_value(broken, "_token");
        }
    }
}
