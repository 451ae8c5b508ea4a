//! The strict reading of an HTTP/1 request head (RFC 9112): each has exactly one meaning, or is refused.
//!
//! Pure.
//!
//! Invariants: lines are checked as soon as they are whole, so a bad one is refused before the head's end has come; what
//! is kept of a head that is not whole is bounded by the limits.

use std::ops::Range;

use memchr::{memchr, memchr2};

use crate::host::is_authority;

/// A request line has besides its target a method of at most 32 bytes, a version and two blanks.
const LINE_BESIDES: usize = 64;
/// Headers of which there is room at once.
const HEADERS: usize = 16;
/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// Methods are short; registered ones have at most 17 letters.
const METHOD: usize = 32;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// A body of this length.
    Length(u64),
    /// A chunked body.
    Chunked,
    /// A body that goes on until the connection ends. Answers only.
    Close,
}

/// A head that was found good.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Its length in bytes.
    pub length: usize,
    /// What follows it.
    pub framing: Framing,
    /// Where its parts are.
    pub places: Places,
}

/// Where a header is: its name, and its value without the blanks around it.
pub type Place = (Range<usize>, Range<usize>);

/// Where the parts of a head are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The method.
    pub method: Range<usize>,
    /// The target.
    pub target: Range<usize>,
    /// HTTP/1.1, and not 1.0.
    pub modern: bool,
    /// The headers.
    pub headers: Vec<Place>,
}

/// Limits of a head; see `[http]`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the target.
    pub uri: usize,
    /// Bytes of all headers.
    pub headers: usize,
    /// How many headers.
    pub count: usize,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// It is ambiguous or malformed; the text says how.
    Malformed(&'static str),
    /// A method that is never forwarded.
    Method,
    /// A `Transfer-Encoding` that is not `chunked` (RFC 9112, section 6.1).
    Encoding,
    /// A version of HTTP that is neither 1.0 nor 1.1.
    Version,
    /// The target is longer than this limit.
    UriTooLong(usize),
    /// The headers are larger than this limit.
    HeadersTooLarge(usize),
    /// There are more headers than this limit.
    TooManyHeaders(usize),
}

/// What is known of the lines so far. Ranges are places in the head.
#[derive(Debug, Default)]
pub struct Reader {
    /// Where the line begins that is not whole yet.
    line: usize,
    /// Up to here no end of a line was found.
    searched: usize,
    first: First,
    /// Where the headers begin.
    headers: usize,
    host: Option<Range<usize>>,
    /// The authority of a target in absolute form.
    authority: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    places: Places,
}

/// Where the request line is.
#[derive(Debug, Default, PartialEq, Eq)]
enum First {
    /// Nothing came yet.
    #[default]
    Nothing,
    /// One empty line came, which is ignored (RFC 9112, section 2.2).
    EmptyLine,
    /// It was read.
    Read,
}

impl Reader {
    /// Reads on. `bytes` begins with the head, and has all that came of it and perhaps more; none as long as the head is
    /// not whole.
    ///
    /// # Errors
    /// What is wrong with the head. Nothing that follows it means anything then.
    pub fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Head>, HeadError> {
        while let Some(found) = memchr(b'\n', bytes.get(self.searched..).unwrap_or_default()) {
            let (start, end) = (self.line, self.searched + found);
            (self.line, self.searched) = (end + 1, end + 1);
            let line = bytes.get(start..end).and_then(|line| line.strip_suffix(b"\r"));
            let line = line.ok_or(HeadError::Malformed("a line does not end with CR LF"))?;
            match self.first {
                First::Read if line.is_empty() => return self.end(bytes, limits).map(Some),
                First::Read => self.header(line, start, limits)?,
                First::Nothing if line.is_empty() => self.first = First::EmptyLine,
                _ => self.request_line(line, start, limits)?,
            }
        }
        self.searched = bytes.len();
        self.check_size(bytes.len(), limits)?;
        self.check_begin(bytes)?;
        Ok(None)
    }

