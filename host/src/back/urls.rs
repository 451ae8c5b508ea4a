//! URLs in headers: what leads to a node leads to the public site instead, and the other way round.
//!
//! They are compared as browsers read them (WHATWG URL): whatever case, default port, backslash or tab they are written
//! with. What leads elsewhere stays as it is, byte for byte.
//!
//! Pure.

use std::ops::Range;

use doorward_wire::header_url::{of_links, of_refresh};
use doorward_wire::percent;
use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};
use url::{Host, Position, Url};

/// Where a node is, by each name that it may have for itself.
#[derive(Debug)]
pub(super) struct Own {
    hosts: Vec<String>,
    port: u16,
    /// Path in front of every path, without a final `/`; usually empty.
    pub(super) base_path: String,
}

/// A node, and the site as the browser sees it.
pub struct Fitting<'a> {
    own: &'a Own,
    scheme: &'a str,
    authority: &'a str,
}

/// Headers of answers that have URLs.
const OF_ANSWERS: [HeaderName; 4] = [header::LOCATION, header::CONTENT_LOCATION, header::REFRESH, header::LINK];
const DESTINATION: HeaderName = HeaderName::from_static("destination");

impl Own {
    /// A node at a host and port; `names` are what else it is called, and count where they are host names.
    pub(super) fn new<'a>(host: &'a str, port: u16, names: impl Iterator<Item = &'a str>, path: &str) -> Self {
        let hosts = std::iter::once(host).chain(names).filter_map(|name| Host::parse(name).ok());
        let mut hosts: Vec<String> = hosts.map(|host| without_dot(&host.to_string()).to_owned()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Self { hosts, port, base_path: path.trim_end_matches('/').to_owned() }
    }
}

impl<'a> Fitting<'a> {
    pub(super) fn new(own: &'a Own, scheme: &'a str, authority: &'a str) -> Self {
        Self { own, scheme, authority }
    }

    /// A URL that has a scheme or a host, if it leads to the node or to the public site.
    fn read(&self, text: &str) -> Option<Url> {
        let public = Url::parse(&format!("{}://{}/", self.scheme, self.authority)).ok();
        let url = Url::options().base_url(public.as_ref()).parse(text).ok()?;
        self.is_here(&url, public.as_ref()).then_some(url)
    }

    /// Whether a URL leads to the node or to the public site. A node that was asked for the public host writes that with
    /// whichever scheme and port it believes in: the public ones, or its own.
    fn is_here(&self, url: &Url, public: Option<&Url>) -> bool {
        let (Some(host), Some(port)) = (url.host_str().map(without_dot), url.port_or_known_default()) else {
            return false;
        };
        if !matches!(url.scheme(), "http" | "https") {
            return false;
        }
        let is_standard = |port: u16| port == 80 || port == 443;
        // A node behind TLS of ours may take one for the other.
        let same = |other: u16| port == other || is_standard(port) && is_standard(other);
        let of_node = || self.own.hosts.iter().any(|own| own == host) && same(self.own.port);
        let of_public = |public: &Url| {
            let right_port = || public.port_or_known_default().is_some_and(same) || port == self.own.port;
            public.host_str().map(without_dot) == Some(host) && right_port()
        };
        public.is_some_and(of_public) || of_node()
    }

    /// A URL of an answer as the browser should have it: a path of the public site where it leads to the node. None where it
    /// stays as it is.
    pub fn to_public(&self, written: &[u8]) -> Option<String> {
        let text = ascii(written);
        let base_path = self.own.base_path.as_str();
        if !is_absolute(&text) {
            let path = text.starts_with('/').then(|| below(&text, base_path)).flatten()?;
            return (!base_path.is_empty()).then(|| safe(path));
        }
        let url = self.read(&text)?;
        let path = &url[Position::BeforePath..];
        Some(below(path, base_path).map_or_else(|| safe(path.to_owned()), safe))
    }

    /// A URL of a request as the node should have it: below the node's path where it leads to the public site. None where it
    /// stays as it is. Scheme and host stay: the node is told both, and compares them.
    fn to_node(&self, written: &[u8]) -> Option<String> {
        let base_path = self.own.base_path.as_str();
        if base_path.is_empty() {
            return None;
        }
        let text = ascii(written);
        if !is_absolute(&text) {
            return text.starts_with('/').then(|| format!("{base_path}{text}"));
        }
        let url = self.read(&text)?;
        Some(format!("{}{base_path}{}", &url[..Position::BeforePath], &url[Position::BeforePath..]))
    }

