//! The lock file is written: what each tag pointed to when the operator last said so.

use std::path::Path;

use crate::config::{Locked, read_lock};
use crate::files::keep_and_replace_readable;
use crate::text::quoted;

/// Writes an entry into a lock file, in the place of an earlier one of its reference.
///
/// # Errors
/// The file cannot be read or written.
pub fn lock(file: &Path, entry: &Locked) -> Result<(), String> {
    let mut all = read_lock(file).map_err(|faults| faults.to_string())?;
    all.retain(|locked| locked.reference != entry.reference);
    all.push(entry.clone());
    all.sort_by(|one, other| one.reference.cmp(&other.reference));
    let written = keep_and_replace_readable(file, text_of(&all).as_bytes());
    written.map(drop).map_err(|error| format!("{}: {error}", file.display()))
}

/// A lock file.
fn text_of(all: &[Locked]) -> String {
    let mut text =
        "# Written by `doorward policy pull`: what each tag means here until it is pulled with --update.\n".to_owned();
    for locked in all {
        text.push_str("\n[[artifact]]\n");
        let version = locked.version.clone().map(|version| ("version", version));
        let pairs = [
            ("reference", locked.reference.clone()),
            ("manifest", locked.manifest.to_string()),
            ("component", locked.component.to_string()),
        ];
        for (key, value) in pairs.into_iter().chain(version) {
            text.push_str(&format!("{key} = {}\n", quoted(&value)));
        }
        if locked.may_be_older {
            text.push_str("may-be-older = true\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use doorward_registry::Digest;

    use super::*;

    #[test]
    fn an_entry_takes_the_place_of_the_one_before_it() {
        let folder = std::env::temp_dir().join(format!("doorward-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("doorward.lock");
        let entry = |name: &str, version: &str| Locked {
            reference: format!("r.test/{name}:1"),
            manifest: Digest::of(version.as_bytes()),
            component: Digest::of(b"component"),
            version: Some(version.to_owned()),
            may_be_older: version == "0.9",
        };
        for (name, version) in [("b", "1.0"), ("a", "\"\n"), ("b", "0.9")] {
            lock(&file, &entry(name, version)).unwrap();
        }
        assert_eq!(read_lock(&file).unwrap(), [entry("a", "\"\n"), entry("b", "0.9")]);
        // Root pulls, and the service reads it.
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o644);
        std::fs::write(&file, "[[artifact]]\nreference = \"r.test/a:1\"\nmanifest = \"sha256:1\"\n").unwrap();
        let faults = lock(&file, &entry("a", "1")).unwrap_err();
        assert!(faults.contains("doorward.lock:3") && faults.contains("component"), "{faults}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
