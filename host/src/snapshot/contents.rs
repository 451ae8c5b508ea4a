//! What a generation was built from, part by part, so that two of them can be compared: digests only, since some of it is
//! secret.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::fingerprint::{add, contents};
use crate::config::Config;
use crate::files;
use crate::text::hex;

/// So many changes are told one by one.
const TOLD: usize = 20;

/// A digest of each part of a configuration, with what its files say.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contents(BTreeMap<String, [u8; 32]>);

impl Contents {
    /// Those of a configuration, as its files are now.
    pub fn of(config: &Config) -> Self {
        let digest = |part: &crate::config::Part| {
            let mut hash = Sha256::new();
            part.written.iter().for_each(|value| add(&mut hash, value.to_string().as_bytes()));
            for path in part.files.iter().flat_map(|file| files::below(file)) {
                add(&mut hash, &contents(&path));
            }
            hash.finalize().into()
        };
        Self(config.parts().iter().map(|(name, part)| (name.clone(), digest(part))).collect())
    }

    /// Each part with the beginning of its digest: enough to tell whether two front doors have the same.
    pub fn short(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(name, digest)| (name.as_str(), hex(&digest[..4])))
    }

    /// What is different now from an earlier generation: `backend node-a`, `new site b.test`, `gone policy filter`.
    pub fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let changed = self.0.iter().filter(|(name, digest)| earlier.0.get(*name) != Some(*digest));
        let changed = changed.map(|(name, _)| match earlier.0.contains_key(name) {
            true => name.clone(),
            false => format!("new {name}"),
        });
        let gone = earlier.0.keys().filter(|name| !self.0.contains_key(*name)).map(|name| format!("gone {name}"));
        let mut all: Vec<String> = changed.chain(gone).collect();
        if all.len() > TOLD {
            let more = all.split_off(TOLD).len();
            all.push(format!("{more} more"));
        }
        all
    }
}

impl fmt::Debug for Contents {
    /// The names of its parts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(&str, u8)]) -> Contents {
        Contents(parts.iter().map(|(name, digest)| ((*name).to_owned(), [*digest; 32])).collect())
    }

    #[test]
    fn what_changed_came_or_went_is_told_by_its_name() {
        let (before, after) = (of(&[("a", 1), ("b", 1), ("d", 1)]), of(&[("a", 1), ("b", 2), ("c", 1)]));
        assert_eq!(after.changes_since(&before), ["b", "new c", "gone d"]);
        assert_eq!(after.changes_since(&after), [""; 0]);
        let names: Vec<String> = (10..40).map(|number| number.to_string()).collect();
        let many = of(&names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
        let told = many.changes_since(&of(&[]));
        assert_eq!((told.len(), told.last().map(String::as_str)), (21, Some("10 more")));
        assert_eq!(format!("{after:?}"), "{\"a\", \"b\", \"c\"}");
    }
}
