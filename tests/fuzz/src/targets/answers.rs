//! Heads of nodes' answers, however they are cut.

use doorward_wire::http1::{Framing, is_hop_by_hop, read_answer};

/// A head is there when it is whole, and not before; its parts are where it says; what follows it does not matter.
pub(super) fn answers(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let head_only = first % 8 == 7;
    let at_once = |bytes: &[u8]| read_answer(bytes, head_only, |_, _| {});
    let whole = at_once(data);
    for end in 0..data.len() {
        let part = at_once(&data[..end]);
        match &whole {
            Ok(Some(head)) if end >= head.length => assert_eq!(part, whole, "the first {end} bytes"),
            Ok(_) => assert_eq!(part, Ok(None), "the first {end} bytes; {whole:?}"),
            Err(_) => assert!(!matches!(part, Ok(Some(_))), "the first {end} bytes are a head: {part:?}"),
        }
    }
    let Ok(Some(head)) = whole else { return };
    assert!(head.length <= data.len() && (100..=999).contains(&head.status));
    for (name, value) in &head.headers {
        let (name, value) = (&data[name.clone()], &data[value.clone()]);
        assert!(!name.is_empty() && !value.contains(&b'\n'));
        let name = std::str::from_utf8(name).expect("names are ASCII");
        assert!(head.status == 101 || !is_hop_by_hop(name), "{name} is of this connection");
    }
    for option in &head.options {
        assert!(!data[option.clone()].contains(&b','));
    }
    let bodiless = head_only || matches!(head.status, 100..=199 | 204 | 304);
    assert_eq!(bodiless, head.framing == Framing::None, "{head:?}");
    assert!(!(head.keeps && head.framing == Framing::Close), "a body that ends with its connection");
}
