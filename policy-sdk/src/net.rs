//! Networks and address ranges, of IPv4 and IPv6, and the quick search for the first of many that holds an address.
//!
//! Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Reads an address. An IPv4 address mapped into IPv6 (`::ffff:192.0.2.7`) becomes the IPv4 address that it is.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// A range of addresses of one family, both ends included; an IPv4 address is in no range of IPv6.
///
/// Written as a network (`10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `2001:db8::/32`), as a range (`10.0.0.1-10.0.0.9`) or as one
/// address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    // Both are canonical and of one family. `IpAddr` orders all of IPv4 before all of IPv6, so comparing is enough.
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    /// Whether the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last).contains(&address.to_canonical())
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Range {
    /// What is wrong, for the operator.
    type Err = String;

    fn from_str(text: &str) -> Result<Range, String> {
        let address = |part: &str| {
            let part = part.trim();
            parse_address(part).ok_or_else(|| format!("`{part}` is not an IP address"))
        };
        if let Some((network, mask)) = text.split_once('/') {
            return parse_network(network.trim(), mask.trim());
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (address(first)?, address(last)?),
            None => (address(text)?, address(text)?),
        };
        if first.is_ipv4() != last.is_ipv4() {
            return Err(format!("`{text}` begins in one address family and ends in the other"));
        }
        if first > last {
            return Err(format!("`{text}` ends before it begins"));
        }
        Ok(Range { first, last })
    }
}

/// Reads `network/mask`, the mask as a number of bits or, for IPv4, as an address.
fn parse_network(network: &str, mask: &str) -> Result<Range, String> {
    let written: IpAddr = network.parse().map_err(|_| format!("`{network}` is not an IP address"))?;
    let width: u32 = if written.is_ipv4() { 32 } else { 128 };
    let bits = match (mask.parse::<u32>(), mask.parse::<Ipv4Addr>()) {
        (Ok(bits), _) if bits <= width => bits,
        (_, Ok(mask)) if written.is_ipv4() && mask.to_bits().leading_ones() == mask.to_bits().count_ones() => {
            mask.to_bits().leading_ones()
        }
        _ => return Err(format!("`/{mask}` is not a mask: allowed is /0 to /{width}")),
    };
    let (first, last) = match written {
        IpAddr::V4(address) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = address.to_bits() & !host;
            (IpAddr::V4(Ipv4Addr::from_bits(first)), IpAddr::V4(Ipv4Addr::from_bits(first | host)))
        }
        IpAddr::V6(address) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = address.to_bits() & !host;
            (IpAddr::V6(Ipv6Addr::from_bits(first)), IpAddr::V6(Ipv6Addr::from_bits(first | host)))
        }
    };
    if first != written {
        return Err(format!("`{network}/{mask}` has bits set beyond its mask: did you mean `{first}/{mask}`?"));
    }
    // A network inside ::ffff:0:0/96 is one of IPv4; a wider one, like ::/0, stays IPv6 and holds no IPv4 address.
    let (canonical_first, canonical_last) = (first.to_canonical(), last.to_canonical());
    if canonical_first.is_ipv4() == canonical_last.is_ipv4() {
        return Ok(Range { first: canonical_first, last: canonical_last });
    }
    Ok(Range { first, last })
}

/// Many ranges in order of preference, prepared so that the first one holding an address is found by binary search.
#[derive(Debug, Clone, Default)]
pub struct FirstMatch {
    /// Where the answer changes: from this address on, until the next entry, this range is the first that matches.
    changes: Vec<(IpAddr, Option<usize>)>,
}

impl FirstMatch {
    /// Prepares the ranges, the most preferred first.
    pub fn new(ranges: impl IntoIterator<Item = Range>) -> FirstMatch {
        let mut ends = Vec::new();
        for (index, range) in ranges.into_iter().enumerate() {
            ends.push((range.first, index, End::Opens));
            if let Some(after) = successor(range.last) {
                ends.push((after, index, End::Closes));
            }
        }
        ends.sort_by_key(|(address, ..)| *address);

        let mut open = BTreeSet::new();
        let mut changes: Vec<(IpAddr, Option<usize>)> = Vec::new();
        for here in ends.chunk_by(|a, b| a.0 == b.0) {
            for (_, index, end) in here {
                match end {
                    End::Opens => open.insert(*index),
                    End::Closes => open.remove(index),
                };
            }
            let answer = open.first().copied();
            if changes.last().map_or(answer.is_some(), |(_, before)| *before != answer) {
                changes.push((here[0].0, answer));
            }
        }
        FirstMatch { changes }
    }

