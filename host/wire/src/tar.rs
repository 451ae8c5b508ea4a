//! Tar archives (POSIX ustar, and what GNU tar writes): one file of them is looked for.

/// The size of a header, and what the bytes of a file are filled up to.
const BLOCK: usize = 512;

/// The bytes of the regular file of this name in an archive; a `./` before a name does not count. None where it has no such
/// file.
///
/// # Errors
/// What is wrong with the archive, in words.
pub fn file<'a>(archive: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, &'static str> {
    let mut rest = archive;
    while let Some((header, after)) = rest.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let size = number(header.get(124..136).unwrap_or_default()).ok_or("a size that is no number")?;
        let bytes = after.get(..size).ok_or("an archive that is cut off")?;
        let kind = header.get(156).copied().unwrap_or_default();
        if matches!(kind, 0 | b'0') && name_of(header).strip_prefix(b"./").unwrap_or(name_of(header)) == name.as_bytes()
        {
            return Ok(Some(bytes));
        }
        let filled = size.checked_next_multiple_of(BLOCK).ok_or("a size that is no number")?;
        rest = after.get(filled..).unwrap_or_default();
    }
    if rest.is_empty() { Ok(None) } else { Err("an archive that is cut off") }
}

fn name_of(header: &[u8]) -> &[u8] {
    let field = header.get(..100).unwrap_or_default();
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// An octal number, between spaces and up to a zero.
fn number(field: &[u8]) -> Option<usize> {
    let text = field.split(|byte| *byte == 0).next()?;
    usize::from_str_radix(std::str::from_utf8(text).ok()?.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
        header[156] = kind;
        let mut filled = bytes.to_vec();
        filled.resize(bytes.len().next_multiple_of(BLOCK), 0);
        [header, filled].concat()
    }

    #[test]
    fn a_file_is_found_by_its_name() {
        let archive = [
            entry("plugin.wasm", b'5', b""),
            entry("other", b'0', &[7; 600]),
            entry("./plugin.wasm", b'0', b"\0asm"),
            vec![0; 2 * BLOCK],
        ]
        .concat();
        assert_eq!(file(&archive, "plugin.wasm"), Ok(Some(&b"\0asm"[..])));
        assert_eq!(file(&archive, "none"), Ok(None));
        assert_eq!(file(b"", "none"), Ok(None));
        for cut in 1..archive.len() - 2 * BLOCK {
            let found = file(&archive[..cut], "plugin.wasm");
            assert!(matches!(found, Err(_) | Ok(None)) || cut >= archive.len() - 3 * BLOCK, "{cut}: {found:?}");
        }
        let mut odd = entry("a", b'0', b"");
        odd[124..136].copy_from_slice(b"-1          ");
        assert_eq!(file(&odd, "a"), Err("a size that is no number"));
    }
}
