//! The context of a trace, as W3C Trace Context writes it down (`traceparent`).

use std::cell::Cell;

use hyper::HeaderMap;

use crate::text::hex;

/// Which trace a request belongs to, and which span of it is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: [u8; 16],
    /// The request's own span.
    pub span: [u8; 8],
    /// The span that it belongs to.
    pub parent: Option<[u8; 8]>,
    /// Whether it is sent, whatever comes of it.
    pub is_sampled: bool,
}

/// Whether a header carries the context of a trace, or what goes with it: W3C's, or Zipkin's (B3). `is_ours` leaves those
/// that we do not write.
pub fn is_of_traces(name: &str, all: bool) -> bool {
    match name {
        "traceparent" | "b3" => true,
        "tracestate" | "baggage" => all,
        name => name.starts_with("x-b3-"),
    }
}

impl Context {
    /// A new one: one trace in so many is sent whatever comes of it, or none for 0.
    pub fn new(sample: u64) -> Self {
        let (high, low) = (random(), random());
        let mut trace = [0; 16];
        trace[..8].copy_from_slice(&high.to_be_bytes());
        trace[8..].copy_from_slice(&low.to_be_bytes());
        Self { trace, span: [0; 8], parent: None, is_sampled: sample > 0 && low.is_multiple_of(sample) }
    }

    /// The one of a `traceparent`, if it is one: `00-32 digits-16 digits-2 digits`.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all("traceparent").iter();
        let (text, None) = (lines.next()?.as_bytes(), lines.next()) else { return None };
        // A later version may say more behind that.
        let is_right = text.len() == 55 || text.len() > 55 && text[55] == b'-' && !text.starts_with(b"00");
        let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
        if !is_right || !dashes || text.starts_with(b"ff") {
            return None;
        }
        let [_version] = digits(&text[..2])?;
        let (trace, span, [flags]) = (digits(&text[3..35])?, digits(&text[36..52])?, digits(&text[53..55])?);
        let is_nothing = trace == [0; 16] || span == [0; 8];
        (!is_nothing).then_some(Self { trace, span: [0; 8], parent: Some(span), is_sampled: flags & 1 == 1 })
    }

    /// With a span of its own.
    pub(super) fn next(self) -> Self {
        Self { span: random().max(1).to_be_bytes(), ..self }
    }

    /// The trace's id, as it is written.
    pub fn id(&self) -> String {
        hex(&self.trace)
    }

    /// As nodes get it.
    pub fn header(&self) -> [u8; 55] {
        let mut text = *b"00-................................-................-00";
        write(&mut text[3..35], &self.trace);
        write(&mut text[36..52], &self.span);
        text[54] = if self.is_sampled { b'1' } else { b'0' };
        text
    }
}

/// In hexadecimal.
fn write(to: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in to.chunks_exact_mut(2).zip(bytes) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
}

/// Bytes of lower-case digits.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(getrandom::u64().unwrap_or_default());
}

/// The next number of SplitMix64: ids have to differ, and need not be hard to guess.
pub(super) fn random() -> u64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(text: &str) -> Option<Context> {
        Context::of(&HeaderMap::from_iter([("traceparent".parse().unwrap(), text.parse().unwrap())]))
    }

    #[test]
    fn a_context_is_read_as_it_is_written() {
        let context = of(GOOD).unwrap();
        assert_eq!((context.is_sampled, context.parent), (true, Some([0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7])));
        let next = context.next();
        assert_ne!(next.span, [0; 8]);
        let text = String::from_utf8(next.header().to_vec()).unwrap();
        assert!(text.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && text.ends_with("-01"), "{text}");
        assert_eq!(of(&text).map(|read| (read.trace, read.parent)), Some((next.trace, Some(next.span))));
        assert!(!of(&GOOD.replace("-01", "-00")).unwrap().is_sampled);
        assert!(of(&format!("{}-more", GOOD.replace("00-4", "01-4"))).is_some());
    }

    #[test]
    fn what_is_no_context_is_none() {
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}0"),
            &format!("{GOOD}-more"),
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.replace("4bf9", "4BF9"),
            &GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace('-', "_"),
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        let name: hyper::header::HeaderName = "traceparent".parse().unwrap();
        let mut twice = HeaderMap::new();
        twice.append(name.clone(), GOOD.parse().unwrap());
        twice.append(name, GOOD.parse().unwrap());
        assert_eq!(Context::of(&twice), None);
    }

    #[test]
    fn one_in_so_many_is_sampled() {
        let sampled = |sample: u64| (0..10_000).filter(|_| Context::new(sample).is_sampled).count();
        assert_eq!((sampled(0), sampled(1)), (0, 10_000));
        assert!((500..1500).contains(&sampled(10)));
    }
}
