//! Reads what an LDAP server says (BER, RFC 4511, section 5.1), as far as it has to be looked at before `ldap3` sees it.
//!
//! Pure.

/// Messages are a sequence, an operation, a list, an attribute, its values: half of this.
const DEEPEST: usize = 12;

/// One element: its tag, its contents, and what follows it. `None` when it is not all there, or longer than can be.
pub fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, start, end) = head(bytes)?;
    Some((tag, bytes.get(start..end)?, bytes.get(end..)?))
}

/// Where the contents of the first element begin and end.
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match first {
        0..=0x7f => (2, usize::from(first)),
        // Lengths of more than four bytes are nobody's, and 0x80 (indefinite) is forbidden in LDAP.
        0x81..=0x84 => {
            let start = 2 + usize::from(first & 0x7f);
            (start, bytes.get(2..start)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
        _ => return None,
    };
    Some((tag, start, start.checked_add(length)?))
}

/// What was found at the beginning of what a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A message of so many bytes.
    Message(usize),
    /// The beginning of one.
    More,
    /// Nothing that a server may say.
    Nonsense,
}

/// Looks for a whole message of at most `most` bytes: an answer, with elements that end where they should.
pub fn message(bytes: &[u8], most: usize) -> Found {
    // Six bytes have tag and length of any message that may be.
    let Some((tag, start, end)) = head(bytes) else {
        return if bytes.len() < 6 && bytes.first().is_none_or(|tag| *tag == 0x30) {
            Found::More
        } else {
            Found::Nonsense
        };
    };
    if tag != 0x30 || end > most {
        return Found::Nonsense;
    }
    match bytes.get(start..end) {
        None => Found::More,
        Some(contents) if is_answer(contents) => Found::Message(end),
        Some(_) => Found::Nonsense,
    }
}

/// A number, an operation that servers send, and perhaps controls.
fn is_answer(contents: &[u8]) -> bool {
    let Some((0x02, id, rest)) = element(contents) else { return false };
    let Some((operation, _, controls)) = element(rest) else { return false };
    // Bind, entry, done, reference, extended and intermediate answers; nothing else is asked for.
    let answers = [0x61, 0x64, 0x65, 0x73, 0x78, 0x79];
    (1..=4).contains(&id.len()) && answers.contains(&operation) && is_whole(rest, 0) && are_controls(controls)
}

fn are_controls(bytes: &[u8]) -> bool {
    // Active Directory puts the name of a "notice of disconnection" there ([10]); ldap3 knows.
    match element(bytes) {
        None => bytes.is_empty(),
        Some((0xa0, mut controls, [])) => {
            while let Some((tag, control, rest)) = element(controls) {
                let Some((0x04, name, _)) = element(control) else { return false };
                if tag != 0x30 || !name.is_ascii() {
                    return false;
                }
                controls = rest;
            }
            controls.is_empty()
        }
        Some((tag, _, [])) => tag == 0x8a,
        Some(_) => false,
    }
}

/// Whether elements follow each other to the end, and those within them too: the parser behind calls itself.
fn is_whole(mut bytes: &[u8], depth: usize) -> bool {
    while let Some((tag, contents, rest)) = element(bytes) {
        let constructed = tag & 0x20 != 0;
        // Tags of more than one byte are in no message.
        if tag & 0x1f == 0x1f || depth > DEEPEST || constructed && !is_whole(contents, depth + 1) {
            return false;
        }
        bytes = rest;
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], found: Found) {
        assert_eq!(message(bytes, 1000), found, "{bytes:02x?}");
    }

    #[test]
    fn whole_answers_pass_and_nothing_else() {
        let bind = [0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00];
        check(&bind, Found::Message(14));
        check(&[&bind[..], &bind[..3]].concat(), Found::Message(14));
        for end in 0..bind.len() {
            check(&bind[..end], Found::More);
        }
        for (at, byte) in [(0, 0x31), (1, 0x80), (1, 0x85), (2, 0x04), (5, 0x60), (5, 0x42), (6, 0x08), (6, 0x06)] {
            let mut broken = bind;
            broken[at] = byte;
            check(&broken, Found::Nonsense);
        }
        check(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], Found::Nonsense);
        check(&[0x30, 0x82, 0x03, 0xe9, 0x02], Found::Nonsense);
        let control = [0x30, 0x0d, 0x02, 0x01, 0x01, 0x61, 0x02, 0x0a, 0x00, 0xa0, 0x04, 0x30, 0x02, 0x04, 0x00];
        check(&control, Found::Message(15));
        check(&[0x30, 0x0b, 0x02, 0x01, 0x01, 0x61, 0x02, 0x0a, 0x00, 0xa0, 0x02, 0x30, 0x00], Found::Nonsense);
    }

    #[test]
    fn what_is_nested_deeply_is_refused_before_anybody_recurses() {
        let mut nested = vec![0x04, 0x00];
        for _ in 0..40 {
            nested = [&[0x30, u8::try_from(nested.len()).unwrap()][..], &nested].concat();
        }
        let operation = [&[0x64, u8::try_from(nested.len()).unwrap()][..], &nested].concat();
        let contents = [&[0x02, 0x01, 0x01][..], &operation].concat();
        check(&[&[0x30, u8::try_from(contents.len()).unwrap()][..], &contents].concat(), Found::Nonsense);
    }
}
