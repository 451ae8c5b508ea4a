//! A small browser: cookies, kept connections, redirects, forms; and bytes for those who need them.

use crate::connection::{Connection, Way, client_tls};
use crate::cookies::Cookies;
use crate::html::{Form, forms};
use crate::message::{Body, Request, Response};
use crate::wire::Headers;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// One client. It connects to one address, whatever host it asks for there.
pub struct Client {
    way: Way,
    host: String,
    headers: Headers,
    follow: bool,
    kept: Option<Connection>,
    opened: usize,
    certificate: Option<Vec<u8>>,
    /// The cookie jar.
    pub cookies: Cookies,
}

impl Client {
    /// A client without cookies, over plain HTTP, that asks for the address itself and follows no redirects.
    pub fn new(to: SocketAddr) -> Self {
        // Long enough for a busy machine, short enough to see a hang as a failure.
        let timeout = Duration::from_secs(30);
        Self {
            way: Way { to, from: None, preamble: Vec::new(), tls: None, timeout },
            host: to.to_string(),
            headers: Headers::default(),
            follow: false,
            kept: None,
            opened: 0,
            certificate: None,
            cookies: Cookies::default(),
        }
    }

    /// Sends exactly this in `Host`; cookies and TLS go by the name in it.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self.kept = None;
        self
    }

    /// Asks for a virtual host at the port it connects to, as a browser does: `name:port`.
    #[must_use]
    pub fn site(self, name: &str) -> Self {
        let host = format!("{name}:{}", self.way.to.port());
        self.host(&host)
    }

    /// Speaks TLS and trusts this CA only (a PEM file).
    #[must_use]
    pub fn tls(mut self, ca: &Path) -> Self {
        self.way.tls = Some(client_tls(ca, None));
        self
    }

    /// Speaks TLS with a certificate of its own.
    #[must_use]
    pub fn tls_as(mut self, ca: &Path, own: &crate::Pair) -> Self {
        self.way.tls = Some(client_tls(ca, Some((&own.chain, &own.key))));
        self
    }

    /// Asks for this protocol in the TLS handshake, for those who speak it themselves: `h2`.
    #[must_use]
    pub fn alpn(mut self, protocol: &str) -> Self {
        let tls = self.way.tls.as_mut().expect("TLS comes first");
        std::sync::Arc::make_mut(tls).alpn_protocols = vec![protocol.as_bytes().to_vec()];
        self
    }

    /// Connects from this address (127.0.0.0/8 is all there on Linux): another peer for limits and rules.
    #[must_use]
    pub fn from(mut self, address: &str) -> Self {
        self.way.from = Some(address.parse::<IpAddr>().unwrap_or_else(|e| panic!("{address}: {e}")));
        self
    }

    /// Sends these bytes first on each connection, before TLS: a PROXY header, say.
    #[must_use]
    pub fn preamble(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.way.preamble);
        self
    }

    /// Follows redirects that stay at the same scheme and `Host`, up to 10.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.follow = true;
        self
    }

    /// Adds a header line to every request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How long one read, write or connect may take (30 s when not set).
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.way.timeout = timeout;
        // A connection that is open has the timeout it was opened with.
        self.kept = None;
        self
    }

    /// Where it connects to.
    pub fn address(&self) -> SocketAddr {
        self.way.to
    }

    /// The host's name without the port: the key of its cookies.
    pub fn host_name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }

    /// The value of a cookie of the present host.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(self.host_name(), name)
    }

    /// How many connections it has opened so far.
    pub fn opened(&self) -> usize {
        self.opened
    }

    /// The certificate (DER) that the server showed last.
    pub fn server_certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// Closes the kept connection, if there is one.
    pub fn close(&mut self) {
        self.kept = None;
    }

    /// GET, following redirects if told to.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.send(Request::new("GET", target))
    }

    /// POST of a form, following redirects if told to.
    #[track_caller]
    pub fn post_form(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        self.send(Request::new("POST", target).form(fields))
    }

    /// Any request; the last response when redirects are followed.
    #[track_caller]
    pub fn send(&mut self, request: Request) -> Response {
        let what = format!("{} {}{}", request.method, self.host, request.target);
        self.try_send(request).unwrap_or_else(|e| panic!("{what}: {e}"))
    }

    /// Any request; fails as the connection fails.
    pub fn try_send(&mut self, request: Request) -> io::Result<Response> {
        let mut chain = self.chain(request, self.follow)?;
        Ok(chain.pop().expect("a chain has a response"))
    }

    /// Loads `/`, fills in the form with the password field and sends it; all responses from there on, redirects
    /// followed.
    #[track_caller]
    pub fn login(&mut self, user: &str, password: &str) -> Vec<Response> {
        self.login_at("/", user, password)
    }

    /// The same with another page.
    #[track_caller]
    pub fn login_at(&mut self, target: &str, user: &str, password: &str) -> Vec<Response> {
        let pages =
            self.chain(Request::new("GET", target), true).unwrap_or_else(|e| panic!("GET {}{target}: {e}", self.host));
        let page = pages.last().expect("a chain has a response");
        let form = login_form(page).unwrap_or_else(|| panic!("no form with a password field in {page:?}"));
        self.submit(page, &form, user, password)
    }

    /// Sends a form of a page that was loaded before.
    #[track_caller]
    pub fn submit(&mut self, page: &Response, form: &Form, user: &str, password: &str) -> Vec<Response> {
        let fields = form.filled(user, password);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let target = self
            .resolve(&page.target, &form.action)
            .unwrap_or_else(|| panic!("the form goes to {}, away from {}", form.action, self.host));
        let request = Request::new(&form.method, &target).form(&fields).header("Origin", &self.origin());
        self.chain(request, true).unwrap_or_else(|e| panic!("{} {}{target}: {e}", form.method, self.host))
    }

    /// Opens a connection of its own.
    #[track_caller]
    pub fn connect(&mut self) -> Connection {
        self.try_connect().unwrap_or_else(|e| panic!("cannot connect to {}: {e}", self.way.to))
    }

    /// Opens a connection of its own, if it can.
    pub fn try_connect(&mut self) -> io::Result<Connection> {
        self.opened += 1;
        let connection = Connection::open(&self.way, self.host_name())?;
        self.certificate.clone_from(&connection.certificate);
        Ok(connection)
    }

    /// Sends these bytes on a connection of their own; all that comes back until the other side closes.
    #[track_caller]
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut connection = self.connect();
        // A peer may refuse the first half of it; its answer is what counts.
        let _ = connection.try_write(bytes.as_ref());
        connection.read_to_end()
    }

    fn origin(&self) -> String {
        format!("{}://{}", if self.way.tls.is_some() { "https" } else { "http" }, self.host)
    }

    fn chain(&mut self, request: Request, follow: bool) -> io::Result<Vec<Response>> {
        let method = request.method.clone();
        let mut chain = vec![self.once(request)?];
        while follow && chain.len() <= 10 {
            let last = chain.last().expect("it has one");
            let keep = matches!(last.status, 307 | 308);
            if !keep && !matches!(last.status, 301..=303) {
                break;
            }
            let Some(target) = last.header("location").and_then(|to| self.resolve(&last.target, to)) else { break };
            if keep && method != "GET" && method != "HEAD" {
                break; // the body is gone
            }
            let next = if method == "HEAD" { "HEAD" } else { "GET" };
            chain.push(self.once(Request::new(next, &target))?);
        }
        Ok(chain)
    }

    /// Path and query of a reference in a page; `None` when it leads to another host or scheme.
    fn resolve(&self, from: &str, reference: &str) -> Option<String> {
        let reference = reference.split('#').next().unwrap_or_default();
        let path = from.split('?').next().unwrap_or("/");
        let scheme = if self.way.tls.is_some() { "https:" } else { "http:" };
        let rest = reference.strip_prefix(scheme).unwrap_or(reference);
        if let Some(rest) = rest.strip_prefix("//") {
            let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let slash = if target.starts_with('/') { "" } else { "/" };
            return host.eq_ignore_ascii_case(&self.host).then(|| format!("{slash}{target}"));
        }
        let colon = rest.find(':').unwrap_or(rest.len());
        match rest.chars().next() {
            None => Some(from.to_owned()),
            Some('/') => Some(rest.to_owned()),
            Some('?') => Some(format!("{path}{rest}")),
            Some(_) if colon < rest.find(['/', '?']).unwrap_or(rest.len()) => None,
            Some(_) => Some(normal(&format!("{}/{rest}", &path[..path.rfind('/').unwrap_or(0)]))),
        }
    }

    /// One request and its response, on the kept connection if there is one.
    fn once(&mut self, request: Request) -> io::Result<Response> {
        let head = self.head(&request);
        let (method, target) = (request.method.clone(), request.target.clone());
        let harmless = matches!(method.as_str(), "GET" | "HEAD") && matches!(request.body, Body::None);
        let again = harmless.then(|| Request::new(&method, &target));
        let mut connection = match self.kept.take() {
            Some(kept) => kept,
            None => self.try_connect()?,
        };
        let reused = connection.used;
        let mut answer = connection.exchange(request, &head);
        if let (true, Err(_), Some(again)) = (reused, &answer, again) {
            // The server may close an idle connection at any time: browsers try again on a new one, once.
            connection = self.try_connect()?;
            answer = connection.exchange(again, &head);
        }
        let mut response = answer?;
        let secure = self.way.tls.is_some();
        let host = self.host_name().to_owned();
        for line in response.headers.all("set-cookie") {
            self.cookies.take(&host, &target, secure, line);
        }
        response.request = format!("{method} {}{target}", self.origin());
        response.target = target;
        if connection.usable {
            self.kept = Some(connection);
        }
        Ok(response)
    }

    fn head(&self, request: &Request) -> Vec<u8> {
        let mut lines = vec![format!("{} {} HTTP/1.1", request.method, request.target)];
        let given = |name: &str| request.headers.get(name).or_else(|| self.headers.get(name)).is_some();
        let mut own = |name: &str, value: String| {
            if !given(name) && !value.is_empty() {
                lines.push(format!("{name}: {value}"));
            }
        };
        own("Host", self.host.clone());
        own("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) doorward-tests".into());
        own("Accept", "*/*".into());
        own("Cookie", self.cookies.header(self.host_name(), &request.target, self.way.tls.is_some()));
        match &request.body {
            Body::None => {}
            Body::Bytes(bytes) => own("Content-Length", bytes.len().to_string()),
            Body::Stream(_, Some(length)) => own("Content-Length", length.to_string()),
            Body::Stream(_, None) => own("Transfer-Encoding", "chunked".into()),
        }
        let replaced = |name: &str| request.headers.get(name).is_some();
        let lasting = self.headers.0.iter().filter(|(name, _)| !replaced(name));
        lines.extend(lasting.chain(&request.headers.0).map(|(name, value)| format!("{name}: {value}")));
        lines.push("\r\n".into());
        lines.join("\r\n").into_bytes()
    }
}

/// The form of a page that asks for a password.
pub(crate) fn login_form(page: &Response) -> Option<Form> {
    forms(&page.text()).into_iter().find(Form::asks_for_password)
}

/// A path without its `.` and `..` parts.
fn normal(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    format!("/{}{query}", parts.join("/"))
}
