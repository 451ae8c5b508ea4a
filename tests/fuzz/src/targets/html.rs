//! Inputs of pages, wherever they stand.

use doorward_wire::html::input_value;

const REAL: &str = "<input type=hidden name=_token value=real>";

/// The first input counts, whatever follows it; in a comment there is none; what is escaped is read as it was.
pub(super) fn html(data: &[u8]) {
    let page = String::from_utf8_lossy(data);
    if let Some(value) = input_value(&page, "_token") {
        assert!(value.len() <= 3 * page.len());
    }
    assert_eq!(input_value(&format!("{REAL}{page}"), "_token").as_deref(), Some("real"));
    if !page.contains("--") && !page.starts_with('>') && !page.starts_with("->") && !page.ends_with(['-', '<', '!']) {
        assert_eq!(input_value(&format!("<!--{page}-->{REAL}"), "_token").as_deref(), Some("real"));
    }
    let text = page.replace(['\r', '\0'], "");
    let escaped = text.replace('&', "&amp;").replace('"', "&quot;");
    let input = format!("<input type=hidden name=_token value=\"{escaped}\">");
    assert_eq!(input_value(&input, "_token").as_deref(), Some(text.as_str()));
}
