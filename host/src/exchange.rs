//! The life of a request, from top to bottom. All branching is here; the stations answer a question and return.
//!
//! Invariants: every request ends in exactly one response and one access line, whatever happens to its client.

mod finish;
mod login;
mod moved;
mod own;

use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Uri, Version};

use crate::back::{self, Hop, Limited, Node, NodeBody, Outgoing, headers};
use crate::config::Http;
use crate::peer::Peer;
use crate::policy::{Action, Answer as Said, Facts, Filtered, Form, RequestFacts};
use crate::reply::Refusal;
use crate::session::{self, Session};
use crate::snapshot::{Site, Snapshot};
use crate::text;
use crate::worker::Worker;

pub use finish::Body;
use finish::Finish;

/// An answer to a browser.
pub type Answer = Response<Body>;

/// One request on its way, with all that was found out about it.
struct Exchange {
    worker: Rc<Worker>,
    snapshot: Arc<Snapshot>,
    peer: Arc<Peer>,
    finish: Finish,
}

/// What the first stations found: where the request is for, and how its pages look.
struct Visit {
    head: Arc<Parts>,
    /// Host and port as the browser wrote them.
    authority: String,
    /// The virtual host: lower case, without port.
    host: Arc<str>,
    site: Arc<Site>,
    form: Form,
    look: String,
    facts: Facts,
    /// Headers for the node that a filter set.
    set: Vec<(HeaderName, HeaderValue)>,
}

/// Answers a request.
pub async fn run(worker: Rc<Worker>, peer: Arc<Peer>, request: Request<Incoming>) -> Answer {
    let snapshot = worker.snapshot();
    let finish = Finish::begin(&worker.shared.log, &peer, &request, snapshot.generation);
    let mut exchange = Exchange { worker, snapshot, peer, finish };
    let (head, body) = request.into_parts();
    let answer = match exchange.visit(head) {
        Err(refusal) => exchange.plain_refusal(&refusal),
        Ok(mut visit) => match exchange.filter(&mut visit) {
            Ok(Some(answer)) => answer,
            Ok(None) => match exchange.answer(&visit, body).await {
                Ok(answer) => answer,
                Err(refusal) => exchange.refuse(&visit, &refusal),
            },
            Err(refusal) => exchange.refuse(&visit, &refusal),
        },
    };
    exchange.finish.end(answer)
}

impl Exchange {
    /// Virtual host, device and template: asked of every request.
    fn visit(&mut self, head: Parts) -> Result<Visit, Refusal> {
        let authority = authority_of(&head)?.to_owned();
        let host = text::host_name(&authority).ok_or(Refusal::BadRequest("its Host is no host name"))?;
        check_head(&head)?;
        self.finish.host(&host);
        let site = self.snapshot.site(&host).ok_or(Refusal::UnknownSite)?.clone();
        let (head, host) = (Arc::new(head), Arc::from(host));
        let mut facts = Facts::of_connection(self.peer.clone());
        facts.request = Some(RequestFacts {
            head: Arc::clone(&head),
            host: Arc::clone(&host),
            site: site.name.clone(),
            id: self.finish.id_shared(),
            hidden_cookies: self.snapshot.hidden_cookies.clone(),
        });
        let mut guests = self.worker.guests.borrow_mut();
        let form = self.snapshot.policies.device(&mut guests, &facts);
        facts.form = Some(form);
        let look = match self.snapshot.policies.template(&mut guests, &facts).as_deref() {
            Some(Said::Template(Some(look))) if self.known_look(look) => look.clone(),
            _ => site.template.clone(),
        };
        Ok(Visit { head, authority, host, site, form, look, facts, set: Vec::new() })
    }

    /// A policy may name a template that is not there; then the site's own is shown.
    fn known_look(&self, look: &str) -> bool {
        let known = self.snapshot.pages.has(look);
        if !known {
            tracing::debug!(look, "a template policy names a template that is not there");
        }
        known
    }

    /// Filters come before everything else that answers: they may answer themselves, or set headers for the node.
    fn filter(&self, visit: &mut Visit) -> Result<Option<Answer>, Refusal> {
        let said = self.snapshot.policies.filter(&mut self.worker.guests.borrow_mut(), &visit.facts);
        let said = match said {
            Filtered::Said(said) => said,
            Filtered::Failed => return Err(Refusal::FilterFailed),
        };
        let Some(Said::Filter(action)) = said.as_deref() else { return Ok(None) };
        Ok(match action {
            Action::Pass => None,
            Action::Set(headers) => {
                let header = |header: &crate::policy::Header| {
                    Some((header.name.parse().ok()?, HeaderValue::from_str(&header.value).ok()?))
                };
                visit.set = headers.iter().filter_map(header).collect();
                None
            }
            Action::Redirect(location) => Some(own::redirect_with_method(location)),
            Action::Answer(reply) => Some(own::of_filter(reply)),
        })
    }

