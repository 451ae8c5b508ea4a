//! Pictures that operators give.

use doorward_wire::svg::check;

const OPEN: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\">";

/// A script before whatever it is is always found, and what is escaped is no part of the picture.
pub(super) fn svg(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let told = check(&text);
    assert!(told.map_or_else(|told| told.len() < 400, |()| text.contains("svg")));
    assert!(check(&format!("{OPEN}<script/>{text}</svg>")).is_err());
    assert!(check(&format!("{OPEN}<g onload='{}'/>", text.replace('\'', ""))).is_err());
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    assert_eq!(check(&format!("{OPEN}<text>{escaped}</text></svg>")), Ok(()));
}
