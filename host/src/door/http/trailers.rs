//! Trailers of HTTP/2 requests: pseudo fields in them make a request malformed (RFC 9113, section 8.1), which the h2 crate
//! does not say: it forgets them. But it refuses a pseudo field behind another field, so one is put in front of all
//! trailers. That needs no HPACK: a literal that is not indexed changes no table. Trailers of requests go no further than
//! to Doorward, and so does the field.
//!
//! Invariants: all other bytes pass as they are; what is held back is less than the head of a frame.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a client's connection begins with (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// The head of a frame.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// More streams than a client may have open at once.
const OPEN: usize = 200;
/// The field `x` without a value (RFC 7541, section 6.2.2).
const FIELD: [u8; 4] = [0, 1, b'x', 0];

/// A stream of frames, as they come from a client.
pub(super) struct Trailers<S> {
    stream: S,
    frames: Frames,
    /// What was read and not handed on yet.
    out: Vec<u8>,
}

/// Where in the frames the next byte is.
#[derive(Debug, Clone)]
struct Frames {
    at: At,
    /// Streams on which a request has begun and not ended: a head on one of them is of trailers.
    open: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// In what comes before all frames; so much of it is left.
    Preface(usize),
    /// In a frame's head, of which so much is there.
    Head([u8; HEAD], usize),
    /// In a frame, of which so much is left.
    Payload(usize),
    /// In trailers: so much comes before their fields, and so much of the frame is left.
    Before(usize, usize),
    /// At their fields, of which none may stand before a change of the table's size (RFC 7541, section 4.2), or in the
    /// number of such a change.
    Fields { left: usize, number: bool },
}

impl Frames {
    /// Hands bytes on, with the field where it belongs.
    fn follow(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while let Some(first) = bytes.first().copied() {
            self.at = match self.at {
                At::Preface(left) => {
                    let some = pass(&mut bytes, left);
                    out.extend_from_slice(some);
                    if some.len() == left { At::Head([0; HEAD], 0) } else { At::Preface(left - some.len()) }
                }
                At::Head(mut head, there) => {
                    let some = pass(&mut bytes, HEAD - there);
                    let end = there + some.len();
                    head[there..end].copy_from_slice(some);
                    if end == HEAD { self.begin(head, out) } else { At::Head(head, end) }
                }
                At::Payload(left) => {
                    let some = pass(&mut bytes, left);
                    out.extend_from_slice(some);
                    in_payload(left - some.len())
                }
                At::Before(before, left) => {
                    let some = pass(&mut bytes, before);
                    out.extend_from_slice(some);
                    before_fields(before - some.len(), left - some.len(), out)
                }
                At::Fields { left, number } if number || first & 0xe0 == 0x20 => {
                    out.extend_from_slice(pass(&mut bytes, 1));
                    let number = if number { first & 0x80 != 0 } else { first & 0x1f == 0x1f };
                    if left == 1 {
                        out.extend_from_slice(&FIELD);
                        in_payload(0)
                    } else {
                        At::Fields { left: left - 1, number }
                    }
                }
                At::Fields { left, .. } => {
                    out.extend_from_slice(&FIELD);
                    At::Payload(left)
                }
            };
        }
    }

    /// A frame begins.
    fn begin(&mut self, mut head: [u8; HEAD], out: &mut Vec<u8>) -> At {
        let [a, b, c, kind, flags, id @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let stream = u32::from_be_bytes(id) & 0x7fff_ffff;
        let is_trailers = kind == HEADERS && self.open.contains(&stream);
        let ends = kind == RESET || matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        if ends {
            self.open.retain(|open| *open != stream);
        } else if kind == HEADERS && !is_trailers {
            // Those that were reset from here stay, until they are the oldest.
            if self.open.len() >= OPEN {
                self.open.remove(0);
            }
            self.open.push(stream);
        }
        let before = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
        let whole = length as usize;
        // A frame that is too short for what it says, or too long for any peer, is not ours to refuse.
        if !is_trailers || whole < before || length > 0xff_ff00 {
            out.extend_from_slice(&head);
            return in_payload(whole);
        }
        let [_, longer @ ..] = (length + 4).to_be_bytes();
        head[..3].copy_from_slice(&longer);
        out.extend_from_slice(&head);
        before_fields(before, whole, out)
    }

    /// Whether these bytes pass as they are, and end with no part of a head: then they need not be copied.
    fn passes(&mut self, mut bytes: &[u8]) -> bool {
        let before = self.clone();
        loop {
            match self.at {
                At::Payload(left) if bytes.len() <= left => {
                    self.at = in_payload(left - bytes.len());
                    return true;
                }
                At::Payload(left) => {
                    bytes = &bytes[left..];
                    self.at = in_payload(0);
                }
                At::Head(_, 0) if bytes.is_empty() => return true,
                At::Head(_, 0) if bytes.len() >= HEAD => {
                    let (head, rest) = bytes.split_at(HEAD);
                    let mut whole = [0; HEAD];
                    whole.copy_from_slice(head);
                    let mut out = Vec::new();
                    self.at = self.begin(whole, &mut out);
                    bytes = rest;
                    if out == head {
                        continue;
                    }
                    self.clone_from(&before);
                    return false;
                }
                _ => {
                    self.clone_from(&before);
                    return false;
                }
            }
        }
    }
}

/// Takes bytes off the beginning.
fn pass<'a>(bytes: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (some, rest) = bytes.split_at(most.min(bytes.len()));
    *bytes = rest;
    some
}

