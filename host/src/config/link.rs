//! Where a page of ours may lead a person.
//!
//! Pure.

use doorward_wire::local_path::local_path;
use url::Url;

/// What a link may be, for a fault.
pub(super) const LINK: &str = "an https://, http:// or mailto: URL, or a path such as \"/help\"";

/// A link as a page has it. A browser would run what begins with `javascript:`, and show what begins with `data:`.
pub(super) fn link(text: &str) -> Option<String> {
    if text.starts_with('/') {
        return local_path(text).map(str::to_owned);
    }
    let url = Url::parse(text).ok().filter(|_| !text.contains(|c: char| c.is_control() || c.is_whitespace()))?;
    let is_page = matches!(url.scheme(), "https" | "http") && url.username().is_empty() && url.password().is_none();
    (is_page || url.scheme() == "mailto" && url.path().contains('@')).then(|| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_and_mail_are_linked() {
        for (text, address) in [
            ("https://help.example.com/a?b=c#d", "https://help.example.com/a?b=c#d"),
            ("http://help.example.com", "http://help.example.com/"),
            ("https://hilfe.müller.example/", "https://hilfe.xn--mller-kva.example/"),
            ("mailto:help@example.com?subject=Mail", "mailto:help@example.com?subject=Mail"),
            ("/help/index.html", "/help/index.html"),
        ] {
            assert_eq!(link(text).as_deref(), Some(address), "{text}");
        }
        for text in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java\tscript:alert(1)",
            " javascript:alert(1)",
            "data:text/html,x",
            "//evil.test/",
            "/\\evil.test/",
            "help.example.com",
            "https://",
            "https://user:secret@help.example.com/",
            "mailto:",
            "ftp://a.test/",
            "",
        ] {
            assert_eq!(link(text), None, "{text}");
        }
    }
}
