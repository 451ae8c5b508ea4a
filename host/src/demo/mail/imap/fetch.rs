//! Pure. FETCH: letters, or what is asked of them.

use super::words::{has, list, words};
use crate::demo::mail::letter::Letter;

/// The answers to a FETCH of these items; `None` where an item or a number is none.
pub(super) fn fetch(letters: &[Letter], set: &str, items: &str, is_uid: bool) -> Option<Vec<u8>> {
    let mut items = match items.to_ascii_uppercase().as_str() {
        "FAST" => list("FLAGS INTERNALDATE RFC822.SIZE")?,
        "ALL" => list("FLAGS INTERNALDATE RFC822.SIZE ENVELOPE")?,
        "FULL" => list("FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY")?,
        _ => list(items)?,
    };
    if is_uid && !items.iter().any(|item| item.eq_ignore_ascii_case("UID")) {
        items.insert(0, "UID".to_owned());
    }
    let mut answers = Vec::new();
    for (at, letter) in letters.iter().enumerate() {
        if has(set, at + 1, letters.len())? {
            let said: Option<Vec<Vec<u8>>> = items.iter().map(|item| one(letter, at + 1, item)).collect();
            let begin = format!("* {} FETCH (", at + 1);
            answers.extend([begin.as_bytes(), &said?.join(&b' '), b")\r\n"].concat());
        }
    }
    Some(answers)
}

/// One item of a letter, with its name.
fn one(letter: &Letter, uid: usize, item: &str) -> Option<Vec<u8>> {
    let name = item.to_ascii_uppercase();
    let whole = || literal(&letter.whole());
    let said = match name.as_str() {
        "FLAGS" => if letter.is_seen { "(\\Seen)" } else { "()" }.to_owned(),
        "UID" => uid.to_string(),
        "INTERNALDATE" => format!("\"{}\"", letter.came),
        "RFC822.SIZE" => letter.whole().len().to_string(),
        "ENVELOPE" => envelope(letter),
        "BODY" => format!("({})", structure(letter)),
        "BODYSTRUCTURE" => format!("({} NIL NIL NIL NIL)", structure(letter)),
        "RFC822" => whole(),
        "RFC822.HEADER" => literal(&letter.head),
        "RFC822.TEXT" => literal(&letter.text),
        _ => return section(letter, item, &name),
    };
    Some(format!("{name} {said}").into_bytes())
}

/// `BODY[…]`, `BODY.PEEK[…]`, perhaps with a part of it in `<…>`.
fn section(letter: &Letter, item: &str, name: &str) -> Option<Vec<u8>> {
    let begin = if name.starts_with("BODY.PEEK[") { 10 } else { 5 };
    let end = name.starts_with("BODY").then(|| item.rfind(']')).flatten()?;
    let (asked, part) = (item.get(begin..end)?, item.get(end + 1..)?);
    if item.get(begin - 1..begin) != Some("[") {
        return None;
    }
    let text = match asked.to_ascii_uppercase().as_str() {
        "" => letter.whole(),
        "HEADER" | "1.MIME" => letter.head.clone(),
        "TEXT" | "1" => letter.text.clone(),
        _ => fields(letter, asked)?,
    };
    let Some(part) = part.strip_prefix('<').and_then(|part| part.strip_suffix('>')) else {
        return part.is_empty().then(|| format!("BODY[{asked}] {}", literal(&text)).into_bytes());
    };
    let (from, count) = part.split_once('.')?;
    let (from, count): (usize, usize) = (from.parse().ok()?, count.parse().ok()?);
    // It may begin in the middle of a letter of the alphabet.
    let bytes: Vec<u8> = text.bytes().skip(from).take(count).collect();
    Some([format!("BODY[{asked}]<{from}> {{{}}}\r\n", bytes.len()).as_bytes(), &bytes].concat())
}

/// `HEADER.FIELDS (…)` and `HEADER.FIELDS.NOT (…)`.
fn fields(letter: &Letter, asked: &str) -> Option<String> {
    let words = words(asked)?;
    let [kind, names] = words.as_slice() else { return None };
    let names = list(names)?;
    let wanted = match kind.to_ascii_uppercase().as_str() {
        "HEADER.FIELDS" => true,
        "HEADER.FIELDS.NOT" => false,
        _ => return None,
    };
    let named = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        names.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    let lines = letter.head.split_inclusive("\r\n").filter(|line| *line != "\r\n" && named(line) == wanted);
    Some(format!("{}\r\n", lines.collect::<String>()))
}

fn literal(text: &str) -> String {
    format!("{{{}}}\r\n{text}", text.len())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn envelope(letter: &Letter) -> String {
    let person = |(name, address): &(String, &str)| {
        let (mailbox, host) = address.split_once('@').unwrap_or((address, ""));
        format!("(({} NIL {} {}))", quoted(name), quoted(mailbox), quoted(host))
    };
    let (from, to) = (person(&letter.from), person(&letter.to));
    let (date, subject, id) = (quoted(letter.date), quoted(&letter.subject), quoted(&letter.id));
    format!("({date} {subject} {from} {from} {from} {to} NIL NIL NIL {id})")
}

fn structure(letter: &Letter) -> String {
    let (size, lines) = (letter.text.len(), letter.text.matches('\n').count());
    format!("\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL \"8BIT\" {size} {lines}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::mail::letter::mailbox;

    #[test]
    fn programs_get_what_they_ask_for() {
        let letters = mailbox("Alice Archer", "a@a.test");
        let get = |set: &str, items: &str| {
            fetch(&letters, set, items, false).map(|answer| String::from_utf8(answer).expect("text"))
        };
        assert_eq!(get("1", "(UID FLAGS)").as_deref(), Some("* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n"));
        assert_eq!(get("1:*", "UID").unwrap().lines().count(), letters.len());
        let whole = letters[0].whole();
        let expected = format!("* 1 FETCH (BODY[] {{{}}}\r\n{whole})\r\n", whole.len());
        assert_eq!(get("1", "BODY.PEEK[]"), Some(expected));
        let head = get("1", "BODY[HEADER.FIELDS (Message-Id)]").unwrap();
        assert!(head.contains("{28}\r\nMessage-ID: <6.a@a.test>\r\n\r\n)"), "{head}");
        assert!(get("1", "BODY[]<0.5>").unwrap().ends_with("BODY[]<0> {5}\r\nFrom:)\r\n"));
        assert!(get("1", "(ENVELOPE BODYSTRUCTURE)").unwrap().contains("\"TEXT\" \"PLAIN\""));
        for wrong in ["BODY[", "BODY.PEEKx[]", "BODY[X]", "NOTHING", "(FLAGS"] {
            assert_eq!(get("1", wrong), None, "{wrong}");
        }
        assert_eq!(get("x", "UID"), None);
    }
}
