//! Finds the value of an input in a page, as browsers do (WHATWG HTML, sections 13.2.5 and 4.10.5.1).
//!
//! Pure.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{HtmlString, StartTag, Token, Tokenizer};

/// The value of the first `<input>` with this name that is part of the document.
pub fn input_value(page: &str, name: &str) -> Option<String> {
    let mut emitter = DefaultEmitter::default();
    // What is in scripts, styles, titles and text areas is no markup.
    emitter.naively_switch_states(true);
    // Contents of templates are no part of the document, and frames leave no room for what stands in their place.
    let mut outside = 0_usize;
    for token in Tokenizer::new_with_emitter(page, emitter) {
        match token {
            Ok(Token::StartTag(tag)) if is_outside(&tag.name) => outside = outside.saturating_add(1),
            Ok(Token::EndTag(tag)) if is_outside(&tag.name) => outside = outside.saturating_sub(1),
            Ok(Token::StartTag(tag)) if outside == 0 && *tag.name == b"input" => {
                if attribute(&tag, "name").as_deref() == Some(name) {
                    return Some(value(&tag));
                }
            }
            Ok(_) => {}
            Err(never) => match never {},
        }
    }
    None
}

fn is_outside(tag: &HtmlString) -> bool {
    matches!(tag.as_slice(), b"template" | b"noframes")
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// What a form would send for it: each kind of input cleans its value in its own way.
fn value(tag: &StartTag<()>) -> String {
    let kind = attribute(tag, "type").unwrap_or_default().to_ascii_lowercase();
    let value = attribute(tag, "value");
    match kind.as_str() {
        "checkbox" | "radio" => value.unwrap_or_else(|| "on".to_owned()),
        "hidden" | "submit" | "button" | "reset" | "image" => value.unwrap_or_default(),
        kind => {
            let line = value.unwrap_or_default().replace(['\r', '\n'], "");
            let blank = |c: char| c.is_ascii_whitespace();
            if matches!(kind, "email" | "url") { line.trim_matches(blank).to_owned() } else { line }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &str, value: Option<&str>) {
        assert_eq!(input_value(page, "_token").as_deref(), value, "{page}");
    }

    #[test]
    fn inputs_are_found_however_they_are_written() {
        check(r#"<form><input type="hidden" name="_token" value="a&amp;b"></form>"#, Some("a&b"));
        check("<INPUT value='x y' NAME=_token>", Some("x y"));
        check("<input name=_token value=abc/><p>", Some("abc/"));
        check("<input/name=\"_token\"/value=abc>", Some("abc"));
        check("<input\nname = _token\tvalue = \"a>b\">", Some("a>b"));
        check(r#"<input name="_token"value="1">"#, Some("1"));
        check(r#"<input name="_token">"#, Some(""));
        check(r#"<input value="1" name="_token" value="2" name="x">"#, Some("1"));
        check(r#"<input name="x_token" value="1"><input name="_token" value="2">"#, Some("2"));
        check(r#"<input name="other" value="name=_token">"#, None);
        check(r#"<input name="_TOKEN" value="1"><inputs name="_token" value="2">"#, None);
        for broken in ["", "<input", "<input name", "<input name=", "<input name='_token", "<input =\">", "<inputü"] {
            check(broken, None);
        }
    }

    #[test]
    fn what_is_no_markup_holds_no_inputs() {
        let real = "<input name=_token value=real>";
        for (before, behind) in [
            ("<!--", "-->"),
            ("<!--", "--!>"),
            ("<script>", "</script>"),
            ("<script>var a = '<!-- <script>';", "</script> -->'</script>"),
            ("<STYLE>", "</style >"),
            ("<title>", "</title>"),
            ("<textarea name=x>", "</textarea>"),
            ("<noscript>", "</noscript>"),
            ("<iframe>", "</iframe>"),
            ("<xmp>", "</xmp>"),
            ("<noframes>", "</noframes>"),
            ("<template><p><template></template>", "</template>"),
            ("<p title='", "'>"),
        ] {
            check(&format!("{before}<input name=_token value=fake>{behind}{real}"), Some("real"));
            check(&format!("{before}{real}"), None);
        }
        // These hide nothing: a comment that ends at once, and an instruction that ends at the first ">".
        check(&format!("<!-->{real}"), Some("real"));
        check(&format!("<?php ?>{real}"), Some("real"));
    }

    #[test]
    fn values_are_those_of_a_browser() {
        for (written, value) in [
            ("&quot;&apos;&#39;&#039;&#x27;&#X2f;&lt;&gt;", "\"''''/<>"),
            ("&eacute;&Eacute;&nbsp;&hellip;&NotEqualTilde;", "éÉ\u{a0}…≂\u{338}"),
            // Old names need no ";", but not before "=", a letter or a digit.
            ("&copy 1&copy=1&copyx&amp;lt;", "© 1&copy=1&copyx&lt;"),
            ("&#128;&#0;&#xD800;&#x110000;&#99999999999;", "€\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("&nope;&;&#;&#x;& b", "&nope;&;&#;&#x;& b"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("a\0b", "a\u{fffd}b"),
            ("<b>", "<b>"),
        ] {
            check(&format!("<input type=hidden name=_token value=\"{written}\">"), Some(value));
        }
        check("<input name=_token value='a&#10;b '>", Some("ab "));
        check("<input name=_token type=EMAIL value=' a@b.test\n'>", Some("a@b.test"));
        check("<input name=_token type=checkbox>", Some("on"));
        check("<input name=&#95;token value=1>", Some("1"));
    }
}
