//! The lines of the audit log: each has the hash of the line before, so that none can be taken out, changed, or put
//! elsewhere without a trace.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::policy::digest;

/// The key of the hash of the line before. For last, so that a reader finds it.
pub(super) const PREVIOUS: &str = "previous";

/// What stands there in the first line of all.
pub const NOTHING: &str = "";

/// A line of these fields, behind one with that hash.
pub(super) fn line(fields: &Map<String, Json>, previous: &str) -> String {
    let mut line = Json::Object(fields.clone()).to_string();
    // The braces of an object.
    line.pop();
    let previous = Json::from(previous);
    format!("{line},\"{PREVIOUS}\":{previous}}}")
}

/// What a chain looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Lines, in all files.
    pub lines: usize,
    /// The hash before the first of them; empty where it is the first of all.
    pub begins: String,
    /// The hash of the last one.
    pub last: String,
    /// When the last one was written, as it says.
    pub time: String,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// In which file: its number.
    pub file: usize,
    /// In which line: from 1 on.
    pub line: usize,
    /// What.
    pub what: What,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is no line of an audit log.
    Foreign,
    /// It does not follow the line before it.
    Chain,
    /// It is not ended.
    Half,
    /// It is not the last one that there was.
    CutOff,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "it is no line of an audit log",
            Self::Chain => {
                "it does not follow the line before it: that one was changed, or lines between them were taken out, put in \
                 or swapped"
            }
            Self::Half => "it has no end: the last line was cut off, or is being written",
            Self::CutOff => "the log ends here, and there were lines behind it",
        })
    }
}

/// Looks at all lines of some files, which follow each other. `last` is the hash of the last line, where it is known from
/// elsewhere.
///
/// # Errors
/// The first line that is not as it was written.
pub fn verify(files: &[Vec<u8>], last: Option<&str>) -> Result<Verified, Broken> {
    let mut verified = Verified { lines: 0, begins: NOTHING.to_owned(), last: NOTHING.to_owned(), time: String::new() };
    let (mut seen, mut at) = (false, (0, 0));
    for (file, bytes) in files.iter().enumerate() {
        for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            at = (file, number + 1);
            let broken = |what| Broken { file, line: number + 1, what };
            let line = line.strip_suffix(b"\n").ok_or_else(|| broken(What::Half))?;
            let fields: Map<String, Json> = serde_json::from_slice(line).map_err(|_| broken(What::Foreign))?;
            let previous = fields.get(PREVIOUS).and_then(Json::as_str).ok_or_else(|| broken(What::Foreign))?;
            match seen {
                false => previous.clone_into(&mut verified.begins),
                true if previous == verified.last => {}
                true => return Err(broken(What::Chain)),
            }
            seen = true;
            verified.lines += 1;
            verified.last = digest(line);
            fields.get("time").and_then(Json::as_str).unwrap_or_default().clone_into(&mut verified.time);
        }
    }
    match last {
        Some(last) if last != verified.last => Err(Broken { file: at.0, line: at.1, what: What::CutOff }),
        _ => Ok(verified),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of a log, each with its end.
    fn log(count: usize) -> Vec<Vec<u8>> {
        let mut previous = NOTHING.to_owned();
        let mut one = |number: usize| {
            let fields = Map::from_iter([("time".to_owned(), Json::from(format!("t{number}")))]);
            let line = line(&fields, &previous);
            previous = digest(line.as_bytes());
            format!("{line}\n").into_bytes()
        };
        (0..count).map(&mut one).collect()
    }

    #[test]
    fn a_line_that_was_taken_out_changed_swapped_or_put_in_is_found() {
        let lines = log(5);
        let what = |lines: &[Vec<u8>]| verify(&[lines.concat()], None).map_err(|broken| (broken.line, broken.what));
        let whole = what(&lines).unwrap();
        assert_eq!((whole.lines, whole.begins.as_str(), whole.time.as_str()), (5, NOTHING, "t4"));
        let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat();
        for at in 1..4 {
            assert_eq!(what(&without(at)), Err((at + 1, What::Chain)), "without line {at}");
        }
        let mut changed = lines.clone();
        changed[2] = changed[2].iter().map(|byte| if *byte == b't' { b'T' } else { *byte }).collect();
        assert_eq!(what(&changed).unwrap_err(), (4, What::Chain));
        let mut swapped = lines.clone();
        swapped.swap(1, 2);
        assert_eq!(what(&swapped), Err((2, What::Chain)));
        let put_in = [&lines[..2], &log(1), &lines[2..]].concat();
        assert_eq!(what(&put_in), Err((3, What::Chain)));
        assert_eq!(what(&[lines[0].clone(), b"{}\n".to_vec()]), Err((2, What::Foreign)));
        assert_eq!(what(&[b"x\n".to_vec()]), Err((1, What::Foreign)));
        assert_eq!(what(&[lines[0].clone(), lines[1][..20].to_vec()]), Err((2, What::Half)));
    }

    #[test]
    fn a_beginning_or_an_end_that_is_gone_is_seen_where_it_is_known_from_elsewhere() {
        let lines = log(4);
        let last = verify(&[lines.concat()], None).unwrap().last;
        assert!(verify(&[lines.concat()], Some(&last)).is_ok());
        let cut = verify(&[lines[..3].concat()], Some(&last)).unwrap_err();
        assert_eq!((cut.line, cut.what), (3, What::CutOff));
        let rest = verify(&[lines[1..].concat()], None).unwrap();
        assert_eq!(rest.begins, digest(lines[0].strip_suffix(b"\n").unwrap()), "it says what it follows");
        let two = [lines[..2].concat(), lines[2..].concat()];
        assert_eq!(verify(&two, None).unwrap().lines, 4, "over files that were rotated");
        assert_eq!(verify(&[lines[..1].concat(), lines[2..].concat()], None).unwrap_err().file, 1);
        assert_eq!(verify(&[Vec::new()], None).unwrap().lines, 0);
    }
}
