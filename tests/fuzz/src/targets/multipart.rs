//! Bodies of forms with files, however they are cut, and as browsers write them.

use doorward_wire::multipart::{Error, Event, Parser, boundary};

/// Parts (field, file, content), whether the end came, and what went wrong.
type Found = (Vec<(String, String, Vec<u8>)>, bool, Option<Error>);

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Found {
    let mut parser = Parser::new("B");
    let mut parts: Vec<(String, String, Vec<u8>)> = Vec::new();
    for piece in pieces {
        let pushed = parser.push(piece, &mut |event| match event {
            Event::Part { field, file } => parts.push((field, file, Vec::new())),
            Event::Data(bytes) => parts.last_mut().expect("a part has begun").2.extend_from_slice(bytes),
        });
        if let Err(error) = pushed {
            return (parts, parser.is_done(), Some(error));
        }
    }
    (parts, parser.is_done(), None)
}

/// A body has the same parts wherever it is cut. What is held back at its end differs by less than a delimiter.
pub(super) fn multipart(data: &[u8]) {
    let whole = read([data]);
    let size: usize = whole.0.iter().map(|(_, _, content)| content.len()).sum();
    assert!(size <= data.len() && whole.0.len() <= 64);
    for (_, file, _) in &whole.0 {
        assert!(!file.contains(['/', '\\']) && !file.chars().any(char::is_control) && file.chars().count() <= 255);
    }
    assert_eq!(read(data.chunks(1)), whole, "byte by byte");
    for cut in 0..=data.len() {
        assert_eq!(read([&data[..cut], &data[cut..]]), whole, "cut at {cut}");
    }
    if let Some(found) = std::str::from_utf8(data).ok().and_then(boundary) {
        assert!((1..=70).contains(&found.len()) && data.len() > found.len());
    }
}

/// A form is read as it was written.
pub(super) fn multipart_written(data: &[u8]) {
    let mut written = Vec::new();
    let mut expected = Vec::new();
    for (index, content) in data.split(|byte| *byte == 0).take(20).enumerate() {
        if content.windows(4).any(|four| four == b"\r\n--") || content.starts_with(b"--") {
            continue;
        }
        let name = format!("n{index}");
        written.extend_from_slice(b"--B\r\nContent-Type: text/plain\r\n");
        written.extend_from_slice(
            format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n").as_bytes(),
        );
        written.extend_from_slice(content);
        written.extend_from_slice(b"\r\n");
        expected.push((name, "f".to_owned(), content.to_vec()));
    }
    written.extend_from_slice(b"--B--\r\n");
    for size in [1, 7, written.len()] {
        assert_eq!(read(written.chunks(size)), (expected.clone(), true, None), "in pieces of {size}");
    }
}