    /// Refuses a request line of which the beginning is no method already: what speaks another protocol waits for an
    /// answer, and not for a deadline.
    fn check_begin(&self, bytes: &[u8]) -> Result<(), HeadError> {
        let line = bytes.get(self.line..).unwrap_or_default();
        if self.first == First::Read || line == b"\r" && self.first == First::Nothing {
            return Ok(());
        }
        let end = line.iter().position(|byte| !is_token(*byte));
        match end.and_then(|end| Some((end, *line.get(end)?))) {
            Some((0, TLS_HANDSHAKE)) => Err(HeadError::Malformed("it begins as TLS does, where plain HTTP is spoken")),
            Some((1.., b' ')) | None if end.unwrap_or(line.len()) <= METHOD => Ok(()),
            Some((1.., b' ')) | None => Err(HeadError::Method),
            Some(_) => Err(HeadError::Malformed("its method is no word")),
        }
    }

    /// Refuses a head that is too large already.
    fn check_size(&self, length: usize, limits: &Limits) -> Result<(), HeadError> {
        if self.first != First::Read {
            let over = length - self.line > limits.uri + LINE_BESIDES;
            return if over { Err(HeadError::UriTooLong(limits.uri)) } else { Ok(()) };
        }
        let over = length - self.headers > limits.headers;
        if over { Err(HeadError::HeadersTooLarge(limits.headers)) } else { Ok(()) }
    }

