//! Bodies between their framing and what they are (RFC 9112, sections 6 and 7).
//!
//! Pure.
//!
//! Invariants: a body ends where its framing says and nowhere else; what is written has the length that was announced, or
//! the connection cannot be used again.

use bytes::{Buf as _, BytesMut};
use doorward_wire::http1::{ChunkRead, Chunks, Framing};
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use super::outbox::{Outbox, write_headers, write_number};

/// What is left to read of a body.
#[derive(Debug)]
pub enum Decoder {
    /// So many bytes.
    Length(u64),
    /// Chunks, and perhaps trailers.
    Chunked(Box<Chunks>),
    /// All that comes until the connection ends: answers only.
    Close,
    /// Nothing.
    Done,
}

/// A chunk is none.
#[derive(Debug, thiserror::Error)]
#[error("a chunk of the body is none")]
pub struct Broken;

impl Decoder {
    /// At the beginning of a body.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Box::default()),
            Framing::Close => Self::Close,
        }
    }

    /// Whether the body was read to its end.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// How much of it is left, at least: a chunk says beforehand how large it is.
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Done => SizeHint::with_exact(0),
            Self::Chunked(chunks) => {
                let mut hint = SizeHint::new();
                hint.set_lower(chunks.left());
                hint
            }
            Self::Close => SizeHint::default(),
        }
    }

    /// Takes out of the buffer what is there of the body, as far as it is in one piece; none when more must be read, or
    /// when it is done.
    ///
    /// # Errors
    /// A chunk that is none: nothing that follows means anything.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Broken> {
        if buffer.is_empty() {
            return Ok(None);
        }
        match self {
            Self::Done => Ok(None),
            Self::Close => Ok(Some(Frame::data(buffer.split().freeze()))),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
                *left -= taken as u64;
                let whole = *left == 0;
                if whole {
                    *self = Self::Done;
                }
                // With nothing more to come, the buffer itself goes on, and need not be shared.
                let data = if whole && taken == buffer.len() { std::mem::take(buffer) } else { buffer.split_to(taken) };
                Ok(Some(Frame::data(data.freeze())))
            }
            Self::Chunked(chunks) => match chunks.read(buffer) {
                ChunkRead::More => {
                    buffer.clear();
                    Ok(None)
                }
                ChunkRead::Data(framing, length) => {
                    buffer.advance(framing);
                    Ok(Some(Frame::data(buffer.split_to(length).freeze())))
                }
                ChunkRead::Ended(length) => {
                    buffer.advance(length);
                    let trailers = trailers_of(chunks);
                    *self = Self::Done;
                    Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
                }
                ChunkRead::Broken(_) => Err(Broken),
            },
        }
    }
}

/// The trailers of a body. What cannot be a header is left out.
fn trailers_of(chunks: &Chunks) -> HeaderMap {
    let of = |(name, value)| Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?));
    let mut map = HeaderMap::new();
    for (name, value) in chunks.trailers().filter_map(of) {
        map.append(name, value);
    }
    map
}

/// What is left to write of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All until the connection ends: answers to HTTP/1.0 only.
    Close,
}

/// A body has another length than was announced.
#[derive(Debug, thiserror::Error)]
#[error("the body has another length than was announced")]
pub struct Misfit;

/// Whether answers of this status have no body, whatever their headers say (RFC 9112, section 6.3).
pub fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

impl Encoder {
    /// Writes the header that says how the body is framed.
    pub fn announce(self, out: &mut Outbox) {
        match self {
            Self::Length(length) => {
                out.buffer().extend_from_slice(b"content-length: ");
                write_number(out.buffer(), length);
                out.buffer().extend_from_slice(b"\r\n");
            }
            Self::Chunked => out.buffer().extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Self::Close => {}
        }
    }

    /// Writes a piece of the body.
    ///
    /// # Errors
    /// It is more than was announced; nothing of it is written.
    pub fn data(&mut self, data: Bytes, out: &mut Outbox) -> Result<(), Misfit> {
        match self {
            _ if data.is_empty() => {}
            Self::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Misfit)?;
                out.push(data);
            }
            Self::Chunked => out.push_chunk(data),
            Self::Close => out.push(data),
        }
        Ok(())
    }

    /// Writes the end, with trailers where the framing has room for them.
    ///
    /// # Errors
    /// It is less than was announced.
    pub fn end(&mut self, trailers: Option<&HeaderMap>, out: &mut Outbox) -> Result<(), Misfit> {
        match self {
            Self::Length(0) | Self::Close => {}
            Self::Length(_) => return Err(Misfit),
            Self::Chunked => {
                out.buffer().extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers {
                    write_headers(out.buffer(), trailers);
                }
                out.buffer().extend_from_slice(b"\r\n");
                *self = Self::Length(0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunked_body_is_read_as_it_was_written() {
        let mut out = Outbox::default();
        let mut encoder = Encoder::Chunked;
        for part in [&b"hello"[..], &[b'x'; 70_000], b"", b"!"] {
            encoder.data(Bytes::from_static(part.to_vec().leak()), &mut out).unwrap();
        }
        let trailers = HeaderMap::from_iter([(hyper::header::ETAG, HeaderValue::from_static("1"))]);
        encoder.end(Some(&trailers), &mut out).unwrap();
        let mut written = Vec::new();
        std::future::poll_fn(|cx| out.poll_write(std::pin::Pin::new(&mut written), cx)).await.unwrap();
        assert!(out.is_empty());
        let (mut decoder, mut read, mut told) = (Decoder::new(Framing::Chunked), Vec::new(), None);
        let mut buffer = BytesMut::new();
        for part in written.chunks(1000) {
            buffer.extend_from_slice(part);
            while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                match frame.into_data() {
                    Ok(data) => read.extend_from_slice(&data),
                    Err(frame) => told = frame.into_trailers().ok(),
                }
            }
        }
        assert!(decoder.is_done() && buffer.is_empty());
        assert_eq!(told, Some(trailers));
        assert_eq!(read, [&b"hello"[..], &[b'x'; 70_000], b"!"].concat());
    }

    #[test]
    fn a_body_has_the_length_that_was_announced() {
        let mut out = Outbox::default();
        let mut encoder = Encoder::Length(3);
        encoder.data(Bytes::from_static(b"ab"), &mut out).unwrap();
        assert!(encoder.end(None, &mut out).is_err());
        assert!(encoder.data(Bytes::from_static(b"cd"), &mut out).is_err());
        encoder.data(Bytes::from_static(b"c"), &mut out).unwrap();
        encoder.end(None, &mut out).unwrap();
        let mut buffer = BytesMut::from(&b"abcdef"[..]);
        let mut decoder = Decoder::new(Framing::Length(4));
        let frame = decoder.decode(&mut buffer).unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "abcd");
        assert!(decoder.is_done());
        assert_eq!(buffer, "ef");
    }
}
