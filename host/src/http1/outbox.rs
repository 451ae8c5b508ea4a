//! Bytes on their way out of a connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::HeaderName;
use tokio::io::AsyncWrite;

/// Up to this size, bytes are gathered: to copy them is cheaper than to hand the kernel one more piece.
const SMALL: usize = 4 << 10;
/// So much of chunked data becomes one chunk at most.
const CHUNK: usize = 32 << 10;
/// Pieces that are handed over at once.
const PIECES: usize = 16;

/// What waits to be written: small pieces gathered, large ones as they came.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What goes first, in order.
    pieces: VecDeque<Bytes>,
    /// What is gathered behind them.
    gathered: Vec<u8>,
    /// So much of that was written; nothing unless there are no pieces.
    written: usize,
    /// The chunk that ends what is gathered: where its size is, and how large it is.
    chunk: Option<(usize, usize)>,
}

impl Outbox {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.written == self.gathered.len()
    }

    /// How many bytes wait.
    pub fn waiting(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.gathered.len() - self.written
    }

    /// Where a head is written.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.chunk = None;
        &mut self.gathered
    }

    /// Adds a chunk, or more of the last one as long as that waits: what came together goes out together, into however many
    /// chunks it was cut.
    pub fn push_chunk(&mut self, data: Bytes) {
        let size = data.len();
        if let Some((at, before)) = self.chunk
            && size <= SMALL
            && before + size <= CHUNK
            && self.written <= at
        {
            self.gathered.truncate(self.gathered.len() - 2);
            self.gathered.extend_from_slice(&data);
            self.gathered.extend_from_slice(b"\r\n");
            for _ in digits(before)..digits(before + size) {
                self.gathered.insert(at, b'0');
            }
            self.chunk = Some((at, before + size));
            return write_size(&mut self.gathered[at..at + digits(before + size)], before + size);
        }
        let at = self.gathered.len();
        self.gathered.resize(at + digits(size), b'0');
        write_size(&mut self.gathered[at..], size);
        self.gathered.extend_from_slice(b"\r\n");
        self.push(data);
        self.gathered.extend_from_slice(b"\r\n");
        self.chunk = (size <= SMALL).then_some((at, size));
    }

    /// Adds bytes.
    pub fn push(&mut self, data: Bytes) {
        self.chunk = None;
        if data.len() <= SMALL {
            self.gathered.extend_from_slice(&data);
            return;
        }
        if self.written < self.gathered.len() {
            let mut gathered = Bytes::from(std::mem::take(&mut self.gathered));
            gathered.advance(self.written);
            self.pieces.push_back(gathered);
        }
        self.gathered.clear();
        self.written = 0;
        self.pieces.push_back(data);
    }

    /// Gives memory back that is not worth keeping while the connection is idle.
    pub fn shrink(&mut self) {
        if self.is_empty() && (self.gathered.capacity() > SMALL || self.pieces.capacity() > 0) {
            *self = Self::default();
        }
    }

    /// Writes all there is. The stream may still have to be flushed.
    pub fn poll_write<S: AsyncWrite + ?Sized>(
        &mut self,
        mut stream: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let count = if self.pieces.is_empty() {
                ready!(stream.as_mut().poll_write(cx, &self.gathered[self.written..]))?
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES];
                let parts = self.pieces.iter().map(|piece| &piece[..]).chain([&self.gathered[..]]);
                let filled = slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count();
                ready!(stream.as_mut().poll_write_vectored(cx, &slices[..filled]))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                return piece.advance(count);
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
        self.written += count;
        if self.written == self.gathered.len() {
            self.gathered.clear();
            (self.written, self.chunk) = (0, None);
        }
    }
}

/// How many hexadecimal digits a number has.
fn digits(number: usize) -> usize {
    (usize::BITS - number.max(1).leading_zeros()).div_ceil(4) as usize
}

/// Writes a number over its digits.
fn write_size(place: &mut [u8], mut number: usize) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[number % 16];
        number /= 16;
    }
}

