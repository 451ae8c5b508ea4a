//! What registries send: archives of layers, and how they want to be asked.

use doorward_wire::{challenge::Challenge, tar};

/// A file of an archive lies in it, and is found again where more is put behind the archive.
pub(super) fn archives(data: &[u8]) {
    for name in ["plugin.wasm", ""] {
        let Ok(Some(found)) = tar::file(data, name) else { continue };
        assert!(found.len() <= data.len());
        let more = [data, &[0; 1024]].concat();
        assert_eq!(tar::file(&more, name), Ok(Some(found)), "with more behind it");
    }
}

/// A challenge has its parameters once they are written as they were read.
pub(super) fn challenges(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(read) = Challenge::parse(text) else { return };
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
    if let Some(realm) = read.get("realm") {
        let written = format!("{} realm=\"{}\"", read.scheme, quoted(realm));
        let again = Challenge::parse(&written).expect("what was written");
        assert_eq!((&again.scheme, again.get("realm")), (&read.scheme, Some(realm)));
    }
}
