//! Bytes of a body that were read before anybody takes them, in memory that is counted.

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::limits::{Allowance, Reserved};

/// Most that is read at once. Room for it is reserved before.
const STEP: u64 = 128 << 10;
/// Bytes are kept in blocks of at most this size, so that small pieces cost little more than what they hold. A block begins
/// with what is there or known to come, and doubles: it never takes more than twice what is counted for it.
const BLOCK: usize = 32 << 10;

/// Bytes that wait, in order.
#[derive(Debug)]
pub struct Ahead {
    blocks: VecDeque<BytesMut>,
    bytes: u64,
    /// What is still to come, where that is known: room for it is reserved.
    to_come: Option<u64>,
    reserved: Reserved,
}

impl Ahead {
    /// None yet, with room for all of a body where its length is known: a part of it would be of no use. Nothing, when
    /// there is no room.
    pub fn new(allowance: Rc<Allowance>, length: Option<u64>) -> Option<Self> {
        let mut reserved = Reserved::new(allowance);
        reserved.grow(length.unwrap_or(STEP)).then(|| Self {
            blocks: VecDeque::new(),
            bytes: 0,
            to_come: length,
            reserved,
        })
    }

    /// Whether what is read next may be kept. Asked before it is read.
    pub fn has_room(&mut self) -> bool {
        let missing = (self.bytes + STEP).saturating_sub(self.reserved.bytes());
        self.to_come.is_some() || missing == 0 || self.reserved.grow(missing)
    }

    /// Keeps what was read.
    pub fn put(&mut self, mut data: &[u8]) {
        let length = data.len() as u64;
        self.bytes += length;
        self.to_come = self.to_come.map(|to_come| to_come.saturating_sub(length));
        let to_come = usize::try_from(self.to_come.unwrap_or_default()).unwrap_or(BLOCK);
        while !data.is_empty() {
            let room = self.blocks.back().map_or(0, |last| BLOCK - last.len());
            if room == 0 {
                self.blocks.push_back(BytesMut::with_capacity(data.len().saturating_add(to_come).min(BLOCK)));
                continue;
            }
            let (now, later) = data.split_at(room.min(data.len()));
            if let Some(last) = self.blocks.back_mut() {
                last.extend_from_slice(now);
            }
            data = later;
        }
    }

    /// Nothing more is read for now: what was reserved without need is given back.
    pub fn settle(&mut self) {
        self.reserved.shrink_to(self.bytes + self.to_come.unwrap_or_default());
    }

    /// The next bytes.
    pub fn take(&mut self) -> Option<Bytes> {
        let block = self.blocks.pop_front()?;
        self.bytes -= block.len() as u64;
        self.settle();
        Some(block.freeze())
    }

    /// How many bytes wait.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether none do.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::ReadAhead;
    use crate::limits::{Holder, Room};

    #[test]
    fn bytes_come_back_in_order_and_only_what_waits_is_counted() {
        let room = Arc::new(Room::default());
        let bounds = ReadAhead { each: STEP + 100_000, user: 1 << 30, total: 1 << 30 };
        let allowance = Rc::new(Allowance { room: room.clone(), holder: Holder::user("alice"), bounds });
        assert!(Ahead::new(allowance.clone(), Some(bounds.each + 1)).is_none(), "all or nothing");
        let mut whole = Ahead::new(allowance.clone(), Some(bounds.each)).unwrap();
        whole.put(b"xy");
        assert_eq!(room.held(), bounds.each);
        whole.take();
        assert_eq!(room.held(), bounds.each - 2);
        drop(whole);
        for length in [None, Some(3)] {
            let mut small = Ahead::new(allowance.clone(), length).unwrap();
            small.put(b"xyz");
            let memory: usize = small.blocks.iter().map(BytesMut::capacity).sum();
            assert!(memory < 100, "{memory} bytes for 3");
        }
        let mut ahead = Ahead::new(allowance, None).unwrap();
        let all: Vec<u8> = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        for piece in all.chunks(777) {
            assert!(ahead.has_room());
            ahead.put(piece);
        }
        assert!(ahead.has_room());
        ahead.put(b"x");
        assert!(!ahead.has_room(), "no more than the bound");
        ahead.settle();
        assert_eq!((ahead.len(), room.held()), (100_001, 100_001));
        let mut back = Vec::new();
        while let Some(block) = ahead.take() {
            back.extend_from_slice(&block);
        }
        assert!(back[..100_000] == all && back[100_000..] == *b"x");
        assert_eq!((ahead.is_empty(), room.held()), (true, 0));
    }
}
