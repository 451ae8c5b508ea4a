//! What is left out of lines, since not everybody may read it.
//!
//! Pure.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::entry::Value;
use crate::config::Masking;
use crate::secret::Secret;
use crate::text::hex;

/// The fields of a target that are masked, and the key of hashes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Masks {
    fields: Vec<(String, Masking)>,
    key: Option<Secret>,
}

impl Masks {
    pub(super) fn new(fields: Vec<(String, Masking)>, key: Option<Secret>) -> Self {
        Self { fields, key }
    }

    /// A value as it may be shown; none where it may not.
    pub(super) fn masked<'t>(&self, name: &str, value: &'t Value<'t>) -> Option<Cow<'t, Value<'t>>> {
        let found = self.fields.iter().find(|(masked, _)| masked == name);
        let Some((_, masking)) = found else { return Some(Cow::Borrowed(value)) };
        match masking {
            Masking::Drop => None,
            _ if *value == Value::None => Some(Cow::Borrowed(value)),
            Masking::Network => Some(Cow::Owned(network(value)?)),
            Masking::Hash => Some(Cow::Owned(Value::Owned(self.hash(value)?))),
        }
    }

    fn hash(&self, value: &Value<'_>) -> Option<String> {
        let mut hash = Hmac::<Sha256>::new_from_slice(self.key.as_ref()?.expose().as_bytes()).ok()?;
        match value {
            Value::Text(text) | Value::Word(text) => hash.update(text.as_bytes()),
            Value::Owned(text) | Value::Quoted(text) => hash.update(text.as_bytes()),
            Value::Bytes(bytes) => hash.update(bytes),
            other => hash.update(format!("{other:?}").as_bytes()),
        }
        Some(hex(hash.finalize().into_bytes().get(..8)?))
    }
}

/// The network of an address, as wide as those that one household or office has; of what is none, nothing.
fn network<'t>(value: &Value<'_>) -> Option<Value<'t>> {
    let address = match value {
        Value::Text(text) | Value::Word(text) => text.parse().ok()?,
        Value::Owned(text) | Value::Quoted(text) => text.parse().ok()?,
        _ => return None,
    };
    Some(Value::Owned(match address {
        IpAddr::V4(address) => format!("{}/24", Ipv4Addr::from_bits(address.to_bits() & !0xff)),
        IpAddr::V6(address) => format!("{}/48", Ipv6Addr::from_bits(address.to_bits() >> 80 << 80)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_dropped_shortened_or_hashed() {
        let fields = [("user", Masking::Drop), ("client", Masking::Network), ("account", Masking::Hash)];
        let fields = fields.map(|(name, masking)| (name.to_owned(), masking));
        let masks = Masks::new(fields.into(), Some(Secret::new("key".to_owned())));
        let shown = |name: &str, value: Value<'_>| masks.masked(name, &value).map(|value| format!("{value:?}"));
        assert_eq!(shown("user", Value::Text("alice")), None);
        assert_eq!(shown("node", Value::Text("a")).as_deref(), Some("Text(\"a\")"));
        for (address, network) in [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48")] {
            let told = Some(format!("Owned(\"{network}\")"));
            assert_eq!(shown("client", Value::Text(address)), told);
        }
        assert_eq!(shown("client", Value::Text("alice")), None, "what is no address is not shown");
        let hashes = [shown("account", Value::Text("alice")), shown("account", Value::Owned("alice".to_owned()))];
        assert!(hashes[0] == hashes[1] && hashes[0] != shown("account", Value::Text("bob")), "{hashes:?}");
        assert!(!hashes[0].as_deref().unwrap().contains("alice"));
    }
}