    fn request_line(&mut self, line: &[u8], start: usize, limits: &Limits) -> Result<(), HeadError> {
        let bad = HeadError::Malformed;
        let (method, rest) = split_at_byte(line, b' ').ok_or(bad("its first line is no request line"))?;
        let cut = method.len();
        if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
            return Err(bad("its method is no word"));
        }
        let (target, version) = split_at_byte(rest, b' ').unwrap_or((rest, b""));
        if target.len() > limits.uri {
            return Err(HeadError::UriTooLong(limits.uri));
        }
        self.places.modern = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            // HTTP/0.9 has no version (`GET /`); there is nothing to it but the method and the target.
            b"" if target.len() == rest.len() && !target.is_empty() => return Err(HeadError::Version),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                return Err(HeadError::Version);
            }
            _ if method == b"PROXY" => return Err(bad("it begins with a PROXY header, where none is expected")),
            _ => return Err(bad("its version is none of HTTP")),
        };
        if method.len() > METHOD || matches!(method, b"CONNECT" | b"TRACE") {
            return Err(HeadError::Method);
        }
        let at = start + cut + 1;
        self.target(target, at, method)?;
        (self.places.method, self.places.target) = (start..start + cut, at..at + target.len());
        self.places.headers.reserve(HEADERS);
        self.first = First::Read;
        self.headers = self.line;
        Ok(())
    }

    /// Checks a target (RFC 9112, section 3.2): a path, or a URL of http or https, whose authority must be `Host`'s.
    fn target(&mut self, target: &[u8], at: usize, method: &[u8]) -> Result<(), HeadError> {
        let bad = HeadError::Malformed;
        let odd = |byte: u8| (byte <= b' ') | (byte >= 0x7f) | matches!(byte, b'#' | b'<' | b'>' | b'"');
        if target.iter().fold(false, |found, byte| found | odd(*byte)) {
            return Err(bad("its target has characters that no address has"));
        }
        let mut path = target;
        if target.first() != Some(&b'/') {
            if target == b"*" && method == b"OPTIONS" {
                return Err(HeadError::Method);
            }
            let rest = [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
                let (begin, rest) = target.split_at_checked(scheme.len())?;
                begin.eq_ignore_ascii_case(scheme).then_some(rest)
            });
            let rest = rest.ok_or(bad("its target is no path"))?;
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, after) = rest.split_at(end);
            if !is_authority(authority) {
                return Err(bad("its target has no host name"));
            }
            let scheme = target.len() - rest.len();
            self.authority = Some(at + scheme..at + scheme + end);
            path = after;
            if path.first() != Some(&b'/') {
                return Err(bad("its target has no path"));
            }
        }
        let path = split_at_byte(path, b'?').map_or(path, |(path, _)| path);
        if memchr2(b'\\', b'`', path).is_some() {
            return Err(bad("its path is ambiguous"));
        }
        Ok(())
    }

    fn header(&mut self, line: &[u8], start: usize, limits: &Limits) -> Result<(), HeadError> {
        let bad = HeadError::Malformed;
        if self.places.headers.len() >= limits.count {
            return Err(HeadError::TooManyHeaders(limits.count));
        }
        self.check_size(start + line.len(), limits)?;
        let colon = line.iter().position(|byte| !is_token(*byte)).ok_or(bad("a header has no colon"))?;
        let (name, raw) = match line.split_at(colon) {
            (name @ [_, ..], [b':', raw @ ..]) => (name, raw),
            _ => return Err(bad("a header has no proper name")),
        };
        // Without branches, so that the compiler takes many bytes at once.
        if raw.iter().fold(false, |found, byte| found | ((*byte < 0x20) & (*byte != b'\t')) | (*byte == 0x7f)) {
            return Err(bad("a header has control characters"));
        }
        // Blanks and tabs around a value are none of it (RFC 9112, section 5).
        let (value, blanks) = (raw.trim_ascii(), raw.len() - raw.trim_ascii_start().len());
        let at = start + colon + 1 + blanks;
        self.places.headers.push((start..start + colon, at..at + value.len()));
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value, at),
            14 if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.transfer_encoding(value),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8], at: usize) -> Result<(), HeadError> {
        if self.host.is_some() {
            return Err(HeadError::Malformed("it has two Host headers"));
        }
        self.host = Some(at..at + value.len());
        if is_authority(value) { Ok(()) } else { Err(HeadError::Malformed("its Host is no host name")) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.length.is_some() {
            return Err(HeadError::Malformed("it has two lengths"));
        }
        self.length = Some(content_length(value).ok_or(HeadError::Malformed("its Content-Length is no number"))?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.chunked {
            return Err(HeadError::Malformed("it has two Transfer-Encoding headers"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::Encoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// What can be said only of the whole.
    fn end(&mut self, bytes: &[u8], limits: &Limits) -> Result<Head, HeadError> {
        let bad = HeadError::Malformed;
        self.check_size(self.line, limits)?;
        match (&self.host, &self.authority) {
            (None, _) if self.places.modern => return Err(bad("it has no Host")),
            (Some(host), Some(authority)) => {
                let part = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
                if !part(host).eq_ignore_ascii_case(part(authority)) {
                    return Err(bad("its Host is not that of its target"));
                }
            }
            _ => {}
        }
        let framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(bad("it has both a length and a Transfer-Encoding")),
            (None, true) if !self.places.modern => return Err(bad("HTTP/1.0 has no Transfer-Encoding")),
            (None, true) => Framing::Chunked,
            (None | Some(0), false) => Framing::None,
            (Some(length), false) => Framing::Length(length),
        };
        Ok(Head { length: self.line, framing, places: std::mem::take(&mut self.places) })
    }
}

/// The number of a `Content-Length` of 1 to 18 digits: what a signed number of 64 bits can hold, so that it is the same
/// number everywhere.
pub fn content_length(value: &[u8]) -> Option<u64> {
    let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    digits.then(|| value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A character of a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    #[expect(clippy::indexing_slicing, reason = "is done by the compiler")]
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0u8;
        loop {
            table[byte as usize] = byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            if byte == u8::MAX {
                break;
            }
            byte += 1;
        }
        table
    };
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// What is before the first such byte, and what is behind it.
fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(memchr(byte, bytes)?)?;
    Some((before, after.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { uri: 100, headers: 200, count: 5 };

    /// Reads at once and byte by byte; both must say the same of a good head, and refuse a bad one.
    fn read(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
        let whole = Reader::default().read(bytes, &LIMITS);
        let mut reader = Reader::default();
        let steps = (1..=bytes.len()).map(|end| reader.read(&bytes[..end], &LIMITS));
        let first = steps.take(bytes.len()).find(|said| !matches!(said, Ok(None))).unwrap_or(Ok(None));
        assert_eq!(first.is_ok(), whole.is_ok(), "{:?}", String::from_utf8_lossy(bytes));
        whole
    }

    fn head(text: &str) -> Head {
        read(text.as_bytes()).unwrap_or_else(|refusal| panic!("{text:?}: {refusal:?}")).expect("a whole head")
    }

    #[test]
    fn a_good_head_tells_what_follows_it() {
        let check = |text: &str, framing, count| {
            for text in [text, &format!("{text}GET")] {
                let head = head(text);
                assert_eq!((head.framing, head.places.headers.len()), (framing, count), "{text:?}");
            }
            assert_eq!(head(text).length, text.len());
            assert_eq!(read(&text.as_bytes()[..text.len() - 1]), Ok(None), "{text:?} and less");
        };
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None, 1);
        check("\r\nGET / HTTP/1.0\r\n\r\n", Framing::None, 0);
        check("POST / HTTP/1.1\r\nHost:a\r\ncontent-length: 7 \r\n\r\n", Framing::Length(7), 2);
        check("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tChunked\r\n\r\n", Framing::Chunked, 2);
        check("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n", Framing::None, 2);
        check("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n", Framing::Length(1), 3);
        check("GET http://A:80/?x HTTP/1.1\r\nHost: a:80\r\n\r\n", Framing::None, 1);
    }

    #[test]
    fn a_bad_head_is_refused_as_soon_as_it_is_known() {
        let check = |text: &str, refusal: HeadError| assert_eq!(read(text.as_bytes()), Err(refusal), "{text:?}");
        check("GET / HTTP/1.1\n", HeadError::Malformed("a line does not end with CR LF"));
        check("GET / HTTP/3.0\r\n", HeadError::Version);
        check("CONNECT a:1 HTTP/1.1\r\n", HeadError::Method);
        check("GET / HTTP/1.1\r\nX\0: y\r\n", HeadError::Malformed("a header has no proper name"));
        check("GET / HTTP/1.1\r\nTransfer-Encoding: x\r\n", HeadError::Encoding);
        check(&format!("GET /{}", "x".repeat(200)), HeadError::UriTooLong(100));
        check(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(100)), HeadError::UriTooLong(100));
        check(&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(200)), HeadError::HeadersTooLarge(200));
        check(&format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(6)), HeadError::TooManyHeaders(5));
    }

    #[test]
    fn a_beginning_that_no_request_has_is_refused_before_its_line_ends() {
        let check = |bytes: &[u8], outcome: Result<Option<Head>, HeadError>| {
            assert_eq!(Reader::default().read(bytes, &LIMITS), outcome, "{:?}", String::from_utf8_lossy(bytes));
        };
        for good in ["", "G", "GET", "GET ", "GET /x", "\r", "\r\n", "\r\nG", "X-1.~ /", &"M".repeat(METHOD)] {
            check(good.as_bytes(), Ok(None));
        }
        let no_word = HeadError::Malformed("its method is no word");
        for bad in
            [&b" "[..], b"\0", b"{", b"<", b"\x80", b"GE\x01", b"GET\t", b"\rG", b"\r\n\0", b"\r\n\r", b"(", b"a:"]
        {
            check(bad, Err(no_word));
        }
        let tls = HeadError::Malformed("it begins as TLS does, where plain HTTP is spoken");
        check(b"\x16", Err(tls));
        check(b"\x16\x03\x01\x02\0\x01", Err(tls));
        check("M".repeat(METHOD + 1).as_bytes(), Err(HeadError::Method));
        let proxy = HeadError::Malformed("it begins with a PROXY header, where none is expected");
        check(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Err(proxy));
        check(b"PRI * HTTP/2.0\r\n", Err(HeadError::Version));
    }

    /// No bytes make the reader panic, or take more than there is.
    #[test]
    fn any_bytes_are_survived() {
        let seed = b"GET http://a/%2f?x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nUpgrade: x\r\n\r\n";
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut bytes = seed.to_vec();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let random = (state >> 33) as usize;
                let at = random % bytes.len();
                match random % 3 {
                    0 => bytes[at] = b"\r\n\0 :\x80/[]@"[(random >> 8) % 10],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"\r\n\0 :\x80/[]@"[(random >> 8) % 10]),
                }
            }
            if let Ok(Some(head)) = read(&bytes) {
                assert!(head.length <= bytes.len());
            }
        }
    }
}
