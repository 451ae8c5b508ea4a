//! Pure. Takes a multipart/form-data body apart as it arrives (RFC 7578, RFC 2046 section 5.1).
//!
//! Invariants:
//! - What is kept between two pushes is shorter than one part's head or one delimiter.

use memchr::memmem;

/// The longest head of a part; a browser's is some 200 bytes plus the file's name.
const MAX_HEAD: usize = 8 * 1024;

/// More parts than any form here has.
const MAX_PARTS: usize = 64;

/// The longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The longest file name passed on, in characters.
const MAX_NAME: usize = 255;

/// What is wrong with a body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A part's head does not end.
    #[error("the head of a part is longer than {MAX_HEAD} bytes")]
    Head,
    /// A part without a `Content-Disposition: form-data; name=…`.
    #[error("a part has no name")]
    Name,
    /// More parts than is sensible.
    #[error("more than {MAX_PARTS} parts")]
    Parts,
    /// Something else than a line's end after a delimiter.
    #[error("a delimiter does not end its line")]
    Delimiter,
}

/// What a push found.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A part begins.
    Part {
        /// The form field's name.
        field: String,
        /// The file's name without folders, empty if it has none.
        file: String,
    },
    /// Bytes of the part begun last.
    Data(&'a [u8]),
}

/// Takes bytes, gives events.
pub struct Parser {
    /// A line's end, two dashes and the boundary.
    delimiter: Vec<u8>,
    kept: Vec<u8>,
    state: State,
    parts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter; what stands there is nobody's.
    Preamble,
    /// Right after a delimiter: a line's end, or two dashes for the last one.
    Delimiter,
    Head,
    Data,
    Done,
}

impl Parser {
    /// A parser for the boundary that the `Content-Type` names.
    pub fn new(boundary: &str) -> Self {
        // The first delimiter has no line before it. Pretending there is one makes it like the others.
        Self { delimiter: format!("\r\n--{boundary}").into(), kept: b"\r\n".to_vec(), state: State::Preamble, parts: 0 }
    }

    /// Whether the last delimiter was seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next bytes, however they were cut.
    pub fn push(&mut self, bytes: &[u8], found: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend_from_slice(bytes);
        let mut rest = &kept[..];
        while let Some(used) = self.step(rest, found)? {
            rest = rest.get(used..).unwrap_or_default();
        }
        self.kept = rest.to_vec();
        Ok(())
    }

    /// One step: how many bytes it used, or `None` if it needs more of them.
    fn step(&mut self, rest: &[u8], found: &mut dyn FnMut(Event<'_>)) -> Result<Option<usize>, Error> {
        match self.state {
            State::Preamble | State::Data => Ok(self.content(rest, found)),
            State::Delimiter => self.after_delimiter(rest),
            State::Head => self.head(rest, found),
            // The epilogue is nobody's.
            State::Done => Ok(Some(rest.len()).filter(|used| *used > 0)),
        }
    }

    /// Content up to the next delimiter, or as much of it as certainly is not the beginning of one.
    fn content(&mut self, rest: &[u8], found: &mut dyn FnMut(Event<'_>)) -> Option<usize> {
        let at = memmem::find(rest, &self.delimiter);
        let content = at.unwrap_or_else(|| rest.len().saturating_sub(self.delimiter.len() - 1));
        if let Some(data @ [_, ..]) = rest.get(..content)
            && self.state == State::Data
        {
            found(Event::Data(data));
        }
        if at.is_some() {
            self.state = State::Delimiter;
            return Some(content + self.delimiter.len());
        }
        Some(content).filter(|used| *used > 0)
    }

    fn after_delimiter(&mut self, rest: &[u8]) -> Result<Option<usize>, Error> {
        match rest {
            [b'-', b'-', ..] => {
                self.state = State::Done;
                Ok(Some(2))
            }
            [b'\r', b'\n', ..] => {
                self.parts += 1;
                if self.parts > MAX_PARTS {
                    return Err(Error::Parts);
                }
                self.state = State::Head;
                // The line's end stays: an empty head then ends like any other.
                Ok(Some(0))
            }
            // Padding, which RFC 2046 lets anybody on the way add.
            [b' ' | b'\t', ..] => Ok(Some(1)),
            [] | [b'-' | b'\r'] => Ok(None),
            _ => Err(Error::Delimiter),
        }
    }

    fn head(&mut self, rest: &[u8], found: &mut dyn FnMut(Event<'_>)) -> Result<Option<usize>, Error> {
        let within = rest.get(..MAX_HEAD).unwrap_or(rest);
        let Some(end) = memmem::find(within, b"\r\n\r\n") else {
            return if rest.len() < MAX_HEAD { Ok(None) } else { Err(Error::Head) };
        };
        let head = String::from_utf8_lossy(rest.get(..end).unwrap_or_default());
        let disposition = head
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
            .map_or("", |(_, value)| value);
        let field = parameter(disposition, "name").ok_or(Error::Name)?;
        let file = parameter(disposition, "filename").map(|name| base_name(&name)).unwrap_or_default();
        found(Event::Part { field, file });
        self.state = State::Data;
        Ok(Some(end + 4))
    }
}

/// The boundary of a `multipart/form-data` content type.
pub fn boundary(content_type: &str) -> Option<String> {
    let kind = content_type.split(';').next()?.trim();
    let boundary = parameter(content_type, "boundary").filter(|_| kind.eq_ignore_ascii_case("multipart/form-data"))?;
    Some(boundary).filter(|boundary| (1..=MAX_BOUNDARY).contains(&boundary.len()))
}

/// The parameter `name` after the first `;`. Browsers write a quote in a value as `%22`, others as `\"`.
fn parameter(header: &str, name: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            unquote(quoted)?
        } else {
            let (value, after) = after.split_at(after.find(';').unwrap_or(after.len()));
            (value.trim().to_owned(), after)
        };
        if key.trim_matches(|c: char| c == ';' || c.is_whitespace()).eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after;
    }
}

/// A quoted value up to its closing quote, and what follows. A backslash escapes quotes only, for old browsers send
/// the paths of Windows as they are.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('"')?;
        let Some(escaped) = before.strip_suffix('\\') else {
            value.push_str(before);
            return Some((value, after));
        };
        value.push_str(escaped);
        value.push('"');
        rest = after;
    }
}

