//! Inputs out of inputs: bytes are flipped, inserted, removed, repeated, exchanged for words, and joined to those of others.
//! Each is made of a seed alone, so that it can be made again.

/// A generator of numbers (SplitMix64).
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// An input made of one of the corpus.
pub fn mutate(random: &mut Random, corpus: &[Vec<u8>], words: &[&[u8]], longest: usize) -> Vec<u8> {
    let one = |random: &mut Random| corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
    let mut bytes = one(random);
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        let length = random.below(16).min(bytes.len() - at);
        match random.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.byte(),
            2 => bytes.insert(at, random.byte()),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let part = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len() + 1);
                for _ in 0..=random.below(8) {
                    bytes.splice(to..to, part.iter().copied());
                }
            }
            5 | 6 if !words.is_empty() => {
                let word = words[random.below(words.len())];
                let over = if random.below(2) == 0 { 0 } else { word.len().min(bytes.len() - at) };
                bytes.splice(at..at + over, word.iter().copied());
            }
            7 => {
                let other = one(random);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes.truncate(longest);
    bytes
}
