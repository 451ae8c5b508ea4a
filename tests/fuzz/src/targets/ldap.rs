//! Messages of an LDAP server, however they are cut.

use doorward_wire::ldap::{Found, element, message};

const MOST: usize = 1000;

/// A message is there when it is whole, and not before; what follows it does not matter.
pub(super) fn ldap(data: &[u8]) {
    let whole = message(data, MOST);
    for end in 0..data.len() {
        let part = message(&data[..end], MOST);
        match whole {
            Found::Message(length) if end >= length => assert_eq!(part, whole, "the first {end} bytes"),
            Found::Message(_) | Found::More => assert_eq!(part, Found::More, "the first {end} bytes, {whole:?}"),
            Found::Nonsense => assert!(!matches!(part, Found::Message(_)), "the first {end} bytes are a message"),
        }
    }
    if let Found::Message(length) = whole {
        assert!(length <= data.len() && length <= MOST);
        let (tag, contents, rest) = element(data).expect("a message is an element");
        assert!(tag == 0x30 && rest.len() == data.len() - length && contents.len() < length);
        check_elements(contents, 0);
    }
}

/// The parser behind calls itself for each element within an element.
fn check_elements(mut bytes: &[u8], depth: usize) {
    assert!(depth < 16, "too deep");
    while let Some((tag, contents, rest)) = element(bytes) {
        assert!(rest.len() + contents.len() < bytes.len());
        if tag & 0x20 != 0 {
            check_elements(contents, depth + 1);
        }
        bytes = rest;
    }
}
