//! Lists of users that are smaller than they were: more likely cut or emptied by mistake than meant.
//!
//! Pure, but for a warning.

use std::path::Path;

/// Whether a list may lose most of its entries at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shrink {
    /// It is refused.
    #[default]
    Refused,
    /// The operator says that it is meant.
    Accepted,
}

/// Of fewer entries one edit takes out half, and nobody means anything by it.
const FEW: usize = 4;

/// What is wrong with a file that has `now` entries and had `before`; 0 where nothing is known, or all is accepted.
pub(super) fn check(before: usize, now: usize) -> Result<(), String> {
    let lost = before > 0 && now == 0 || before >= FEW && 2 * now < before;
    if !lost {
        return Ok(());
    }
    Err(format!("{now} entries where there were {before} (if that is meant: doorward ctl reload --accept-shrink)"))
}

/// What is wrong with a file whose last line has no end, and that had `before` bytes: most likely half of it was written.
/// One that did not become smaller is not cut, and neither is one that nothing is known of more likely than not, as after a
/// restart: that is a warning.
pub(super) fn check_end(path: &Path, text: &str, before: Option<usize>) -> Result<(), String> {
    if text.is_empty() || text.ends_with('\n') {
        return Ok(());
    }
    let line = text.lines().count();
    if before.is_some_and(|before| text.len() < before) {
        return Err(format!(
            "line {line}: no line end behind the last line, and smaller than it was, so it may be cut"
        ));
    }
    tracing::warn!(file = %path.display(), line, "a list of users has no line end behind its last line: it may be cut");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_entries_are_not_lost_by_mistake() {
        for (before, now, well) in
            [(0, 0, true), (1, 0, false), (1, 1, true), (3, 1, true), (4, 2, true), (4, 1, false), (100, 49, false)]
        {
            assert_eq!(check(before, now).is_ok(), well, "{before} {now}");
        }
        let check_end = |text, before| check_end(Path::new("people.ldif"), text, before);
        assert!(check_end("", Some(9)).is_ok() && check_end("a\n", Some(9)).is_ok());
        assert!(check_end("a\nb", Some(4)).unwrap_err().starts_with("line 2"));
        assert!(check_end("a\nb", None).is_ok(), "after a restart");
        assert!(check_end("a\nb", Some(3)).is_ok() && check_end("a\nb", Some(2)).is_ok(), "no smaller than it was");
    }
}