    /// Makes the URLs in the headers of an answer fit the browser.
    pub fn fit_answer(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut().filter(|(name, _)| OF_ANSWERS.contains(name)) {
            let places = match *name {
                header::REFRESH => of_refresh(value.as_bytes()).into_iter().collect(),
                header::LINK => of_links(value.as_bytes()),
                _ => std::iter::once(0..value.len()).collect(),
            };
            if let Some(fitted) = replaced(value.as_bytes(), &places, |url| self.to_public(url)) {
                *value = fitted;
            }
        }
    }

    /// Makes the URLs in the headers of a request fit the node: where DAV copies or moves something to (RFC 4918,
    /// section 10.3).
    pub fn fit_request(&self, headers: &mut HeaderMap) {
        let Some(value) = headers.get_mut(DESTINATION) else { return };
        let whole = 0..value.len();
        if let Some(fitted) = replaced(value.as_bytes(), &[whole], |url| self.to_node(url)) {
            *value = fitted;
        }
    }
}

/// A header's value with some of its places written anew; none where all of them stay.
fn replaced(value: &[u8], places: &[Range<usize>], fit: impl Fn(&[u8]) -> Option<String>) -> Option<HeaderValue> {
    let (mut fitted, mut copied) = (Vec::new(), 0);
    for place in places {
        if let Some(url) = value.get(place.clone()).and_then(&fit) {
            fitted.extend_from_slice(value.get(copied..place.start)?);
            fitted.extend_from_slice(url.as_bytes());
            copied = place.end;
        }
    }
    fitted.extend_from_slice(value.get(copied..)?);
    (copied > 0).then(|| HeaderValue::from_bytes(&fitted).ok()).flatten()
}

/// The text of a URL as browsers send it: what is not ASCII as `%XX`, and without tabs and line ends, which they drop.
fn ascii(written: &[u8]) -> String {
    let mut text = percent::encode_beyond_ascii(written);
    text.retain(|c| !matches!(c, '\t' | '\r' | '\n'));
    text
}

/// Whether a URL has a scheme or a host of its own. `\` counts for `/`.
fn is_absolute(text: &str) -> bool {
    let mut letters = text.bytes().skip_while(|byte| *byte <= b' ').peekable();
    let is_slash = |byte: u8| byte == b'/' || byte == b'\\';
    if letters.next_if(|byte| is_slash(*byte)).is_some() {
        return letters.next().is_some_and(is_slash);
    }
    letters.next_if(u8::is_ascii_alphabetic).is_some()
        && letters.find(|byte| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte))) == Some(b':')
}

/// What of a path, with what follows it, is below the node's own path.
fn below(path: &str, base_path: &str) -> Option<String> {
    match path.strip_prefix(base_path)? {
        "" => Some("/".to_owned()),
        rest if rest.starts_with('/') => Some(rest.to_owned()),
        rest if rest.starts_with(['?', '#']) => Some(format!("/{rest}")),
        _ => None,
    }
}

/// A path that begins with two slashes would be read as a host.
fn safe(path: String) -> String {
    if path.starts_with("//") || path.starts_with("/\\") { format!("/.{path}") } else { path }
}

fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(path: &str) -> Own {
        Own::new("10.0.0.1", 8080, ["node-a", "Alias.Test", "no host"].into_iter(), path)
    }

    fn check(path: &str, authority: &str, cases: &[(&str, Option<&str>)]) {
        let own = own(path);
        let fitting = Fitting::new(&own, "https", authority);
        for (written, fitted) in cases {
            assert_eq!(fitting.to_public(written.as_bytes()).as_deref(), *fitted, "{written:?} at {authority}");
        }
    }

    #[test]
    fn what_leads_to_the_node_leads_to_the_public_site() {
        check(
            "/app",
            "mail.test",
            &[
                ("/app/?_task=mail", Some("/?_task=mail")),
                ("/app?x=1", Some("/?x=1")),
                ("/app", Some("/")),
                ("http://10.0.0.1:8080/app/x#f", Some("/x#f")),
                ("HTTP://10.0.0.1:8080/app/x", Some("/x")),
                ("http://10.0.0.1:8080/app?a=1", Some("/?a=1")),
                ("http://10.0.0.1:8080", Some("/")),
                ("//10.0.0.1:8080/app/x", Some("/x")),
                ("\\\\10.0.0.1:8080\\app\\x", Some("/x")),
                ("/\t/10.0.0.1:8080/app/x", Some("/x")),
                ("http://node-a:8080/app/x", Some("/x")),
                ("https://ALIAS.test.:8080/app/x", Some("/x")),
                ("http://mail.test:8080/app/dir/", Some("/dir/")),
                ("http://MAIL.test/app/x", Some("/x")),
                ("https://mail.test:443/app/x", Some("/x")),
                ("http://mail.test/y", Some("/y")),
                ("http://10.0.0.1:8080/app/é?ü=ä", Some("/%C3%A9?%C3%BC=%C3%A4")),
                ("/app/é", Some("/%C3%A9")),
                ("http://10.0.0.1:8080/app//evil.test/", Some("/.//evil.test/")),
                ("/app//evil.test/", Some("/.//evil.test/")),
                ("/app/\t/evil.test/", Some("/.//evil.test/")),
                ("/app/\t\\evil.test/", Some("/./\\evil.test/")),
                ("/\r\napp/x", Some("/x")),
                ("http://user@10.0.0.1:8080/app/x", Some("/x")),
            ],
        );
        check(
            "",
            "[::1]:8443",
            &[
                ("https://[0:0:0:0:0:0:0:1]:8443/x", Some("/x")),
                ("http://[::1]:8080/x", Some("/x")),
                ("http://[::1]/x", None),
            ],
        );
    }

    #[test]
    fn what_leads_elsewhere_stays() {
        check(
            "/app",
            "mail.test",
            &[
                ("/other", None),
                ("/apple", None),
                ("./?x", None),
                ("?x", None),
                ("", None),
                ("dir/a:b", None),
                ("https://elsewhere.test/app/x", None),
                ("http://10.0.0.1/app/x", None),
                ("http://10.0.0.1:8081/app/x", None),
                ("https://mail.test:8443/app/x", None),
                ("https://mail.test.evil.test/app/x", None),
                ("https://mail.test@evil.test/app/x", None),
                ("//elsewhere.test/app/x", None),
                ("mailto:a@mail.test", None),
                ("ftp://10.0.0.1:8080/x", None),
                ("http://", None),
            ],
        );
        check("", "mail.test", &[("/x", None), ("/é", None), ("//x.test/é", None)]);
    }

    #[test]
    fn each_header_has_its_own_places() {
        let own = own("/app");
        let fitting = Fitting::new(&own, "http", "mail.test");
        let check = |name: HeaderName, written: &str, fitted: &str| {
            let mut headers = HeaderMap::new();
            headers.append(name.clone(), HeaderValue::from_bytes(written.as_bytes()).unwrap());
            fitting.fit_answer(&mut headers);
            assert_eq!(headers[&name].as_bytes(), fitted.as_bytes(), "{name}");
        };
        check(header::CONTENT_LOCATION, "http://10.0.0.1:8080/app/x", "/x");
        for (written, fitted) in [
            ("5; url=http://10.0.0.1:8080/app/x", "5; url=/x"),
            ("0;URL = '/app/x?a' rest", "0;URL = '/x?a' rest"),
            ("1.5, \"//10.0.0.1:8080/app/x\"", "1.5, \"/x\""),
            ("5", "5"),
            ("5; url=", "5; url="),
            ("5; url=https://elsewhere.test/ü", "5; url=https://elsewhere.test/ü"),
            ("", ""),
        ] {
            check(header::REFRESH, written, fitted);
        }
        check(
            header::LINK,
            "<http://10.0.0.1:8080/app/a>; rel=\"<http://10.0.0.1:8080/app/q>\", </app/b>;x, <https://e.test/>, <",
            "</a>; rel=\"<http://10.0.0.1:8080/app/q>\", </b>;x, <https://e.test/>, <",
        );
    }

    #[test]
    fn where_dav_moves_something_to_is_below_the_nodes_path() {
        let check = |path: &str, written: &str, fitted: &str| {
            let own = own(path);
            let mut headers = HeaderMap::new();
            headers.insert(DESTINATION, HeaderValue::from_bytes(written.as_bytes()).unwrap());
            Fitting::new(&own, "https", "mail.test").fit_request(&mut headers);
            assert_eq!(headers[DESTINATION].as_bytes(), fitted.as_bytes());
        };
        check("/app", "https://mail.test/dav/b", "https://mail.test/app/dav/b");
        check("/app", "HTTPS://Mail.Test:443/dav/é", "https://mail.test/app/dav/%C3%A9");
        check("/app", "/dav/b", "/app/dav/b");
        check("/app", "https://elsewhere.test/dav/b", "https://elsewhere.test/dav/b");
        check("", "https://mail.test/dav/é", "https://mail.test/dav/é");
    }
}
