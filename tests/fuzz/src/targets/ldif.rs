//! Directories in files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_wire::ldif::parse;

/// Entries take no more room than their file, and are read again as they were when they are written.
pub(super) fn ldif(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok((entries, last)) = parse(&text) else { return };
    assert!(entries.is_empty() || entries.contains_key(&last));
    let mut written = String::new();
    let mut size = 0;
    for (name, entry) in &entries {
        size += name.len();
        written.push_str(&format!("dn:: {}\n", STANDARD.encode(name)));
        for (attribute, values) in entry {
            for value in values {
                size += value.len();
                written.push_str(&format!("{attribute}:: {}\n", STANDARD.encode(value)));
            }
        }
        written.push('\n');
    }
    assert!(size <= text.len(), "{size} bytes of {}", text.len());
    match parse(&written) {
        Ok((again, _)) => assert_eq!(again, entries),
        Err(error) => panic!("{error}: {written:?}"),
    }
}