/// Writes a number in decimal digits, as nearly each head has one.
pub fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b"0123456789"[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Writes header lines.
pub fn write_headers(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        write_header(out, name, value.as_bytes());
    }
}

/// Begins a header line.
pub fn begin_header(out: &mut Vec<u8>, name: &HeaderName) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
}

/// Writes a header line.
pub fn write_header(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    begin_header(out, name);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    /// Writes data of these sizes as chunks; what comes out, as sizes of chunks, and the data.
    async fn chunked(sizes: &[usize], written_between: usize) -> (Vec<usize>, Vec<u8>) {
        let mut out = Outbox::default();
        let (mut wire, mut sent) = (Vec::new(), Vec::new());
        for (n, size) in sizes.iter().enumerate() {
            let data: Vec<u8> = (0..*size).map(|at| u8::try_from((n + at) % 251).unwrap()).collect();
            sent.extend_from_slice(&data);
            out.push_chunk(data.into());
            if (n + 1).is_multiple_of(written_between) {
                std::future::poll_fn(|cx| out.poll_write(Pin::new(&mut wire), cx)).await.unwrap();
            }
        }
        std::future::poll_fn(|cx| out.poll_write(Pin::new(&mut wire), cx)).await.unwrap();
        let (mut chunks, mut data, mut rest) = (Vec::new(), Vec::new(), &wire[..]);
        while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            assert_eq!(format!("{size:x}").len(), end, "no digit too many");
            let (chunk, after) = rest[end + 2..].split_at(size);
            data.extend_from_slice(chunk);
            chunks.push(size);
            rest = after.strip_prefix(b"\r\n").unwrap();
        }
        assert!(rest.is_empty() && data == sent);
        (chunks, data)
    }

    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 1, 9, 10, 99, 100, 1024, 1_000_000, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
    }

    #[tokio::test]
    async fn what_waits_together_is_one_chunk() {
        let check = async |sizes: &[usize], between: usize, chunks: &[usize]| {
            assert_eq!(chunked(sizes, between).await.0, chunks, "{sizes:?} {between}");
        };
        check(&[1; 5], 99, &[5]).await;
        check(&[1; 5], 1, &[1; 5]).await;
        check(&[1; 4097], 99_999, &[4097]).await;
        check(&[15, 1, 239, 1, 3840, 1], 99, &[4097]).await;
        check(&[1, SMALL + 1, 1, 1], 99, &[1, SMALL + 1, 2]).await;
        check(&[SMALL; 9], 99, &[CHUNK, SMALL]).await;
        check(&[1; CHUNK + 1], 99_999, &[CHUNK, 1]).await;
    }

    /// However sizes and writes follow each other, the data stays the same.
    #[tokio::test]
    async fn chunks_have_what_was_put_into_them() {
        let mut state = 1u64;
        for _ in 0..300 {
            let mut random = |most: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % most
            };
            let sizes: Vec<usize> = (0..40)
                .map(|_| {
                    let most = [3, 300, 9000][random(3)];
                    1 + random(most)
                })
                .collect();
            chunked(&sizes, 1 + random(7)).await;
        }
    }

    #[tokio::test]
    async fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let (mut near, mut far) = duplex(1000);
        let mut out = Outbox::default();
        let mut expected = Vec::new();
        for (n, size) in [10, 5000, 20, 30, 9000, 0, 7].into_iter().enumerate() {
            let part = vec![b'a' + u8::try_from(n).unwrap(); size];
            expected.extend_from_slice(&part);
            out.push(part.into());
        }
        let writing = async {
            std::future::poll_fn(|cx| out.poll_write(Pin::new(&mut near), cx)).await.unwrap();
            assert!(out.is_empty());
            out.push(Bytes::from_static(b"more"));
            std::future::poll_fn(|cx| out.poll_write(Pin::new(&mut near), cx)).await.unwrap();
            drop(near);
        };
        let mut read = Vec::new();
        let (_, count) = tokio::join!(writing, far.read_to_end(&mut read));
        count.unwrap();
        expected.extend_from_slice(b"more");
        assert!(read == expected);
    }
}