    /// The number, in the order given, of the first range that holds the address.
    pub fn find(&self, address: IpAddr) -> Option<usize> {
        let address = address.to_canonical();
        let after = self.changes.partition_point(|(from, _)| *from <= address);
        self.changes.get(after.checked_sub(1)?)?.1
    }
}

/// What happens to a range at an address.
enum End {
    Opens,
    Closes,
}

/// The next address; after the last of IPv4 comes the first of IPv6, as in the order of `IpAddr`.
fn successor(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => Some(match address.to_bits().checked_add(1) {
            Some(bits) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
            None => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }),
        IpAddr::V6(address) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits().checked_add(1)?))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_the_addresses_from_end_to_end() {
        let check = |range: &str, inside: &[&str], outside: &[&str]| {
            let parsed: Range = range.parse().unwrap_or_else(|error| panic!("{range}: {error}"));
            for address in inside {
                assert!(parsed.contains(address.parse().unwrap()), "{address} is in {range}");
            }
            for address in outside {
                assert!(!parsed.contains(address.parse().unwrap()), "{address} is not in {range}");
            }
        };
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
            &["9.255.255.255", "11.0.0.0", "::a00:1"],
        );
        check("10.0.0.0/255.0.0.0", &["10.9.9.9"], &["11.0.0.0"]);
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]);
        check("::/0", &["::", "2001:db8::1"], &["10.0.0.1", "::ffff:10.0.0.1"]);
        check("::ffff:10.0.0.0/104", &["10.1.2.3"], &["11.0.0.0"]);
        check("2001:db8::/33", &["2001:db8:7fff::"], &["2001:db8:8000::"]);
        check("192.0.2.7", &["192.0.2.7", "::ffff:192.0.2.7"], &["192.0.2.6", "192.0.2.8"]);
        check("192.0.2.7/32", &["192.0.2.7"], &["192.0.2.8"]);
        check("192.0.2.7 - 192.0.2.9", &["192.0.2.7", "192.0.2.9"], &["192.0.2.6", "192.0.2.10"]);
        check("::ffff:192.0.2.7-192.0.2.9", &["192.0.2.8"], &["192.0.2.10"]);
        check("2001:db8::1-2001:db8::ff", &["2001:db8::f0"], &["2001:db8::100"]);
    }

    #[test]
    fn what_is_no_range_says_why() {
        let check = |text: &str, message: &str| match text.parse::<Range>() {
            Ok(range) => panic!("{text} was read as {range}"),
            Err(error) => assert!(error.contains(message), "{text}: {error}"),
        };
        check("", "not an IP address");
        check("example.com", "`example.com` is not an IP address");
        check("10.0.0.0/33", "allowed is /0 to /32");
        check("10.0.0.0/-1", "allowed is /0 to /32");
        check("10.0.0.0/255.0.255.0", "is not a mask");
        check("2001:db8::/129", "allowed is /0 to /128");
        check("10.0.0.1/8", "did you mean `10.0.0.0/8`?");
        check("10.0.0.9-10.0.0.1", "ends before it begins");
        check("10.0.0.1-2001:db8::", "address family");
        check("10.0.0.1-", "is not an IP address");
    }

    #[test]
    fn the_first_match_is_what_a_search_from_the_start_finds() {
        // A small generator with a fixed seed, so that the ranges overlap in many ways and the test is repeatable.
        let mut state = 7_u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let mut ranges: Vec<Range> =
            ["255.255.255.0/24", "::/0", "ffff::/16"].iter().map(|r| r.parse().unwrap()).collect();
        for _ in 0..300 {
            let (first, length) = (random(2000), random(100));
            let address = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
            ranges.insert(0, Range { first: address(first), last: address(first + length) });
        }
        let table = FirstMatch::new(ranges.iter().copied());
        let edges = ["255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "254.0.0.1"];
        let addresses = (0..2200).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
        for address in addresses.chain(edges.iter().map(|edge| edge.parse().unwrap())) {
            let slowly = ranges.iter().position(|range| range.contains(address));
            assert_eq!(table.find(address), slowly, "{address}");
        }
    }

    #[test]
    fn no_ranges_match_nothing() {
        assert_eq!(FirstMatch::new([]).find("10.0.0.1".parse().unwrap()), None);
    }
}
