//! Which known word is meant by one that is not known.
//!
//! Pure.

/// A word of more than so many characters is no slip of a known one.
const LONGEST: usize = 64;

/// The known word that is nearest, if it is near: a third of its letters may be wrong, missing, too many, or swapped
/// with their neighbours.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(LONGEST + 1).collect();
    let near = |known: &'a str| {
        let other: Vec<char> = known.to_lowercase().chars().collect();
        let most = (word.len().max(other.len()) / 3).clamp(1, 3);
        let apart = (word.len().max(other.len()) <= LONGEST).then(|| distance(&word, &other))?;
        // A single letter is near to everything.
        (apart <= most && word.len().min(other.len()) > 1).then_some((apart, known))
    };
    known.into_iter().filter_map(near).min_by_key(|(apart, _)| *apart).map(|(_, known)| known)
}

/// Letters that have to be changed, added, taken away or swapped with their neighbours (optimal string alignment).
fn distance(one: &[char], two: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=two.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in two.iter().enumerate() {
            let mut least = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == two[j - 1] && one[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[one.len()][two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_leads_to_the_word_that_was_meant() {
        let known = ["threads", "max-connections", "max-interval-connections", "name", "url", "roundcube", "access"];
        let check = |word: &str, meant: Option<&str>| assert_eq!(nearest(word, known), meant, "{word}");
        check("thread", Some("threads"));
        check("thred", Some("threads"));
        check("nm", None);
        check("treads", Some("threads"));
        check("htreads", Some("threads"));
        check("max_connections", Some("max-connections"));
        check("maxconnections", Some("max-connections"));
        check("Roundcub", Some("roundcube"));
        check("acces", Some("access"));
        check("ulr", Some("url"));
        check("nam", Some("name"));
        check("nothing", None);
        check("", None);
        check("u", None);
        check(&"threads".repeat(1000), None);
    }
}
