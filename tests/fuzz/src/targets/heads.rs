//! Heads of requests and chunked bodies, however they are cut.

use doorward_wire::http1::{ChunkRead, Chunks, Head, HeadError, Limits, Reader};

/// Small, so that inputs reach them.
pub(super) const LIMITS: Limits = Limits { uri: 64, headers: 256, count: 8 };

fn at_once(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    Reader::default().read(bytes, &LIMITS)
}

/// A head is what it is, wherever it is cut: before it is whole there is none, and what is refused stays refused.
pub(super) fn heads(data: &[u8]) {
    let whole = at_once(data);
    let known = match &whole {
        Ok(Some(head)) => head.length,
        Ok(None) => data.len() + 1,
        Err(_) => (0..=data.len()).find(|end| at_once(&data[..*end]).is_err()).unwrap_or(data.len()),
    };
    let mut by_byte = Reader::default();
    for end in 0..=data.len() {
        let mut reader = Reader::default();
        let first = reader.read(&data[..end], &LIMITS);
        if end < known {
            assert_eq!(first, Ok(None), "the first {end} bytes say more than that more is needed; {whole:?}");
            assert_eq!(by_byte.read(&data[..end], &LIMITS), Ok(None), "byte by byte, after {end}");
            let second = reader.read(data, &LIMITS);
            assert_eq!(second.is_ok(), whole.is_ok(), "cut at {end}: {second:?}, and at once {whole:?}");
            if whole.is_ok() {
                assert_eq!(second, whole, "cut at {end}");
            }
        } else {
            assert_eq!(first.is_ok(), whole.is_ok(), "the first {end} bytes: {first:?}, and all {whole:?}");
            if whole.is_ok() {
                assert_eq!(first, whole, "the first {end} bytes");
            }
        }
    }
    if let Ok(Some(head)) = whole {
        check_places(&data[..head.length], &head);
    }
}

/// The parts of a head are where it says, in order, and what is between them is framing.
fn check_places(bytes: &[u8], head: &Head) {
    let places = &head.places;
    assert!(places.target.len() <= LIMITS.uri && places.headers.len() <= LIMITS.count);
    assert!(bytes.ends_with(b"\r\n\r\n"));
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    let version = if places.modern { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut written = bytes[..start].to_vec();
    written.extend_from_slice(&[&bytes[places.method.clone()], b" ", &bytes[places.target.clone()], b" "].concat());
    written.extend_from_slice(format!("{version}\r\n").as_bytes());
    for (name, value) in &places.headers {
        assert_eq!(name.start, written.len(), "a header begins where the line before it ends");
        let blanks = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' ' | b'\t'));
        let line = bytes[name.start..].windows(2).position(|two| two == b"\r\n").expect("the end of a line");
        let line = name.start..name.start + line;
        assert_eq!(bytes[name.end], b':');
        assert!(blanks(&bytes[name.end + 1..value.start]) && blanks(&bytes[value.end..line.end]), "{name:?} {value:?}");
        assert_eq!(bytes[value.clone()].trim_ascii(), &bytes[value.clone()]);
        written.extend_from_slice(&bytes[line]);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"\r\n");
    assert_eq!(written, bytes);
}

/// What came of a chunked body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    /// How many bytes it took, if it ended.
    pub(super) ended: Option<usize>,
    /// Where it broke.
    pub(super) broken: Option<usize>,
    pub(super) data: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads a chunked body that comes in parts that end at these places.
pub(super) fn read_chunks(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Body {
    let (mut chunks, mut body, mut at) = (Chunks::default(), Body::default(), 0);
    for end in ends {
        while at < end {
            let part = &bytes[at..end];
            match chunks.read(part) {
                ChunkRead::More => at = end,
                ChunkRead::Data(framing, length) => {
                    assert!(length > 0, "no data is no step forward");
                    body.data.extend_from_slice(&part[framing..framing + length]);
                    at += framing + length;
                }
                ChunkRead::Ended(length) => {
                    let trailers = chunks.trailers().map(|(name, value)| (name.to_vec(), value.to_vec()));
                    return Body { ended: Some(at + length), trailers: trailers.collect(), ..body };
                }
                ChunkRead::Broken(place) => return Body { broken: Some(at + place), ..body },
            }
        }
    }
    body
}

/// A chunked body is what it is, wherever it is cut.
pub(super) fn chunks(data: &[u8]) {
    let whole = read_chunks(data, [data.len()]);
    assert!(whole.data.len() <= data.len());
    assert_eq!(read_chunks(data, 1..=data.len()), whole, "byte by byte");
    for cut in 0..=data.len() {
        assert_eq!(read_chunks(data, [cut, data.len()]), whole, "cut at {cut}");
    }
    if let Some(length) = whole.ended {
        for end in 0..length {
            let part = read_chunks(&data[..end], [end]);
            assert_eq!((part.ended, part.broken), (None, None), "{end} of {length} bytes are a body");
        }
        assert_eq!(read_chunks(&data[..length], [length]), whole, "what follows it");
    }
}

/// What is written in chunks is read as it was, whatever it is, and however it is cut.
pub(super) fn chunks_written(data: &[u8]) {
    let Some((sizes, mut rest)) = data.split_at_checked(data.len().min(8)) else { return };
    let payload = rest;
    let mut written = Vec::new();
    for size in sizes {
        let (part, after) = rest.split_at(rest.len().min(usize::from(*size)));
        if !part.is_empty() {
            written.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            written.extend_from_slice(part);
            written.extend_from_slice(b"\r\n");
        }
        rest = after;
    }
    let payload = &payload[..payload.len() - rest.len()];
    written.extend_from_slice(b"0\r\nx-sum: 1\r\n\r\n");
    for step in [1, 3, 64, written.len()] {
        let ends = (step..written.len()).step_by(step).chain([written.len()]);
        let body = read_chunks(&written, ends);
        assert_eq!((body.ended, body.data.as_slice()), (Some(written.len()), payload), "in parts of {step}");
        assert_eq!(body.trailers, [(b"x-sum".to_vec(), b"1".to_vec())]);
    }
}