fn in_payload(left: usize) -> At {
    if left == 0 { At::Head([0; HEAD], 0) } else { At::Payload(left) }
}

fn before_fields(before: usize, left: usize, out: &mut Vec<u8>) -> At {
    match (before, left) {
        (0, 0) => {
            out.extend_from_slice(&FIELD);
            in_payload(0)
        }
        (0, left) => At::Fields { left, number: false },
        (before, left) => At::Before(before, left),
    }
}

impl<S> Trailers<S> {
    /// A connection that a client has begun.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, frames: Frames { at: At::Preface(PREFACE), open: Vec::new() }, out: Vec::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Trailers<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        while this.out.is_empty() && buffer.remaining() > 0 {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let new = &buffer.filled()[before..];
            if new.is_empty() || this.frames.passes(new) {
                return Poll::Ready(Ok(()));
            }
            this.frames.follow(new, &mut this.out);
            buffer.set_filled(before);
        }
        let length = this.out.len().min(buffer.remaining());
        buffer.put_slice(&this.out[..length]);
        this.out.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Trailers<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
    }

    /// Reads through it what is written in pieces of this size.
    async fn through(bytes: &[u8], step: usize, room: usize) -> Vec<u8> {
        let (mut client, server) = duplex(step);
        let mut trailers = Trailers::new(server);
        let write = async {
            client.write_all(bytes).await.unwrap();
            drop(client);
        };
        let read = async {
            let (mut all, mut part) = (Vec::new(), vec![0; room]);
            loop {
                match trailers.read(&mut part).await.unwrap() {
                    0 => return all,
                    length => all.extend_from_slice(&part[..length]),
                }
            }
        };
        tokio::join!(write, read).1
    }

    #[tokio::test]
    async fn only_trailers_get_a_field_and_behind_changes_of_the_table() {
        let preface = [b'p'; PREFACE];
        let request = |stream| frame(HEADERS, 4, stream, b"\x82\x84");
        let data = frame(0, 0, 1, b"\x01\x02\x03 some data that is longer than a head");
        let with = |begin: &[u8], end: &[u8]| [begin, &FIELD, end].concat();
        for (flags, before, after) in [
            (5, b"\x84".to_vec(), with(b"", b"\x84")),
            (5, Vec::new(), FIELD.to_vec()),
            (5, b"\x20\x3f\xe1\x1f\x84".to_vec(), with(b"\x20\x3f\xe1\x1f", b"\x84")),
            (5, b"\x20".to_vec(), with(b"\x20", b"")),
            (5 | PADDED, b"\x02\x84\0\0".to_vec(), with(b"\x02", b"\x84\0\0")),
            (5 | PADDED | PRIORITY, b"\x00\0\0\0\0\x07\x84".to_vec(), with(b"\x00\0\0\0\0\x07", b"\x84")),
            // Too short for its priority.
            (5 | PRIORITY, b"\0\0".to_vec(), b"\0\0".to_vec()),
        ] {
            let bytes = |trailers: &[u8]| {
                let parts = [&preface[..], &request(1), &data, &frame(HEADERS, flags, 1, trailers), &request(3), &data];
                parts.concat()
            };
            for step in [1, 2, 5, 13, 1000] {
                for room in [1, 7, 1000] {
                    assert_eq!(through(&bytes(&before), step, room).await, bytes(&after), "{before:?} {step} {room}");
                }
            }
        }
    }

    /// However frames are cut, the two ways of reading them say the same.
    #[tokio::test]
    async fn any_bytes_are_survived() {
        let mut state = 1u64;
        for _ in 0..300 {
            let mut random = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                u8::try_from((state >> 33) % 256).unwrap()
            };
            let mut bytes = vec![b'p'; PREFACE];
            for _ in 0..20 {
                let payload: Vec<u8> = (0..random() % 20).map(|_| random()).collect();
                let kind = random() % 3;
                bytes.extend(frame(kind, random(), random() % 4, &payload));
            }
            bytes.extend((0..random()).map(|_| random()).collect::<Vec<u8>>());
            let mut expected = Vec::new();
            Frames { at: At::Preface(PREFACE), open: Vec::new() }.follow(&bytes, &mut expected);
            let got = through(&bytes, 1 + usize::from(random() % 50), 1 + usize::from(random())).await;
            assert_eq!(got, expected);
        }
    }
}
