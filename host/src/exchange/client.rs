//! Who a request is from: what trusted proxies in front say of it, and how nodes are told.
//!
//! Pure.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

use crate::back::headers::Fields;
use crate::config::{Forwarding, Style};
use crate::peer::Peer;

/// What a proxy says of one step of a request's way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hop {
    client: Option<IpAddr>,
    https: Option<bool>,
}

/// The peer as it is for this request: when its connection is from a trusted proxy, the client that this one names.
///
/// Names are read from the right, for each proxy adds its own peer there: the first that is no trusted proxy is the
/// client, and what stands left of it anybody may have written. A name that is no address ends the reading.
pub(super) fn of(peer: Arc<Peer>, forwarding: &Forwarding, headers: &HeaderMap) -> Arc<Peer> {
    if !forwarding.trusted.contain(peer.address) {
        return peer;
    }
    let hops = match forwarding.reads {
        Style::XForwarded => x_forwarded(headers),
        Style::Forwarded => forwarded(headers),
    };
    let mut found = (*peer).clone();
    for hop in hops.iter().rev() {
        found.https = hop.https.or(found.https);
        let Some(client) = hop.client else { break };
        found.is_for(client);
        if !forwarding.trusted.contain(client) {
            break;
        }
    }
    Arc::new(found)
}

/// `X-Forwarded-For: client, proxy, …`, on one line or on several. `X-Forwarded-Proto` has one value for all of them:
/// the last one, which the proxy wrote that is connected here.
fn x_forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let https = items(headers, "x-forwarded-proto").last().and_then(is_https);
    let mut hops = vec![Hop { client: None, https }];
    hops.extend(items(headers, "x-forwarded-for").map(|name| Hop { client: address(name), https }));
    hops
}

fn items<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter();
    // A line that is no text is a name that is no address.
    lines.flat_map(|line| line.to_str().unwrap_or("?").split(',')).map(str::trim)
}

/// `Forwarded: for=client;proto=https, for="[2001:db8::1]:4711"` (RFC 7239, section 4).
fn forwarded(headers: &HeaderMap) -> Vec<Hop> {
    let lines = headers.get_all("forwarded").into_iter();
    lines.flat_map(|line| split(line.to_str().unwrap_or("?"), ',')).map(|element| hop(&element)).collect()
}

fn hop(element: &str) -> Hop {
    let mut hop = Hop::default();
    for pair in split(element, ';') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = unquoted(value.trim());
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => hop.client = address(&value),
            "proto" => hop.https = is_https(&value),
            _ => {}
        }
    }
    hop
}

/// The parts between separators that stand in no quoted string.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in text.chars() {
        if c == separator && !quoted {
            parts.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

fn unquoted(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace('\\', ""))
}

