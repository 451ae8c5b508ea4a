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
pub struct Chunks {
    at: At,
    /// Bytes of extensions so far, in all chunks.
    extensions: usize,
    /// Lines of trailers so far: `name:value` and a line feed.
    trailers: Vec<u8>,
    trailer_count: usize,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// In the size: its value and its digits so far.
    Size(u64, u8),
    /// Behind a blank after the size. Only an extension may follow: such blanks have to be read (RFC 9112, section 7.1.1,
    /// and RFC 9110, section 5.6.3).
    Blank(u64),
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
pub enum ChunkRead {
    /// All of them are framing, and the body goes on.
    More,
    /// After so many bytes of framing come so many of data; what is behind them was not looked at.
    Data(usize, usize),
    /// The body ended after so many.
    Ended(usize),
    /// The byte at this place breaks it.
    Broken(usize),
}

impl Chunks {
    /// Reads on.
    pub fn read(&mut self, bytes: &[u8]) -> ChunkRead {
        for (at, byte) in bytes.iter().enumerate() {
            if let At::Data(left) = self.at {
                let there = bytes.len() - at;
                let taken = usize::try_from(left).map_or(there, |left| left.min(there));
                let left = left - taken as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data(left) };
                return ChunkRead::Data(at, taken);
            }
            let Some(next) = self.step(*byte) else { return ChunkRead::Broken(at) };
            let ended = matches!(self.at, At::End);
            self.at = next;
            if ended {
                return ChunkRead::Ended(at + 1);
            }
        }
        ChunkRead::More
    }

    /// How much is left of the present chunk.
    pub fn left(&self) -> u64 {
        match self.at {
            At::SizeEnd(left) | At::Data(left) => left,
            _ => 0,
        }
    }

    /// The trailers, once the body has ended: their names, and their values without the blanks around them.
    pub fn trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.trailers.split(|byte| *byte == b'\n').filter_map(|line| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            Some((name, value.get(1..)?.trim_ascii()))
        })
    }

    fn step(&mut self, byte: u8) -> Option<At> {
        Some(match (self.at, byte) {
            (At::Size(size, digits), _) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = char::from(byte).to_digit(16)?;
                At::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (At::Size(size, 1..), b'\r') | (At::Extension(size), b'\r') => At::SizeEnd(size),
            (At::Size(size, 1..) | At::Blank(size), b';') => At::Extension(size),
            (At::Size(size, 1..) | At::Blank(size), b' ' | b'\t') => {
                self.extensions += 1;
                (self.extensions <= EXTENSIONS).then_some(At::Blank(size))?
            }
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
                (self.trailer_count <= TRAILER_COUNT).then_some(())?;
                self.trailer(byte, At::Name)?
            }
            (At::Name, b':') => self.trailer(byte, At::Value)?,
            (At::Name, _) if is_token(byte) => self.trailer(byte, At::Name)?,
            (At::Value, b'\r') => At::ValueEnd,
            (At::Value, _) if byte == b'\t' || (byte >= b' ' && byte != 0x7f) => self.trailer(byte, At::Value)?,
            (At::ValueEnd, b'\n') => self.trailer(byte, At::Line)?,
            (At::End, b'\n') => At::End,
            _ => return None,
        })
    }

    fn trailer(&mut self, byte: u8, next: At) -> Option<At> {
        self.trailers.push(byte);
        (self.trailers.len() <= TRAILERS).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Trailers = Vec<(Vec<u8>, Vec<u8>)>;

    /// Reads on from place to place: where it ends, with the data and the trailers.
    fn walk(bytes: &[u8], step: usize) -> (ChunkRead, Vec<u8>, Trailers) {
        let all = |chunks: &Chunks| chunks.trailers().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let (mut chunks, mut data, mut at) = (Chunks::default(), Vec::new(), 0);
        while at < bytes.len() {
            let part = &bytes[at..bytes.len().min(at + step)];
            at += match chunks.read(part) {
                ChunkRead::More => part.len(),
                ChunkRead::Data(framing, length) => {
                    data.extend_from_slice(&part[framing..framing + length]);
                    framing + length
                }
                ChunkRead::Ended(length) => return (ChunkRead::Ended(at + length), data, all(&chunks)),
                ChunkRead::Broken(place) => return (ChunkRead::Broken(at + place), data, all(&chunks)),
            };
        }
        (ChunkRead::More, data, all(&chunks))
    }

    /// Reads at once and byte by byte; both must say the same.
    fn check(bytes: &[u8], expected: &ChunkRead) {
        let (said, data, trailers) = walk(bytes, bytes.len());
        assert_eq!(said, *expected, "{:?}", String::from_utf8_lossy(bytes));
        assert_eq!(walk(bytes, 1), (said, data, trailers), "byte by byte: {:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn data_and_trailers_are_what_is_between_the_framing() {
        let (said, data, trailers) = walk(b"5;x\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1 \r\nY:\r\n\r\n", 7);
        assert_eq!((said, &data[..]), (ChunkRead::Ended(38), &b"hello!"[..]));
        assert_eq!(trailers, [(b"X-Sum".to_vec(), b"1".to_vec()), (b"Y".to_vec(), Vec::new())]);
    }

    #[test]
    fn a_chunked_body_ends_where_it_ends() {
        for good in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A;x=1;y=\"z\"\r\n0123456789\r\n000\r\n\r\n",
            "1\r\na\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n",
            "3\r\n0\r\n\r\n0\r\n\r\n",
            "1 \t; x = y\r\na\r\n0 ;z\r\n\r\n",
        ] {
            check(good.as_bytes(), &ChunkRead::Ended(good.len()));
            check(format!("{good}GET /").as_bytes(), &ChunkRead::Ended(good.len()));
            check(&good.as_bytes()[..good.len() - 1], &ChunkRead::More);
        }
    }

    #[test]
    fn what_breaks_a_chunked_body_is_found_at_its_place() {
        for (bad, at) in [
            ("\r\n", 0),
            ("5\n", 1),
            ("5 \r\n", 2),
            ("5 5\r\n", 2),
            (" 5\r\n", 0),
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
            check(bad.as_bytes(), &ChunkRead::Broken(at));
        }
        let long = |from: &str, with: &str| format!("{from}{}", with.repeat(20 << 10));
        assert!(matches!(walk(long("5;", "x").as_bytes(), 1 << 20).0, ChunkRead::Broken(_)));
        assert!(matches!(walk(long("5", " ").as_bytes(), 1 << 20).0, ChunkRead::Broken(_)));
        assert!(matches!(walk(long("0\r\nx:", "x").as_bytes(), 1 << 20).0, ChunkRead::Broken(_)));
        assert!(matches!(walk(long("", "1;xx\r\na\r\n").as_bytes(), 1 << 20).0, ChunkRead::Broken(_)));
    }
}
