//! Bytes that were read from a connection and not used yet.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Room for a body that is being read, at first and at most.
const ROOM: (usize, usize) = (8 << 10, 128 << 10);

/// What was read and not used.
#[derive(Debug)]
pub struct Inbox {
    bytes: BytesMut,
    room: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), room: ROOM.0 }
    }
}

impl Inbox {
    /// The bytes, from which what is used is taken.
    pub fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Keeps bytes that were read elsewhere.
    pub fn keep(&mut self, new: &[u8]) {
        self.bytes.extend_from_slice(new);
    }

    /// Lets somebody look at what there is with what is new behind it, who says how much of that is used. Only the rest is
    /// kept, so that what comes in one piece is never copied here.
    ///
    /// # Errors
    /// Those of who looks. Nothing that is left means anything then.
    pub fn look<T, E>(&mut self, new: &[u8], look: impl FnOnce(&[u8]) -> Result<(usize, T), E>) -> Result<T, E> {
        if self.bytes.is_empty() {
            let (used, found) = look(new)?;
            self.keep(&new[used..]);
            return Ok(found);
        }
        self.keep(new);
        let (used, found) = look(&self.bytes)?;
        drop(self.bytes.split_to(used));
        Ok(found)
    }

    /// Reads some bytes of a body, more at once the more there are; 0 at the end of the stream.
    pub fn poll_read<S: AsyncRead + Unpin + ?Sized>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.bytes.reserve(self.room);
        let length = ready!(pin!(stream.read_buf(&mut self.bytes)).poll(cx))?;
        if length >= self.room {
            self.room = (self.room * 2).min(ROOM.1);
        }
        Poll::Ready(Ok(length))
    }

    /// The bytes, for somebody else.
    pub fn into_bytes(self) -> BytesMut {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_used_is_kept_in_order() {
        let mut inbox = Inbox::default();
        let none = |_: &[u8]| Ok::<_, ()>((0, ()));
        inbox.look(b"ab", none).unwrap();
        inbox.look(b"c", none).unwrap();
        let seen = inbox.look(b"de", |bytes| Ok::<_, ()>((3, bytes.to_vec()))).unwrap();
        assert_eq!((seen.as_slice(), &inbox.bytes()[..]), (&b"abcde"[..], &b"de"[..]));
        inbox.bytes().clear();
        inbox.look(b"xyz", |bytes| Ok::<_, ()>((bytes.len() - 1, ()))).unwrap();
        assert_eq!(inbox.into_bytes(), "z");
    }
}
