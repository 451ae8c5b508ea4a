//! A directory in a file (LDIF, RFC 2849): the embedded default, and a way to run without servers.

use std::collections::BTreeMap;
use std::path::Path;

use doorward_wire::ldif;

use super::filter::Filter;
use super::{Problem, Stored, User, shrunk};
use crate::config::{Fault, Place};

/// The users of `doorward demo`.
const EMBEDDED: &str = include_str!("../demo/directory.ldif");

/// A file may be so large; larger directories want a server.
const FILE_SIZE: u64 = 64 << 20;

/// Entries by distinguished name.
pub(super) struct Ldif {
    entries: BTreeMap<String, ldif::Entry>,
    /// The name of the last one in the file.
    last: String,
    /// The size of the file.
    size: usize,
}

impl std::fmt::Debug for Ldif {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ldif({} entries)", self.entries.len())
    }
}

impl Ldif {
    /// Reads a file, or the embedded entries. `before` is what was read of it before.
    ///
    /// # Errors
    /// A file that cannot be read, its first line that is no LDIF, or signs that it is cut.
    pub(super) fn load(path: Option<&Path>, place: &Place, before: Option<&Self>) -> Result<Self, Fault> {
        let Some(path) = path else {
            return Self::parse(EMBEDDED).map_err(|error| place.fault(error, "embedded entries that are LDIF"));
        };
        let fault = |found: String| {
            place.key("file").fault(format!("{}: {found}", path.display()), "an LDIF file (RFC 2849) of at most 64 MiB")
        };
        let size = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.len();
        if size > FILE_SIZE {
            return Err(fault(format!("{size} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
        shrunk::check_end(path, &text, before.map(|before| before.size)).map_err(fault)?;
        let all = Self::parse(&text).map_err(fault)?;
        before.map_or(Ok(()), |before| all.check_against(before)).map_err(fault)?;
        Ok(all)
    }

    /// Whether it may be what became of an earlier file.
    fn check_against(&self, before: &Self) -> Result<(), String> {
        shrunk::check(before.entries.len(), self.entries.len())?;
        let names = |of: &Self| of.entries.get(&self.last).map_or(0, BTreeMap::len);
        if self.entries.len() < before.entries.len() && names(self) < names(before) {
            let last = &self.last;
            return Err(format!(
                "there are fewer entries, and the last one ({last}) has fewer attributes, so the file may be cut"
            ));
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (entries, last) = ldif::parse(text)?;
        Ok(Self { entries, last, size: text.len() })
    }

    /// Entries that fit a filled-in filter; no entry fits one that does not parse.
    pub(super) fn search(&self, filter: &str, wanted: &[&str]) -> Vec<User> {
        let Ok(filter) = Filter::parse(filter) else { return Vec::new() };
        let fitting = self.entries.iter().filter(|(_, entry)| filter.fits(entry));
        let picked = |entry: &ldif::Entry| {
            let names = wanted.iter().map(|name| name.to_ascii_lowercase());
            names.filter_map(|name| entry.get(&name).map(|values| (name, values.clone()))).collect()
        };
        fitting.map(|(dn, entry)| User { dn: dn.clone(), attributes: picked(entry), mapped: None }).collect()
    }

    /// The values of an attribute of each entry that has it, by distinguished name.
    pub(super) fn values(&self, attribute: &str) -> impl Iterator<Item = (&str, &[String])> {
        let attribute = attribute.to_ascii_lowercase();
        self.entries.iter().filter_map(move |(dn, entry)| Some((dn.as_str(), entry.get(&attribute)?.as_slice())))
    }

    /// What an entry stores of its password.
    pub(super) fn stored(&self, dn: &str, attribute: &str) -> Stored {
        let Some(entry) = self.entries.get(dn) else { return Stored::default() };
        let user = User { attributes: entry.clone(), ..User::default() };
        let stored = user.stored(attribute);
        // Nothing here ends a lock after a time.
        let locked = entry.contains_key("pwdaccountlockedtime").then_some(Problem::Locked);
        Stored { problem: locked.or(stored.problem), ..stored }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEOPLE: &str = "version: 1\n# a comment\n that goes on\ndn: uid=zo\u{eb},dc=test\nuid:: em/Dqw==\n\
        mail: zoe@exam\n ple.test\nuserPassword: zoe-secret\n\ndn: uid=locked,dc=test\nuid: locked\n\
        userPassword: x\npwdAccountLockedTime: 000001010000Z\n";

    #[test]
    fn entries_are_found_with_what_they_store() {
        let ldif = Ldif::parse(PEOPLE).unwrap();
        let zoe = ldif.search("(uid=ZOË)", &["mail", "uid"]).pop().unwrap();
        assert_eq!(zoe.values("mail"), ["zoe@example.test"]);
        assert!(zoe.values("userPassword").is_empty());
        let check = |dn: &str, value: Option<&str>, problem| {
            let stored = ldif.stored(dn, "userPassword");
            assert_eq!((stored.values.first().map(|value| value.expose()), stored.problem), (value, problem), "{dn}");
        };
        check(&zoe.dn, Some("zoe-secret"), None);
        check("uid=locked,dc=test", Some("x"), Some(Problem::Locked));
        check("uid=nobody,dc=test", None, None);
    }

    #[test]
    fn a_file_that_was_cut_at_the_end_of_a_line_is_known_by_what_it_was() {
        let people = |count: usize| {
            let one = |number| format!("dn: uid=u{number}\nuid: u{number}\nuserPassword: x\n\n");
            Ldif::parse(&(0..count).map(one).collect::<String>()).unwrap()
        };
        let before = people(10);
        let cut = |text: &str| Ldif::parse(text).unwrap().check_against(&before);
        let most = "dn: uid=u0\nuid: u0\n\ndn: uid=u1\nuid: u1\n\ndn: uid=u2\nuid: u2\n\ndn: uid=u3\nuid: u3\n\n\
            dn: uid=u4\nuid: u4\n\n";
        assert!(cut(&format!("{most}dn: uid=u5\nuid: u5\n")).is_err(), "half an entry");
        assert!(cut(&format!("{most}dn: uid=u5\nuid: u5\nuserPassword: y\n")).is_ok());
        assert!(cut(&format!("{most}dn: uid=new\nuid: new\n")).is_ok());
        assert!(people(10).check_against(&before).is_ok() && people(5).check_against(&before).is_ok());
        assert!(people(4).check_against(&before).is_err() && people(0).check_against(&before).is_err());
    }
}
