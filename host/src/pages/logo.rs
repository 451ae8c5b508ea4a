//! The picture that takes the place of a look's own.

use std::path::Path;

use doorward_wire::svg;

use super::asset::Asset;
use crate::files;

/// It is loaded with each login page.
const SIZE: usize = 256 << 10;

/// Reads a picture, whole and of a kind that browsers know by its bytes, whatever its name is.
///
/// # Errors
/// The file cannot be read, or is no such picture.
pub(super) fn read(path: &Path) -> Result<Asset, String> {
    let bytes = files::read(path).map_err(|error| error.to_string())?.ok_or("no such file")?;
    if bytes.len() > SIZE {
        return Err(format!("{} KiB", bytes.len() >> 10));
    }
    let media_type = media_type(&bytes)?;
    Ok(Asset::new(media_type, bytes))
}

fn media_type(bytes: &[u8]) -> Result<&'static str, String> {
    let whole =
        |is_whole: bool, kind| if is_whole { Ok(kind) } else { Err("a picture whose end is missing".to_owned()) };
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return whole(bytes.ends_with(b"IEND\xaeB`\x82"), "image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return whole(bytes.ends_with(b"\xff\xd9"), "image/jpeg");
    }
    if let (Some(b"RIFF"), Some(length), Some(b"WEBP")) = (bytes.get(..4), bytes.get(4..8), bytes.get(8..12)) {
        let length = length.iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
        return whole(bytes.len() >= length + 8, "image/webp");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "no picture of these kinds".to_owned())?;
    svg::check(text.trim_start_matches('\u{feff}')).map(|()| "image/svg+xml; charset=utf-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_bytes() {
        let check = |bytes: &[u8], kind: Option<&str>| assert_eq!(media_type(bytes).ok(), kind, "{bytes:?}");
        check(b"\x89PNG\r\n\x1a\n....\0\0\0\0IEND\xaeB`\x82", Some("image/png"));
        check(b"\x89PNG\r\n\x1a\n....", None);
        check(b"\xff\xd8\xff\xe0..\xff\xd9", Some("image/jpeg"));
        check(b"\xff\xd8\xff\xe0..", None);
        check(b"RIFF\x06\0\0\0WEBP..", Some("image/webp"));
        check(b"RIFF\x07\0\0\0WEBP..", None);
        check(b"<svg xmlns='http://www.w3.org/2000/svg'/>", Some("image/svg+xml; charset=utf-8"));
        check(b"\xef\xbb\xbf<svg xmlns='http://www.w3.org/2000/svg'></svg>", Some("image/svg+xml; charset=utf-8"));
        check(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", None);
        // UTF-16 may hide a script from whoever reads it as anything else.
        check(b"\xff\xfe<\0s\0v\0g\0", None);
        check(b"<html>", None);
        check(b"", None);
    }
}
