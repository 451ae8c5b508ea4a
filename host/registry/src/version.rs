//! Versions of artifacts, of which a later one is told from an earlier one.

use std::cmp::Ordering;

/// Whether `new` is an older version than `old`: numbers are compared part by part, and `1.4-rc1` comes before `1.4`. False
/// where one of them has no number at its beginning, for then nobody can tell.
pub fn is_older(new: &str, old: &str) -> bool {
    let (Some(new), Some(old)) = (parts(new), parts(old)) else { return false };
    let most = new.0.len().max(old.0.len());
    let filled = |numbers: &[u64]| numbers.iter().copied().chain(std::iter::repeat(0)).take(most).collect::<Vec<_>>();
    let order = filled(&new.0).cmp(&filled(&old.0)).then_with(|| match (new.1, old.1) {
        ("", "") => Ordering::Equal,
        ("", _) => Ordering::Greater,
        (_, "") => Ordering::Less,
        (new, old) => before_release(new, old),
    });
    order == Ordering::Less
}

/// The order of what comes behind a dash (SemVer 2.0.0, 11): part by part, numbers by their size and before words, and fewer
/// parts before more.
fn before_release(new: &str, old: &str) -> Ordering {
    let part = |text: &'_ str| -> (bool, usize, String) {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Of numbers without zeros before them the longer one is the larger one, however long.
        let text = if is_number { text.trim_start_matches('0') } else { text };
        (!is_number, if is_number { text.len() } else { 0 }, text.to_owned())
    };
    new.split('.').map(part).cmp(old.split('.').map(part))
}

/// The numbers, and what comes behind a dash. What comes behind `+` says nothing about the order.
fn parts(text: &str) -> Option<(Vec<u64>, &str)> {
    let text = text.strip_prefix('v').unwrap_or(text).split('+').next().unwrap_or_default();
    let (numbers, before) = text.split_once('-').unwrap_or((text, ""));
    let numbers = numbers.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
    Some((numbers, before))
}

#[cfg(test)]
mod tests {
    use super::is_older;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (older, newer) in
            [("1.9", "1.10"), ("1.4", "1.4.1"), ("v1.4-rc1", "1.4"), ("1.4-rc1", "1.4-rc2"), ("9", "10.0")]
        {
            assert!(is_older(older, newer) && !is_older(newer, older), "{older} {newer}");
        }
        // The order that SemVer gives as its example.
        let rising = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.9", "rc.10"];
        for (older, newer) in rising.iter().zip(rising.iter().skip(1)) {
            let (older, newer) = (format!("1.0.0-{older}"), format!("1.0.0-{newer}"));
            assert!(is_older(&older, &newer) && !is_older(&newer, &older), "{older} {newer}");
        }
        for (one, other) in [("1.4", "1.4.0"), ("latest", "1.4"), ("1.4", "stable"), ("1.4+b", "1.4+a")] {
            assert!(!is_older(one, other) && !is_older(other, one), "{one} {other}");
        }
    }
}
