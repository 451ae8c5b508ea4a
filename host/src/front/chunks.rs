//! The framing of a chunked body, followed byte by byte and strictly (RFC 9112, section 7.1).
//!
//! Pure.

use super::head::is_token;

/// Extensions are read and forgotten; nobody sends more than a few.
const EXTENSIONS: usize = 16 << 10;
/// Trailers are few and short: a digest, a signature.
const TRAILERS: usize = 16 << 10;
/// So many trailers at most.
const TRAILER_COUNT: usize = 100;

/// Where in a chunked body the next byte is.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    /// Bytes of extensions so far, in all chunks.
    extensions: usize,
    /// Bytes of trailers so far.
    trailers: usize,
    trailer_count: usize,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// In the size: its value and its digits so far.
    Size(u64, u8),
    /// In an extension of a chunk of this size.
    Extension(u64),
    /// Before the LF after the size.
    SizeEnd(u64),
    /// In the data, of which so much is left.
    Data(u64),
    /// Before the CR after the data.
    DataCr,
    /// Before the LF after the data.
    DataLf,
    /// At the beginning of a trailer, or of the empty line.
    Line,
    /// In a trailer's name.
    Name,
    /// In a trailer's value.
    Value,
    /// Before the LF after a trailer.
    ValueEnd,
    /// Before the very last LF.
    End,
}

impl Default for At {
    fn default() -> Self {
        Self::Size(0, 0)
    }
}

/// What came of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// All of them belong to the body, which goes on.
    All,
    /// The body ended after so many.
    Ended(usize),
    /// The byte at this place breaks it.
    Broken(usize),
}

impl Chunks {
    /// Reads on.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Read {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if let At::Data(left) = self.at {
                let there = bytes.len() - at;
                let taken = usize::try_from(left).map_or(there, |left| left.min(there));
                at += taken;
                let left = left - taken as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data(left) };
                continue;
            }
            let Some(next) = self.step(*byte) else { return Read::Broken(at) };
            let ended = matches!(self.at, At::End);
            self.at = next;
            at += 1;
            if ended {
                return Read::Ended(at);
            }
        }
        Read::All
    }

    fn step(&mut self, byte: u8) -> Option<At> {
        Some(match (self.at, byte) {
            (At::Size(size, digits), _) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = char::from(byte).to_digit(16)?;
                At::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (At::Size(size, 1..), b'\r') | (At::Extension(size), b'\r') => At::SizeEnd(size),
            (At::Size(size, 1..), b';') => At::Extension(size),
            (At::Extension(size), b'\t' | b' '..=b'~') => {
                self.extensions += 1;
                (self.extensions <= EXTENSIONS).then_some(At::Extension(size))?
            }
            (At::SizeEnd(0), b'\n') => At::Line,
            (At::SizeEnd(size), b'\n') => At::Data(size),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0, 0),
            (At::Line, b'\r') => At::End,
            (At::Line, _) if is_token(byte) => {
                self.trailer_count += 1;
                (self.trailer_count <= TRAILER_COUNT).then_some(At::Name)?
            }
            (At::Name, b':') => self.trailer(At::Value)?,
            (At::Name, _) if is_token(byte) => self.trailer(At::Name)?,
            (At::Value, b'\r') => At::ValueEnd,
            (At::Value, _) if byte == b'\t' || (byte >= b' ' && byte != 0x7f) => self.trailer(At::Value)?,
            (At::ValueEnd, b'\n') => At::Line,
            (At::End, b'\n') => At::End,
            _ => return None,
        })
    }

    fn trailer(&mut self, next: At) -> Option<At> {
        self.trailers += 1;
        (self.trailers <= TRAILERS).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads at once and byte by byte; both must say the same.
    fn check(bytes: &[u8], expected: &Read) {
        assert_eq!(Chunks::default().read(bytes), *expected, "{:?}", String::from_utf8_lossy(bytes));
        let mut chunks = Chunks::default();
        let mut said = Read::All;
        for at in 0..bytes.len() {
            match chunks.read(&bytes[at..=at]) {
                Read::All => {}
                Read::Ended(_) => {
                    said = Read::Ended(at + 1);
                    break;
                }
                Read::Broken(_) => {
                    said = Read::Broken(at);
                    break;
                }
            }
        }
        assert_eq!(said, *expected, "byte by byte: {:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn a_chunked_body_ends_where_it_ends() {
        for good in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A;x=1;y=\"z\"\r\n0123456789\r\n000\r\n\r\n",
            "1\r\na\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n",
            "3\r\n0\r\n\r\n0\r\n\r\n",
        ] {
            check(good.as_bytes(), &Read::Ended(good.len()));
            check(format!("{good}GET /").as_bytes(), &Read::Ended(good.len()));
            check(&good.as_bytes()[..good.len() - 1], &Read::All);
        }
    }

    #[test]
    fn what_breaks_a_chunked_body_is_found_at_its_place() {
        for (bad, at) in [
            ("\r\n", 0),
            ("5\n", 1),
            ("5 \r\n", 1),
            ("0x5\r\n", 1),
            ("-1\r\n", 0),
            ("+1\r\n", 0),
            ("5;a\nb\r\n", 3),
            ("5;a\0\r\n", 3),
            ("5;a\rb\r\n", 4),
            ("00000000000000005\r\n", 16),
            ("3\r\nabcd\r\n", 6),
            ("3\r\nabc\n", 6),
            ("0\r\n\n", 3),
            ("0\r\n x: y\r\n", 3),
            ("0\r\nx : y\r\n", 4),
            ("0\r\nnocolon\r\n", 10),
            ("0\r\nx: a\rb\r\n", 8),
            ("0\r\nx: a\0\r\n", 7),
            ("0\r\n:x\r\n", 3),
        ] {
            check(bad.as_bytes(), &Read::Broken(at));
        }
        let long = |from: &str, with: &str| format!("{from}{}", with.repeat(20 << 10));
        assert!(matches!(Chunks::default().read(long("5;", "x").as_bytes()), Read::Broken(_)));
        assert!(matches!(Chunks::default().read(long("0\r\nx:", "x").as_bytes()), Read::Broken(_)));
        assert!(matches!(Chunks::default().read(long("", "1;xx\r\na\r\n").as_bytes()), Read::Broken(_)));
    }
}