/// An address with or without a port, an IPv6 one with or without brackets. `unknown` and made-up names are none.
fn address(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let with_port = || name.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

fn is_https(scheme: &str) -> Option<bool> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if is("https") { Some(true) } else { is("http").then_some(false) }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_DOORWARD_CLIENT_SUBJECT: HeaderName = HeaderName::from_static("x-doorward-client-subject");

/// Tells a node who the client is, and what it asked for.
pub(super) fn tell(fields: &mut impl Fields, peer: &Peer, authority: &HeaderValue, forwarding: &Forwarding) {
    if forwarding.tells_x_forwarded {
        fields.put(&X_FORWARDED_FOR, peer.told());
        fields.put(&X_REAL_IP, peer.told());
        fields.put_text(&X_FORWARDED_PROTO, peer.scheme().as_str());
        fields.put(&X_FORWARDED_HOST, authority);
    }
    if let Some(subject) = peer.tls.as_ref().and_then(|tls| tls.client_subject.as_deref()) {
        fields.put_text(&X_DOORWARD_CLIENT_SUBJECT, subject);
    }
    if forwarding.tells_forwarded {
        let (client, host) = (peer.address, authority.to_str().unwrap_or_default());
        let client = if client.is_ipv6() { format!("\"[{client}]\"") } else { client.to_string() };
        // A host that was let in has no quotes and no backslashes.
        fields.put_text(&header::FORWARDED, &format!("for={client};host=\"{host}\";proto={}", peer.scheme()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Network, Networks};

    fn peer(address: &str) -> Arc<Peer> {
        let address: IpAddr = address.parse().unwrap();
        Arc::new(Peer::new("public".to_owned(), (address, 5000).into(), ([10, 0, 0, 1], 443).into()))
    }

    fn trusting(reads: Style) -> Forwarding {
        let networks = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| Network::parse(network).unwrap());
        Forwarding { trusted: Networks(networks.into()), reads, ..Forwarding::default() }
    }

    fn found(from: &str, reads: Style, lines: &[(&'static str, &str)]) -> (String, &'static str) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer = of(peer(from), &trusting(reads), &headers);
        (peer.address.to_string(), peer.scheme().as_str())
    }

    #[test]
    fn x_forwarded_for_is_read_from_the_right_and_from_trusted_proxies_only() {
        let check = |from: &str, line: &str, client: &str| {
            assert_eq!(found(from, Style::XForwarded, &[("x-forwarded-for", line)]).0, client, "{from} {line:?}");
        };
        check("192.0.2.1", "198.51.100.7", "192.0.2.1");
        check("10.0.0.2", "198.51.100.7", "198.51.100.7");
        check("10.0.0.2", "6.6.6.6, 198.51.100.7", "198.51.100.7");
        check("10.0.0.2", "6.6.6.6, 198.51.100.7, 10.0.0.3", "198.51.100.7");
        check("10.0.0.2", "10.0.0.4, 10.0.0.3", "10.0.0.4");
        check("10.0.0.2", "198.51.100.7:4711", "198.51.100.7");
        check("10.0.0.2", "2001:db8::7", "2001:db8::7");
        check("10.0.0.2", "[2001:db8::7]:80, 2001:db8:1::1", "2001:db8::7");
        check("10.0.0.2", "::ffff:198.51.100.7", "198.51.100.7");
        for nothing in ["", "unknown", "6.6.6.6, unknown", "6.6.6.6,", "6.6.6.6 7.7.7.7", "caf\u{e9}"] {
            check("10.0.0.2", nothing, "10.0.0.2");
        }
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(found("10.0.0.2", Style::XForwarded, &lines).0, "198.51.100.7");
        assert_eq!(found("10.0.0.2", Style::XForwarded, &[("forwarded", "for=6.6.6.6")]).0, "10.0.0.2");
    }

    #[test]
    fn the_scheme_is_what_the_nearest_proxy_says() {
        let check = |proto: &str, scheme: &str| {
            let lines = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", proto)];
            assert_eq!(found("10.0.0.2", Style::XForwarded, &lines).1, scheme, "{proto:?}");
            assert_eq!(found("192.0.2.1", Style::XForwarded, &lines).1, "http", "{proto:?}");
        };
        check("https", "https");
        check("HTTPS", "https");
        check("http, https", "https");
        check("https, http", "http");
        check("gopher", "http");
        assert_eq!(found("10.0.0.2", Style::XForwarded, &[("x-forwarded-proto", "https")]).1, "https");
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        let check = |line: &str, client: &str, scheme: &str| {
            let lines = [("forwarded", line)];
            assert_eq!(found("10.0.0.2", Style::Forwarded, &lines), (client.to_owned(), scheme), "{line:?}");
        };
        check("for=198.51.100.7;proto=https", "198.51.100.7", "https");
        check("For=\"[2001:db8::7]:4711\"; Proto=https;by=10.0.0.1", "2001:db8::7", "https");
        check("for=6.6.6.6, for=198.51.100.7;proto=http, for=10.0.0.9;proto=https", "198.51.100.7", "http");
        check("for=\"6.6.6.6, for=7.7.7.7\"", "10.0.0.2", "http");
        check("for=\"a\\\", for=7.7.7.7\", for=198.51.100.7", "198.51.100.7", "http");
        for nothing in ["", "for=unknown", "for=_hidden", "for", "proto=https", "=;=,\"", "for=6.6.6.6, host=x"] {
            assert_eq!(found("10.0.0.2", Style::Forwarded, &[("forwarded", nothing)]).0, "10.0.0.2", "{nothing:?}");
        }
    }

    #[test]
    fn a_node_is_told_in_both_styles() {
        let mut headers = HeaderMap::new();
        let both = Forwarding { tells_forwarded: true, ..Forwarding::default() };
        tell(&mut headers, &peer("2001:db8::7"), &HeaderValue::from_static("a.test:8080"), &both);
        assert_eq!(headers["forwarded"], "for=\"[2001:db8::7]\";host=\"a.test:8080\";proto=http");
        assert_eq!(headers["x-forwarded-for"], "2001:db8::7");
        assert_eq!(headers["x-real-ip"], "2001:db8::7");
        assert_eq!(headers["x-forwarded-host"], "a.test:8080");
        headers.clear();
        tell(&mut headers, &peer("192.0.2.1"), &HeaderValue::from_static("a.test"), &both);
        assert_eq!(headers["forwarded"], "for=192.0.2.1;host=\"a.test\";proto=http");
    }
}
