//! The path to come back to.
//!
//! Pure.

/// Where a login leads back to: a path of this site and nothing else. Browsers read `\` as `/` and drop tabs and line
/// ends (WHATWG URL), so anything that could become another host is refused.
pub fn local_path(target: &str) -> Option<&str> {
    let second = target.as_bytes().get(1).copied();
    let right = target.starts_with('/')
        && target.len() <= 2048
        && !matches!(second, Some(b'/' | b'\\'))
        && target.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>".contains(&byte));
    // `/%09/host`, `/..//host`: harmless to a browser that keeps to the path, refused all the same.
    let lower = target.to_ascii_lowercase();
    let odd = ["%09", "%0a", "%0d", "%5c", "/..", "//"]
        .iter()
        .any(|odd| lower.split(['?', '#']).next().unwrap_or("").contains(odd));
    (right && !odd).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_back_into_the_site_only() {
        for good in ["/", "/?_task=mail&_mbox=INBOX", "/inbox", "/a/b?next=http://x/"] {
            assert_eq!(local_path(good), Some(good));
        }
        let bad = ["", "//e", "/\\e", "/%09/e", "/%5ce", "https:e", "/..//e", "https://e/", "e", "/a\nb", "/ä", "\\e"];
        for bad in bad {
            assert_eq!(local_path(bad), None, "{bad}");
        }
    }
}
