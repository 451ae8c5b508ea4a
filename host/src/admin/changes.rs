//! What is other in a text than in another: lines that go, and lines that come.
//!
//! Pure.

/// Of more lines than this between what is the same at both ends, no common ones are looked for.
const MOST: usize = 1500;
/// Lines that are shown around what changed.
const AROUND: usize = 2;

/// The changes, line by line: `- old`, `+ new`, `  same` around them, and `…` where more is the same.
pub(super) fn changes(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (gone, come) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    if gone.is_empty() && come.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<(char, &str)> = old[..head].iter().map(|line| (' ', *line)).collect();
    all.extend(between(gone, come));
    all.extend(old_rest[old_rest.len() - tail..].iter().map(|line| (' ', *line)));
    let is_near = |at: usize| {
        let near = at.saturating_sub(AROUND)..(at + AROUND + 1).min(all.len());
        all[near].iter().any(|(sign, _)| *sign != ' ')
    };
    let mut told: Vec<String> = Vec::new();
    for (at, (sign, line)) in all.iter().enumerate() {
        if is_near(at) {
            told.push(format!("{sign} {line}"));
        } else if told.last().is_none_or(|last| last != "…") {
            told.push("…".to_owned());
        }
    }
    told
}

/// The longest common lines of both, and what is around them.
fn between<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    let apart = || old.iter().map(|line| ('-', *line)).chain(new.iter().map(|line| ('+', *line))).collect();
    if old.len() > MOST || new.len() > MOST {
        return apart();
    }
    // How many lines are common from here on.
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut told) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            told.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
            told.push(('-', old[i]));
            i += 1;
        } else {
            told.push(('+', new[j]));
            j += 1;
        }
    }
    told.extend(old[i..].iter().map(|line| ('-', *line)));
    told.extend(new[j..].iter().map(|line| ('+', *line)));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_go_and_come_are_told_with_those_around() {
        assert!(changes("a\nb", "a\nb").is_empty());
        let old = "1\n2\n3\n4\n5\n6\n7\n8";
        assert_eq!(changes(old, "1\n2\n3\n4\nX\n6\n7\n8"), ["…", "  3", "  4", "- 5", "+ X", "  6", "  7", "…"]);
        assert_eq!(changes("a", "a\nb"), ["  a", "+ b"]);
        assert_eq!(changes("a\nb\nc", "a\nc"), ["  a", "- b", "  c"]);
        assert_eq!(changes("", "a"), ["+ a"]);
        assert_eq!(changes("a\nb\nc\nd", "b\nx\nd"), ["- a", "  b", "- c", "+ x", "  d"]);
    }
}
