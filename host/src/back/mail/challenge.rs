//! What a server says of a token that it refuses (RFC 7628, section 3.2.2), as clients may hear it: what is of the server and
//! not of the user, and no address (`openid-configuration`), to which a program would go and which whoever holds the server
//! could choose. What is said to somebody whom no server was asked about is the same.
//!
//! Pure.

use doorward_wire::mail::sasl;
use serde_json::{Map, Value};

/// A longer challenge says nothing that a client needs.
const LONGEST: usize = 4 << 10;
/// So is a value of it.
const VALUE: usize = 512;
const FIELDS: [&str; 3] = ["status", "schemes", "scope"];

/// The challenge without all other fields, as JSON; none where it is no challenge of this kind.
pub(super) fn known(challenge: &str) -> Option<String> {
    let bytes = sasl::decode(challenge.as_bytes()).filter(|bytes| bytes.len() <= LONGEST)?;
    let said: Map<String, Value> = serde_json::from_slice(&bytes).ok()?;
    let right = |text: &&str| text.len() <= VALUE && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let mut known = Map::new();
    for field in FIELDS {
        if let Some(text) = said.get(field).and_then(Value::as_str).filter(right) {
            known.insert(field.to_owned(), Value::from(text));
        }
    }
    (!known.is_empty()).then(|| Value::Object(known).to_string())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn only_what_is_of_the_server_is_passed_back() {
        let said = |text: &str| known(&STANDARD.encode(text));
        let dovecot = r#"{"status":"invalid_token","schemes":"bearer","scope":"mail","user":"bob",
            "openid-configuration":"https://elsewhere.test/"}"#;
        assert_eq!(said(dovecot).as_deref(), Some(r#"{"schemes":"bearer","scope":"mail","status":"invalid_token"}"#));
        let long = format!("{{\"status\":\"{}\"}}", "x".repeat(513));
        for wrong in ["{}", "[]", "no", r#"{"status":7}"#, r#"{"user":"bob"}"#, "{\"status\":\"a\\nb\"}", &long] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
        assert_eq!(known("!!"), None);
    }
}