    async fn answer(&mut self, visit: &Visit, body: Incoming) -> Result<Answer, Refusal> {
        let path = visit.head.uri.path();
        if let Some(own) = path.strip_prefix(own::PREFIX) {
            return match (own, &visit.head.method) {
                // Boxed: a login has much to remember, and each request would carry the room for it.
                ("login", &Method::POST) => Box::pin(self.log_in(visit, body)).await,
                ("login", &Method::GET | &Method::HEAD) => Ok(self.login_page(visit, "/")),
                (asset, &Method::GET | &Method::HEAD) => self.asset(visit, asset),
                _ => Err(Refusal::MethodRefused),
            };
        }
        match self.session(visit) {
            Some((session, node)) => self.forward(visit, body, &session, &node).await,
            None => Ok(self.ask_for_login(visit)),
        }
    }

    /// The live session, and its node, if both are there.
    fn session(&mut self, visit: &Visit) -> Option<(Session, Arc<Node>)> {
        let (secure, ended) = (self.secure(), &self.worker.shared.state.ended);
        let session = self.snapshot.sessions.find(&visit.head.headers, secure, &visit.site.name, ended)?;
        let node = self.snapshot.node(session.backend())?.clone();
        self.finish.session(session.user(), node.name());
        Some((session, node))
    }

    /// Without a session: a person gets the login page, a script is told.
    fn ask_for_login(&self, visit: &Visit) -> Answer {
        if is_script(&visit.head) {
            return self.session_needed();
        }
        if !matches!(visit.head.method, Method::GET | Method::HEAD) {
            return own::redirect("/");
        }
        let target = visit.head.uri.path_and_query().map_or("/", |target| target.as_str());
        self.login_page(visit, text::local_path(target).unwrap_or("/"))
    }

    /// To the session's node, and its answer back.
    async fn forward(
        &mut self,
        visit: &Visit,
        body: Incoming,
        session: &Session,
        node: &Arc<Node>,
    ) -> Result<Answer, Refusal> {
        let limit = body_limit(&visit.head, &self.snapshot.http);
        let body = Limited::new(body, limit);
        if content_length(&visit.head).is_some_and(|length| length > limit.1) {
            if self.snapshot.http.allow_large_incoming_data {
                // So that a browser which sends it all before it reads gets to see the answer.
                body.drain(self.snapshot.http.upload_max_size.saturating_mul(64)).await;
            }
            return Err(Refusal::BodyTooLarge(limit.0, limit.1));
        }
        let write = |body| self.outgoing(visit, node, body);
        let response = match back::forward(self.hop(node), Outgoing::Client(body), write).await {
            Err(Refusal::NodeAway) if Box::pin(self.has_moved(session, node)).await => {
                return Ok(self.after_move(visit, session, node));
            }
            answered => answered?,
        };
        let secure = self.secure();
        if let Some(logout) = self.logged_out(visit, node, &response) {
            self.snapshot.sessions.end(session, &self.worker.shared.state.ended);
            tracing::info!(user = session.user(), client = %self.peer.address, "logged out");
            drop(response);
            return Ok(self.after_logout(logout, node));
        }
        let mut answer = self.fitted(visit, node, response);
        if let Some(cookie) = self.snapshot.sessions.touch(session, secure) {
            own::append(&mut answer, header::SET_COOKIE, &cookie);
        }
        Ok(answer)
    }

    fn hop<'a>(&'a self, node: &'a Arc<Node>) -> Hop<'a> {
        Hop { node, idle: &self.worker.idle, peer: &self.peer }
    }

    /// The request as the node gets it: written anew, with what is true about the client.
    fn outgoing(&self, visit: &Visit, node: &Node, body: Outgoing) -> Result<Request<Outgoing>, Refusal> {
        let target = visit.head.uri.path_and_query().map_or("/", |target| target.as_str());
        let uri: Uri =
            if node.base_path().is_empty() { target.parse() } else { format!("{}{target}", node.base_path()).parse() }
                .map_err(|_| Refusal::BadRequest("its target is no path"))?;
        let mut request = Request::new(body);
        *request.method_mut() = visit.head.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers_for_node(visit);
        Ok(request)
    }

