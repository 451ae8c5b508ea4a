//! HTTP/1.1 as bytes: heads and bodies, read the same way by the client and by the back-end.

use std::io::{self, BufRead, Read};

/// Header lines in the order they came, names as they were written.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of a header, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// All values of a header in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    /// Whether one of the comma-separated words of a header is `word`.
    pub fn has_word(&self, name: &str, word: &str) -> bool {
        self.all(name).iter().flat_map(|v| v.split(',')).any(|w| w.trim().eq_ignore_ascii_case(word))
    }
}

/// The first line and the headers of a message.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) first: String,
    pub(crate) headers: Headers,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    ToEnd,
}

fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// One line without its end; `None` at the end of the stream.
fn line(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    // A megabyte is far beyond any header that a test sends on purpose.
    if from.take(1 << 20).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended inside a line"));
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The next head; `None` when the stream ends before it begins.
pub(crate) fn head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let Some(first) = line(from)? else { return Ok(None) };
    let mut headers = Headers::default();
    loop {
        let text = line(from)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended inside a head"))?;
        if text.is_empty() {
            return Ok(Some(Head { first, headers }));
        }
        let (name, value) = text.split_once(':').ok_or_else(|| bad(format!("no colon in header line {text:?}")))?;
        headers.0.push((name.to_owned(), value.trim().to_owned()));
    }
}

impl Head {
    /// The framing that the headers announce, or what holds without any.
    pub(crate) fn framing(&self, otherwise: Framing) -> io::Result<Framing> {
        if self.headers.has_word("transfer-encoding", "chunked") {
            return Ok(Framing::Chunked);
        }
        match self.headers.get("content-length") {
            Some(text) => text.parse().map(Framing::Length).map_err(|_| bad(format!("content-length {text:?}"))),
            None => Ok(otherwise),
        }
    }
}

/// Reads a body piece by piece and hands each piece on.
pub(crate) fn body(from: &mut impl BufRead, framing: Framing, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    match framing {
        Framing::Length(length) => piece(from, length, &mut each),
        Framing::ToEnd => loop {
            let bytes = from.fill_buf()?;
            let n = bytes.len();
            if n == 0 {
                return Ok(());
            }
            each(bytes);
            from.consume(n);
        },
        Framing::Chunked => loop {
            let text = line(from)?.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no chunk"))?;
            let size = text.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| bad(format!("chunk size {text:?}")))?;
            if size == 0 {
                // trailers, up to the empty line
                while line(from)?.is_some_and(|l| !l.is_empty()) {}
                return Ok(());
            }
            piece(from, size, &mut each)?;
            line(from)?;
        },
    }
}

fn piece(from: &mut impl BufRead, mut left: u64, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
    while left > 0 {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{left} bytes of the body are missing")));
        }
        let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        each(&bytes[..n]);
        from.consume(n);
        left -= n as u64;
    }
    Ok(())
}

/// Bytes as two hexadecimal digits each.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}
