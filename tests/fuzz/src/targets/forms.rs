//! Forms and percent-encoding, which undo each other.

use doorward_wire::{form, percent};

/// What was read and written again is the same; what was encoded is unreserved, and is decoded again.
pub(super) fn forms(data: &[u8]) {
    let fields = form::read(data);
    let pairs = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // A replacement character takes three bytes where there was one.
    assert!(fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= 3 * data.len());
    let written = form::write(pairs);
    assert_eq!(form::read(written.as_bytes()), fields);
    let decoded = percent::decode(data);
    assert!(decoded.len() <= data.len());
    let text = String::from_utf8_lossy(data);
    let mut encoded = String::new();
    percent::encode(&text, &mut encoded);
    assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{encoded}");
    assert_eq!(percent::decode(encoded.as_bytes()), text.as_bytes());
    let (mut path, mut again) = (String::new(), String::new());
    percent::encode_path(&text, &mut path);
    percent::encode_path(&path, &mut again);
    assert_eq!(path, again, "a path that is encoded stays");
    assert_eq!(percent::decode(path.as_bytes()), percent::decode(text.as_bytes()));
    let ascii = percent::encode_beyond_ascii(data);
    assert!(ascii.is_ascii());
    assert_eq!(percent::decode(ascii.as_bytes()), decoded);
}
