//! The id of a request, which joins what a client got to what was logged of it.
//!
//! Invariant: no two requests of a process have the same, nor do those of two processes but by bad luck.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Sixteen hexadecimal digits. Small enough to be copied, so that no request needs memory of its own for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 16]);

/// Requests since the start; with the start's random part they make ids that no two processes share.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl RequestId {
    /// The id of what is no request.
    pub const NONE: Self = Self([b'0'; 16]);

    /// The next one.
    pub fn next() -> Self {
        Self::of(start_mark(), REQUESTS.fetch_add(1, Ordering::Relaxed))
    }

    /// The process's mark, and the request's number. Written by hand, since every request has one.
    fn of(mark: u32, number: u64) -> Self {
        let bytes = (u64::from(mark) << 32 | number & 0xffff_ffff).to_be_bytes();
        let half = |at: usize| if at.is_multiple_of(2) { bytes[at / 2] >> 4 } else { bytes[at / 2] & 15 };
        Self(std::array::from_fn(|at| b"0123456789abcdef"[usize::from(half(at))]))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A random number of this process, for request ids only.
fn start_mark() -> u32 {
    static MARK: OnceLock<u32> = OnceLock::new();
    *MARK.get_or_init(|| getrandom::u32().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_has_sixteen_digits() {
        assert_eq!(RequestId::of(0xab, 0x1_0000_00ff).as_str(), "000000ab000000ff");
        assert_eq!(RequestId::of(u32::MAX, 1).to_string(), "ffffffff00000001");
        assert_ne!(RequestId::next(), RequestId::next());
    }
}
