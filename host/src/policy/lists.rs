//! Lists that lie beside a policy as files: what is on them, and whether a value is.
//!
//! A line is a text or a network (`192.0.2.0/24`, `2001:db8::/32`, an address); `#` begins a comment. Invariant: a list is read
//! whole when a generation is built, and looked up in a time that hardly grows with it.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::{Faults, Place};

/// A file may be so large, and have so many lines.
const FILE_SIZE: u64 = 16 << 20;
const LINES: usize = 1_000_000;

/// The lists of a policy, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lists(BTreeMap<String, List>);

#[derive(Debug, Default, PartialEq, Eq)]
struct List {
    /// In lower case.
    texts: HashSet<String>,
    /// First and last address of each network, IPv4 among IPv6, sorted, and none within another.
    networks: Vec<(u128, u128)>,
}

impl Lists {
    /// Reads the files that a policy names.
    ///
    /// # Errors
    /// Each that cannot be read, and each line of them that is nothing.
    pub(super) fn read(files: &[(String, PathBuf)], place: &Place) -> Result<Self, Faults> {
        let (mut lists, mut faults) = (BTreeMap::new(), Vec::new());
        for (name, path) in files {
            match read(path).and_then(|text| List::parse(&text)) {
                Ok(list) => drop(lists.insert(name.clone(), list)),
                Err(found) => faults.push(place.key("lists").key(name).fault(
                    format!("{}: {found}", path.display()),
                    "a file of at most 16 MiB with a text or a network on each line",
                )),
            }
        }
        if faults.is_empty() { Ok(Self(lists)) } else { Err(Faults(faults)) }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a list has a value, of which both are named with a blank between them.
    pub(super) fn contain(&self, both: &str) -> bool {
        let Some((name, value)) = both.split_once(' ') else { return false };
        self.0.get(name).is_some_and(|list| list.has(value))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("no regular file".to_owned());
    }
    if metadata.len() > FILE_SIZE {
        return Err(format!("{} bytes", metadata.len()));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

impl List {
    fn parse(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        for (index, line) in text.lines().enumerate() {
            if index >= LINES {
                return Err(format!("more than {LINES} lines"));
            }
            let line = line.split('#').next().unwrap_or_default().trim();
            match network(line) {
                _ if line.is_empty() => {}
                None => drop(list.texts.insert(line.to_lowercase())),
                Some(Some(network)) => list.networks.push(network),
                Some(None) => return Err(format!("line {}: `{line}` is no network", index + 1)),
            }
        }
        list.networks.sort_unstable();
        let mut apart: Vec<(u128, u128)> = Vec::with_capacity(list.networks.len());
        for (first, last) in list.networks {
            match apart.last_mut() {
                Some((_, before)) if first <= *before => *before = last.max(*before),
                _ => apart.push((first, last)),
            }
        }
        Ok(Self { networks: apart, ..list })
    }

    fn has(&self, value: &str) -> bool {
        let value = value.trim();
        if let Ok(address) = value.parse::<IpAddr>() {
            let address = number(address);
            let at = self.networks.partition_point(|(first, _)| *first <= address);
            return at.checked_sub(1).and_then(|at| self.networks.get(at)).is_some_and(|(_, last)| address <= *last);
        }
        self.texts.contains(&value.to_lowercase())
    }
}

/// A network of a line that begins with an address: its first and last one, or none where it is no network. Of another line
/// nothing.
#[expect(clippy::option_option, reason = "no network at all, or a wrong one")]
fn network(line: &str) -> Option<Option<(u128, u128)>> {
    let (address, length) = line.split_once('/').map_or((line, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.trim().parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(bits), |length| length.trim().parse::<u32>().ok().filter(|length| *length <= bits));
    Some(length.map(|length| {
        let host = bits - length;
        let mask = if host == 128 { u128::MAX } else { (1 << host) - 1 };
        let address = number(address);
        (address & !mask, address | mask)
    }))
}

/// IPv4 addresses have their place among the others (RFC 4291, section 2.5.5.2).
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_lines_and_the_addresses_of_its_networks() {
        let list = List::parse(
            "# bad ones\n203.0.113.0/24 # a net\n203.0.113.7\n2001:db8::/32\n\nAnn@Example.com\n10.0.0.1/8\n::ffff:192.0.2.1\na/b\n",
        );
        let list = list.unwrap();
        for (value, is_there) in [
            ("203.0.113.255", true),
            ("203.0.114.0", false),
            ("203.0.112.255", false),
            ("2001:db8:1::1", true),
            ("2001:db9::", false),
            ("10.255.255.255", true),
            ("192.0.2.1", true),
            ("192.0.2.2", false),
            ("ann@EXAMPLE.com", true),
            ("ann", false),
            ("A/B", true),
            ("", false),
        ] {
            assert_eq!(list.has(value), is_there, "{value}");
        }
        assert_eq!(list.networks.len(), 4, "those within others are gone");
        assert!(List::parse("0.0.0.0/0").unwrap().has("1.2.3.4") && List::parse("::/0").unwrap().has("1.2.3.4"));
        for wrong in ["a\n10.0.0.0/33", "::/129", "10.0.0.0/x", "10.0.0.0/"] {
            assert!(List::parse(wrong).unwrap_err().contains("is no network"), "{wrong}");
        }
    }
}
