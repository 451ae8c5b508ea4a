//! The head of an answer (RFC 9112), as httparse finds its lines: how its body is framed, and what is of the connection.
//!
//! Pure.

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{ParserConfig, Status};

use super::head::{Framing, Place, content_length};

/// The head of an answer is as bounded as a client's request.
const SIZE: usize = 256 << 10;
/// Headers of an answer.
const HEADERS: usize = 256;

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// Its length in bytes.
    pub length: usize,
    /// The status, of three digits.
    pub status: u16,
    /// HTTP/1.1, and not 1.0.
    pub modern: bool,
    /// What follows it.
    pub framing: Framing,
    /// The node says that the connection stays open (RFC 9112, section 9.3).
    pub keeps: bool,
    /// The headers that are not of this connection only; all of them where the protocol changes.
    pub headers: Vec<Place>,
    /// What `Connection` names besides `close` and `keep-alive`; nothing where the protocol changes.
    pub options: Vec<Range<usize>>,
}

/// What is wrong with the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerError(pub &'static str);

/// Reads a head; none as long as it is not whole. `head_only` is whether only the head was asked for; each line is shown
/// to `watch`.
///
/// # Errors
/// What is wrong with it. Nothing that follows means anything then.
pub fn read_answer(
    bytes: &[u8],
    head_only: bool,
    mut watch: impl FnMut(&str, &[u8]),
) -> Result<Option<AnswerHead>, AnswerError> {
    let mut room = [const { MaybeUninit::uninit() }; HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    // A blank before the colon is taken away and not handed on (RFC 9112, section 5.1).
    config.allow_spaces_after_header_name_in_responses(true);
    let outcome = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut room);
    let length = match outcome.map_err(|_| AnswerError("its head is no HTTP/1.1"))? {
        Status::Complete(length) => length,
        Status::Partial if bytes.len() > SIZE => return Err(AnswerError("its head is too large")),
        Status::Partial => return Ok(None),
    };
    let place = |part: &[u8]| {
        let start = part.as_ptr().addr() - bytes.as_ptr().addr();
        start..start + part.len()
    };
    let status = parsed.code.filter(|code| *code >= 100).ok_or(AnswerError("its status is none"))?;
    let switches = status == 101;
    let mut said = Said { modern: parsed.version == Some(1), ..Said::default() };
    let mut headers = Vec::with_capacity(parsed.headers.len());
    let mut options = Vec::new();
    for line in parsed.headers.iter() {
        said.read(line.name, line.value, |option| options.push(place(option)))?;
        watch(line.name, line.value);
        // What is of this connection ends here; a change of the protocol is for the client to know.
        if switches || !is_hop_by_hop(line.name) {
            headers.push((place(line.name.as_bytes()), place(line.value)));
        }
    }
    if switches {
        options = Vec::new();
    }
    let framing = said.framing(head_only, status)?;
    let keeps = said.keeps() && framing != Framing::Close;
    Ok(Some(AnswerHead { length, status, modern: said.modern, framing, keeps, headers, options }))
}

/// Whether a header is of one connection only (RFC 9110, section 7.6.1), or matters to a proxy only, however its letters are
/// written.
pub fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.iter().any(|hop| name.eq_ignore_ascii_case(hop))
}

/// What a line of `Connection` names.
pub fn options_of(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// What the head of an answer says of its connection and of its framing.
#[derive(Default)]
struct Said {
    /// HTTP/1.1, and not 1.0.
    modern: bool,
    length: Option<u64>,
    codings: u8,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Said {
    /// Reads a line. `other` is told what `Connection` names besides.
    fn read<'a>(&mut self, name: &str, value: &'a [u8], mut other: impl FnMut(&'a [u8])) -> Result<(), AnswerError> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            10 if is("connection") => {
                for option in options_of(value) {
                    if option.eq_ignore_ascii_case(b"keep-alive") {
                        self.keep_alive = true;
                    } else if option.eq_ignore_ascii_case(b"close") {
                        self.close = true;
                    } else {
                        other(option);
                    }
                }
            }
            14 if is("content-length") => self.length(value)?,
            17 if is("transfer-encoding") => {
                self.codings = self.codings.saturating_add(1);
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            _ => {}
        }
        Ok(())
    }

    /// The length that an answer states; it may say it several times, if it is the same.
    fn length(&mut self, digits: &[u8]) -> Result<(), AnswerError> {
        let length = content_length(digits);
        if length.is_none() || self.length.is_some_and(|other| length != Some(other)) {
            return Err(AnswerError("its Content-Length is none"));
        }
        self.length = length;
        Ok(())
    }

    /// How the body is framed (RFC 9112, section 6.3). What has two meanings has none.
    fn framing(&self, head_only: bool, status: u16) -> Result<Framing, AnswerError> {
        match (self.codings, self.length) {
            _ if head_only || matches!(status, 100..=199 | 204 | 304) => Ok(Framing::None),
            (0, Some(length)) => Ok(Framing::Length(length)),
            (0, None) => Ok(Framing::Close),
            (1, None) if self.chunked && self.modern => Ok(Framing::Chunked),
            (_, Some(_)) => Err(AnswerError("it has a length and a Transfer-Encoding")),
            _ => Err(AnswerError("it has a Transfer-Encoding that nobody asked for")),
        }
    }

    /// Whether the node says that the connection stays open (RFC 9112, section 9.3).
    fn keeps(&self) -> bool {
        !self.close && (self.modern || self.keep_alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<AnswerHead>, AnswerError> {
        read_answer(text.as_bytes(), false, |_, _| {})
    }

    #[test]
    fn an_answer_tells_how_its_body_is_framed() {
        let check = |text: &str, framing, keeps| {
            let head = read(&format!("{text}\r\nbody")).unwrap().unwrap();
            assert_eq!((head.framing, head.keeps, head.length), (framing, keeps, text.len() + 2), "{text:?}");
            assert_eq!(read(text), Ok(None));
        };
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", Framing::Length(3), true);
        check(
            "HTTP/1.1 200\r\nContent-Length: 3\r\nContent-Length: 3\r\nConnection: close\r\n",
            Framing::Length(3),
            false,
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n", Framing::Chunked, true);
        check("HTTP/1.1 200 OK\r\n", Framing::Close, false);
        check("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: x, Keep-Alive\r\n", Framing::Length(0), true);
        check("HTTP/1.1 304 No\r\nContent-Length: 3\r\n", Framing::None, true);
    }

    #[test]
    fn what_is_of_the_connection_is_told_apart() {
        let text = "HTTP/1.1 200 OK\r\nConnection: x-a, close\r\nX-A: 1\r\nKeep-Alive: 2\r\nB : 3\r\n\r\n";
        let head = read(text).unwrap().unwrap();
        let names: Vec<&str> = head.headers.iter().map(|(name, _)| &text[name.clone()]).collect();
        assert_eq!(names, ["X-A", "B"]);
        assert_eq!(head.options.iter().map(|place| &text[place.clone()]).collect::<Vec<_>>(), ["x-a"]);
        let switch = read("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: y\r\n\r\n").unwrap().unwrap();
        assert_eq!((switch.headers.len(), switch.options.len()), (2, 0));
    }

    #[test]
    fn an_answer_with_two_meanings_has_none() {
        for lines in [
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "no colon\r\n",
        ] {
            assert!(read(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).is_err(), "{lines:?}");
        }
        assert!(read("HTTP/1.1 099 x\r\n\r\n").is_err());
        assert!(read("HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
