//! Pure. SEARCH, as far as flags, numbers and texts go.

use super::words::has;
use crate::demo::mail::letter::Letter;

/// The numbers of the letters that fit all criteria, a blank before each; `None` for criteria that are not there.
pub(super) fn search(letters: &[Letter], criteria: &[&str]) -> Option<String> {
    let criteria = match criteria {
        [word, _, rest @ ..] if word.eq_ignore_ascii_case("CHARSET") => rest,
        all => all,
    };
    let mut found = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let (mut words, mut fits) = (criteria.iter(), true);
        while let Some(word) = words.next() {
            let mut text = || words.next().map(|text| text.to_lowercase());
            fits &= match word.to_ascii_uppercase().as_str() {
                "ALL" | "OLD" | "UNANSWERED" | "UNDELETED" | "UNDRAFT" | "UNFLAGGED" => true,
                "NEW" | "RECENT" | "ANSWERED" | "DELETED" | "DRAFT" | "FLAGGED" => false,
                "SEEN" => letter.is_seen,
                "UNSEEN" => !letter.is_seen,
                "UID" => has(&text()?, at + 1, letters.len())?,
                "BODY" => letter.text.to_lowercase().contains(&text()?),
                "TEXT" => letter.whole().to_lowercase().contains(&text()?),
                "SUBJECT" => letter.subject.to_lowercase().contains(&text()?),
                "FROM" => format!("{} {}", letter.from.0, letter.from.1).to_lowercase().contains(&text()?),
                "TO" => format!("{} {}", letter.to.0, letter.to.1).to_lowercase().contains(&text()?),
                set => has(set, at + 1, letters.len())?,
            };
        }
        if fits {
            found.push_str(&format!(" {}", at + 1));
        }
    }
    Some(found)
}