    /// The headers that a node gets with any request of this client.
    fn headers_for_node(&self, visit: &Visit) -> hyper::HeaderMap {
        let mut map = visit.head.headers.clone();
        headers::strip_hop_by_hop(&mut map);
        headers::strip_ours(&mut map);
        headers::strip_our_cookies(&mut map, session::is_ours);
        // The body's framing is hyper's to write; what the client said of it was checked and is known from the body.
        map.remove(header::CONTENT_LENGTH);
        map.remove(header::EXPECT);
        for (name, value) in &visit.set {
            map.insert(name, value.clone());
        }
        let host = HeaderValue::from_str(&visit.authority).ok();
        let client = self.peer.address.to_string();
        let ours = [
            ("x-forwarded-for", client.as_str()),
            ("x-forwarded-proto", self.peer.scheme()),
            ("x-real-ip", client.as_str()),
            ("x-request-id", self.finish.id()),
            ("x-doorward-device", visit.form.name()),
            ("x-doorward-template", visit.look.as_str()),
        ];
        for (name, value) in ours {
            if let Ok(value) = HeaderValue::from_str(value) {
                map.insert(name, value);
            }
        }
        if let Some(host) = host {
            map.insert("x-forwarded-host", host.clone());
            map.insert(header::HOST, host);
        }
        map
    }

    /// A node's answer as the browser should have it.
    fn fitted(&self, visit: &Visit, node: &Node, response: Response<NodeBody>) -> Answer {
        let (mut parts, body) = response.into_parts();
        headers::strip_hop_by_hop(&mut parts.headers);
        parts.version = Version::default();
        let secure = self.secure();
        let cookies: Vec<HeaderValue> = parts.headers.get_all(header::SET_COOKIE).iter().cloned().collect();
        parts.headers.remove(header::SET_COOKIE);
        for cookie in cookies.iter().filter_map(|value| value.to_str().ok()) {
            let fitted = headers::fit_cookie(cookie, node.base_path(), secure, session::is_ours);
            if let Some(value) = fitted.and_then(|cookie| HeaderValue::from_str(&cookie).ok()) {
                parts.headers.append(header::SET_COOKIE, value);
            }
        }
        if let Some(location) = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) {
            let fitted = headers::fit_location(location, node.authority(), &visit.authority, node.base_path());
            if let Ok(value) = HeaderValue::from_str(&fitted) {
                parts.headers.insert(header::LOCATION, value);
            }
        }
        Response::from_parts(parts, Body::node(body))
    }

    fn secure(&self) -> bool {
        self.peer.tls.is_some()
    }
}

/// Host and port a request is for: from its one `Host`, or from `:authority` (RFC 9112, section 3.2; RFC 9113,
/// section 8.3.1). Where both are there they must agree.
fn authority_of(head: &Parts) -> Result<&str, Refusal> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Refusal::BadRequest("it has two Host headers"));
    }
    let host =
        host.map(|host| host.to_str().map_err(|_| Refusal::BadRequest("its Host is no host name"))).transpose()?;
    let authority = head.uri.authority().map(hyper::http::uri::Authority::as_str);
    match (host, authority) {
        (Some(host), Some(authority)) if !host.eq_ignore_ascii_case(authority) => {
            Err(Refusal::BadRequest("its Host is not that of its target"))
        }
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(Refusal::BadRequest("it has no Host")),
    }
}

/// What hyper takes and Doorward does not: a request is read in one way, or not at all.
fn check_head(head: &Parts) -> Result<(), Refusal> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) || head.method.as_str().len() > 32 {
        return Err(Refusal::MethodRefused);
    }
    if !head.uri.path().starts_with('/') && head.method != Method::OPTIONS {
        return Err(Refusal::BadRequest("its target is no path"));
    }
    let encodings = head.headers.get_all(header::TRANSFER_ENCODING);
    let mut encodings = encodings.iter();
    if encodings.next().is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || encodings.next().is_some()
    {
        return Err(Refusal::BadRequest("its Transfer-Encoding is not \"chunked\""));
    }
    if head.headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Refusal::BadRequest("it has two lengths"));
    }
    // What a node decodes once more must not become another path there.
    let path = head.uri.path().to_ascii_lowercase();
    let climbs = path.split('/').any(|part| matches!(part.replace("%2e", ".").as_str(), ".." | "."));
    if climbs || ["%2f", "%5c", "%00"].iter().any(|odd| path.contains(odd)) {
        return Err(Refusal::BadRequest("its path is ambiguous"));
    }
    Ok(())
}

/// Multipart bodies are uploads, with a limit of their own.
fn body_limit(head: &Parts, http: &Http) -> back::Limit {
    let media_type = head.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if media_type.len() >= 10 && media_type[..10].eq_ignore_ascii_case(b"multipart/") {
        ("upload-max-size", http.upload_max_size)
    } else {
        ("body-max-size", http.body_max_size)
    }
}

fn content_length(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a script asks rather than a person: it would not know what to do with a login page. Browsers say so
/// themselves (Fetch Metadata); older scripts by `X-Requested-With` or by what they accept.
fn is_script(head: &Parts) -> bool {
    let value = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    match value("sec-fetch-dest") {
        Some(destination) => !matches!(destination, "document" | "iframe" | "frame"),
        None => {
            let accept = value("accept").unwrap_or("");
            value("x-requested-with").is_some()
                || (accept.contains("application/json") && !accept.contains("text/html"))
        }
    }
}