/// A file's name without the folders some clients send, and without control characters.
fn base_name(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    base.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts found (field, file name, content), and whether the body's end was.
    type Found = (Vec<(String, String, Vec<u8>)>, bool);

    /// What a parser finds in `body` when it comes in pieces of `size` bytes.
    fn parse(body: &[u8], size: usize) -> Result<Found, Error> {
        let mut parser = Parser::new("B");
        let mut parts: Vec<(String, String, Vec<u8>)> = Vec::new();
        for piece in body.chunks(size) {
            parser.push(piece, &mut |event| match event {
                Event::Part { field, file } => parts.push((field, file, Vec::new())),
                Event::Data(bytes) => parts.last_mut().unwrap().2.extend_from_slice(bytes),
            })?;
            assert!(parser.kept.len() < MAX_HEAD);
        }
        Ok((parts, parser.is_done()))
    }

    #[test]
    fn a_form_is_the_same_however_it_is_cut() {
        let body = b"preamble\r\n--B\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--B \r\n\
            content-type: text/plain\r\ncontent-disposition: form-data; name=file; filename=\"a/b\\c \\\"x\\\".txt\"\r\n\r\n\
            \r\n--\r\r\n--C\r\n-\r\n--B\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--B--\r\nepilogue";
        let expected = vec![
            ("note".to_owned(), String::new(), b"hello".to_vec()),
            ("file".to_owned(), "c \"x\".txt".to_owned(), b"\r\n--\r\r\n--C\r\n-".to_vec()),
            ("empty".to_owned(), String::new(), Vec::new()),
        ];
        for size in 1..=body.len() {
            assert_eq!(parse(body, size), Ok((expected.clone(), true)), "in pieces of {size}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let part = "--B\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n";
        for (body, expected) in [
            (format!("--B\r\n{}", "x".repeat(MAX_HEAD)), Err(Error::Head)),
            ("--B\r\nContent-Type: a/b\r\n\r\n".to_owned(), Err(Error::Name)),
            ("--Bogus\r\n".to_owned(), Err(Error::Delimiter)),
            (part.repeat(MAX_PARTS + 1), Err(Error::Parts)),
            (String::new(), Ok((vec![], false))),
            ("no form at all".repeat(1000), Ok((vec![], false))),
            ("--B--".to_owned(), Ok((vec![], true))),
        ] {
            assert_eq!(parse(body.as_bytes(), 4096), expected, "{body:.40}");
        }
    }

    #[test]
    fn a_boundary_comes_from_a_form_only() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=utf-8; boundary=\"a b;c\"", Some("a b;c")),
            ("multipart/mixed; boundary=abc", None),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=\"abc", None),
        ] {
            assert_eq!(boundary(content_type).as_deref(), expected, "{content_type}");
        }
    }
}
