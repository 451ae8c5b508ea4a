//! The life of a request, from top to bottom. All branching is here; the stations answer a question and return.
//!
//! Invariants: every request ends in exactly one response and one access line, whatever happens to its client.

mod account;
mod check;
mod client;
mod early;
mod finish;
mod held;
mod login;
mod moved;
mod own;
mod preferences;
mod renewal;
mod route;
mod second_factor;
mod throttle;
mod upgrade;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Body as _;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};

use crate::back::headers::{self, Fields};
use crate::back::{self, ClientConnection, Fitting, Hop, Node, NodeBody, Outbound, Outgoing, Owner, connection_auth};
use crate::config::ClientAuth;
use crate::limits::{Allowance, Clients, Holder};
use crate::live::Live;
use crate::peer::Peer;
use crate::policy::{Action, Answer as Said, Facts, Filtered, Form, RequestFacts};
use crate::reply::Refusal;
use crate::session::{self, Session};
use crate::snapshot::Site;
use crate::text;
use crate::upload::{Incoming, Limit, Rules, Upload};
use crate::worker::Worker;

pub use finish::Body;
use finish::Finish;
use upgrade::Terms;
pub use upgrade::Tunnel;

/// An answer to a browser.
pub type Answer = Response<Body>;

/// Marks an answer that is to be a reset stream over HTTP/2, with the code `HTTP_1_1_REQUIRED`.
#[derive(Debug, Clone, Copy)]
pub struct Http11Needed;

/// One request on its way, with all that was found out about it.
struct Exchange {
    worker: Rc<Worker>,
    snapshot: Arc<Live>,
    peer: Arc<Peer>,
    /// The client's connection, over HTTP/1.1.
    connection: Option<Rc<ClientConnection>>,
    finish: Finish,
}

/// What the first stations found: where the request is for, and how its pages look.
struct Visit {
    head: Arc<Parts>,
    /// Host and port as the browser wrote them.
    authority: HeaderValue,
    /// The virtual host: lower case, without port.
    host: Arc<str>,
    site: Arc<Site>,
    form: Form,
    look: Arc<str>,
    facts: Facts,
    /// Headers for the node that a filter set.
    set: Vec<(HeaderName, HeaderValue)>,
}

/// What the node is told of the client.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_DOORWARD_DEVICE: HeaderName = HeaderName::from_static("x-doorward-device");
const X_DOORWARD_TEMPLATE: HeaderName = HeaderName::from_static("x-doorward-template");
/// Room for these and for what is told of the client.
const OUR_HEADERS: usize = 10;

/// Answers a request. One that could not be read comes with the refusal it gets, and nothing else of it means anything.
///
/// What needs no waiting is done before the future begins, which has room for its arguments twice. It is boxed, since it
/// is moved about, and a connection would have room for it while it is idle.
pub fn run(
    worker: Rc<Worker>,
    (peer, clients, connection): (Arc<Peer>, Rc<Clients>, Option<Rc<ClientConnection>>),
    request: Request<Incoming>,
    unreadable: Option<Refusal>,
) -> Pin<Box<impl Future<Output = Answer>>> {
    let snapshot = worker.live();
    let proxy = peer.address;
    let peer = client::of(peer, &snapshot.forwarding, request.headers());
    let finish = Finish::begin(&worker.shared.log, &peer, (&request, unreadable.is_none()), snapshot.generation);
    let mut exchange = Exchange { worker, snapshot, peer, connection, finish };
    let (head, body) = request.into_parts();
    let head = Arc::new(head);
    let visit = match unreadable {
        Some(refusal) => Err(Box::new(exchange.refuse_stranger(&head, &refusal))),
        None => match exchange.count_client(proxy, &clients) {
            Ok(()) => exchange.begin(&head),
            Err(refusal) => Err(Box::new(exchange.refuse_stranger(&head, &refusal))),
        },
    };
    Box::pin(async move {
        let mut answer = match visit {
            Err(answer) => *answer,
            Ok(mut visit) => {
                let early = exchange.check_slashes(&visit).and_then(|()| match exchange.to_https(&visit) {
                    Some(answer) => Ok(Some(answer)),
                    None => exchange.filter(&mut visit),
                });
                let answer = match early {
                    Ok(None) => exchange.answer(&mut visit, body).await,
                    Ok(Some(answer)) => Ok(answer),
                    Err(refusal) => Err(refusal),
                };
                answer.unwrap_or_else(|refusal| exchange.refuse(&visit, &refusal))
            }
        };
        exchange.add_hsts(&mut answer);
        exchange.add_id(&mut answer);
        exchange.finish.end(&mut answer);
        answer
    })
}

impl Visit {
    /// Host and port as the browser wrote them.
    fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or("")
    }

    /// Whether a script asks rather than a person: it would not know what to do with a login page. Browsers say so
    /// themselves (Fetch Metadata); older scripts by `X-Requested-With` or by what they accept.
    fn is_script(&self) -> bool {
        let value = |name: &str| self.head.headers.get(name).and_then(|value| value.to_str().ok());
        match value("sec-fetch-dest") {
            Some(destination) => !matches!(destination, "document" | "iframe" | "frame"),
            None => {
                let accept = value("accept").unwrap_or("");
                value("x-requested-with").is_some()
                    || (accept.contains("application/json") && !accept.contains("text/html"))
            }
        }
    }

    /// From what kind of site the browser says that the request was made (Fetch Metadata); older ones say nothing.
    fn fetch_site(&self) -> Option<&[u8]> {
        self.head.headers.get("sec-fetch-site").map(HeaderValue::as_bytes)
    }
}

impl Exchange {
    /// What is known of a request before it is waited for; or its answer, where no site is needed or known.
    fn begin(&mut self, head: &Arc<Parts>) -> Result<Box<Visit>, Box<Answer>> {
        if let Some(answer) = self.early(head) {
            return Err(Box::new(answer));
        }
        self.visit(head).map(Box::new).map_err(|refusal| Box::new(self.refuse_stranger(head, &refusal)))
    }

    /// Virtual host, device and template: asked of every request.
    fn visit(&mut self, head: &Arc<Parts>) -> Result<Visit, Refusal> {
        let authority = check::authority_of(head)?;
        let host = authority.to_str().ok().and_then(text::host_name);
        let host: Arc<str> = host.ok_or(Refusal::BadRequest("its Host is no host name"))?.into();
        self.finish.host(&host);
        check::check_head(head)?;
        check::check_size(head, &self.snapshot.http)?;
        let site = self.snapshot.site(&host).ok_or(Refusal::UnknownSite)?.clone();
        self.check_server_name(&site)?;
        let head = Arc::clone(head);
        let mut facts = Facts::of_connection(self.peer.clone());
        facts.request = Some(RequestFacts {
            head: Arc::clone(&head),
            host: Arc::clone(&host),
            site: site.name.clone(),
            id: self.finish.id_shared(),
            hidden_cookies: self.snapshot.hidden_cookies.clone(),
        });
        let mut guests = self.worker.guests.borrow_mut();
        let detected = self.snapshot.policies.device(&mut guests, &facts);
        let form = preferences::view(&head.headers, self.secure()).unwrap_or(detected);
        facts.form = Some(form);
        let look = match self.snapshot.policies.template(&mut guests, &facts).as_deref() {
            Some(Said::Template(Some(look))) if self.known_look(look) => look.as_str().into(),
            _ => site.template.clone(),
        };
        Ok(Visit { head, authority, host, site, form, look, facts, set: Vec::new() })
    }

    /// Where clients show certificates, a connection that asked for one site is not used for another (RFC 9110,
    /// section 15.5.20).
    fn check_server_name(&self, site: &Arc<Site>) -> Result<(), Refusal> {
        let Some(name) = self.peer.tls.as_ref().and_then(|tls| tls.server_name.as_deref()) else { return Ok(()) };
        let listener = self.snapshot.listeners.get(&self.peer.listener);
        let asks = listener.is_some_and(|listener| listener.config.tls.client_auth != ClientAuth::Off);
        let same = || self.snapshot.site(name).is_some_and(|named| Arc::ptr_eq(named, site));
        if asks && !same() { Err(Refusal::UnknownSite) } else { Ok(()) }
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
            Filtered::Failed => return Err(Refusal::PolicyFailed),
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

    async fn answer(&mut self, visit: &mut Visit, body: Incoming) -> Result<Answer, Refusal> {
        let path = visit.head.uri.path();
        // At whatever path a node's cookies are.
        if path.ends_with(second_factor::LOGOUT) {
            return Ok(Box::pin(self.log_out(visit)).await);
        }
        if let Some(own) = path.strip_prefix(own::PREFIX) {
            return match (own, &visit.head.method) {
                // Boxed: a login has much to remember, and each request would carry the room for it.
                ("login", &Method::POST) => Box::pin(self.log_in(visit, body)).await,
                ("second-factor", &Method::POST) => Box::pin(self.take_second_factor(visit, body)).await,
                ("login", &Method::GET | &Method::HEAD) => Ok(self.login_page(visit, "/", "")),
                ("logged-out", &Method::GET | &Method::HEAD) => Ok(self.logged_out_page(visit)),
                (preferences::PATH, &Method::GET | &Method::HEAD) => self.prefer(visit),
                (asset, &Method::GET | &Method::HEAD) => self.asset(visit, asset),
                _ => Err(Refusal::MethodRefused),
            };
        }
        match self.session(visit) {
            Some((session, node)) => self.forward(visit, body, &session, &node).await,
            None => self.ask_for_login(visit, body).await,
        }
    }

    /// The live session, and its node, if both are there.
    fn session(&mut self, visit: &Visit) -> Option<(Arc<Session>, Arc<Node>)> {
        let (secure, revoked) = (self.secure(), &self.worker.shared.state.revoked);
        let opened = &mut self.worker.opened.borrow_mut();
        let session = self.snapshot.sessions.find(&visit.head.headers, secure, &visit.site.name, revoked, opened)?;
        let node = self.snapshot.node(session.backend())?.clone();
        self.worker.shared.state.watched.touch(&session);
        self.finish.session(&session);
        Some((session, node))
    }

    /// Without a session: a person gets the login page, a script is told.
    async fn ask_for_login(&self, visit: &Visit, body: Incoming) -> Result<Answer, Refusal> {
        if let Some(name) = own::of_programs(visit.head.uri.path()) {
            return self.asset(visit, &format!("assets/{}/{name}", visit.look));
        }
        if visit.is_script() {
            return Ok(self.session_needed(visit));
        }
        if !matches!(visit.head.method, Method::GET | Method::HEAD) {
            return Ok(match Box::pin(self.hold(visit, body)).await {
                Some(held) => self.login_page(visit, "/", &held),
                None => own::redirect("/"),
            });
        }
        let target = visit.head.uri.path_and_query().map_or("/", |target| target.as_str());
        Ok(self.login_page(visit, text::local_path(target).unwrap_or("/"), ""))
    }

    /// To the session's node, and its answer back.
    async fn forward(
        &mut self,
        visit: &mut Visit,
        body: Incoming,
        session: &Arc<Session>,
        node: &Arc<Node>,
    ) -> Result<Answer, Refusal> {
        let protocol = upgrade::wanted(&visit.head, &self.snapshot.http.upgrades);
        let owner = self.owner(visit, session)?;
        let body = self.upload(visit, body).await?;
        let request = self.outgoing(visit, (session, node), body, protocol)?;
        let allowance = self.allowance(Holder::user(session.user()));
        let hop = Hop { owner: owner.as_ref(), ..self.hop(node, &allowance) };
        let mut response = match back::forward(hop, request).await {
            Err(Refusal::NodeAway) if Box::pin(self.has_moved(session, node)).await => {
                return Ok(self.after_move(visit, session, node));
            }
            answered => answered?,
        };
        let secure = self.secure();
        // Boxed: few recipes look at bodies, and each request would carry the room for it.
        let page = match node.recipe.reads_bodies() {
            true => Box::pin(back::beginning(&node.recipe, &visit.head.uri, &mut response)).await,
            false => String::new(),
        };
        if let Some(logout) = self.logged_out(visit, node, &response, &page) {
            self.snapshot.sessions.end(session, &self.worker.shared.state.revoked);
            tracing::info!(user = session.user(), client = %self.peer.address, "logged out");
            if matches!(logout, own::Gone::LoggedOut) && visit.is_script() {
                let answer = self.fitted(visit, session, node, response);
                return Ok(self.without_sessions(answer, node));
            }
            drop(response);
            return Ok(self.after_logout(logout, visit, node));
        }
        let mut answer = self.fitted(visit, session, node, response);
        renewal::where_due(&mut answer, &self.snapshot.sessions, session, secure);
        Ok(answer)
    }

    /// What the client sends, if it is not too large.
    async fn upload(&self, visit: &Visit, body: Incoming) -> Result<Outgoing, Refusal> {
        if body.is_end_stream() {
            return Ok(Outgoing::nothing());
        }
        let limit = self.snapshot.http.session_body();
        let body = Upload::new(body, self.rules(limit));
        if content_length(&visit.head).is_some_and(|length| length > limit.1) {
            if self.snapshot.http.allow_large_incoming_data {
                // So that a browser which sends it all before it reads gets to see the answer.
                Box::pin(body.drain(self.snapshot.http.upload_max_size.saturating_mul(64))).await;
            }
            return Err(Refusal::BodyTooLarge(limit.0, limit.1));
        }
        Ok(Outgoing::Client(body))
    }

    /// The way to a node for requests of our own.
    fn hop<'a>(&'a self, node: &'a Arc<Node>, allowance: &'a Rc<Allowance>) -> Hop<'a> {
        Hop { node, idle: &self.worker.idle, peer: &self.peer, owner: None, allowance }
    }

    /// What somebody may take of what all share.
    fn allowance(&self, holder: Holder) -> Rc<Allowance> {
        let room = self.worker.shared.state.read_ahead.clone();
        Rc::new(Allowance { room, holder, bounds: self.snapshot.http.read_ahead })
    }

    /// Whose connection to the node may be authenticated. Over HTTP/2 nobody's: requests of one connection go on several.
    fn owner(&self, visit: &Visit, session: &Session) -> Result<Option<Owner>, Refusal> {
        match &self.connection {
            Some(connection) => {
                let holder = Holder::user(session.user());
                Ok(Some(Owner::new(connection, session.id_bytes(), self.peer.address, holder)))
            }
            None if connection_auth::is_asked(&visit.head.headers) => Err(Refusal::Http11Needed),
            None => Ok(None),
        }
    }

    /// The request as the node gets it: written anew, with what is true about the client. With the protocol that it may
    /// change to.
    fn outgoing(
        &self,
        visit: &Visit,
        (session, node): (&Session, &Node),
        body: Outgoing,
        protocol: Option<HeaderValue>,
    ) -> Result<Box<Outbound>, Refusal> {
        let target = visit.head.uri.path_and_query().map_or("/", |target| target.as_str());
        let uri = match node.base_path() {
            // Origin-form, as most requests have it, goes on as it is.
            "" if visit.head.uri.authority().is_none() => visit.head.uri.clone(),
            base => format!("{base}{target}").parse().map_err(|_| Refusal::BadRequest("its target is no path"))?,
        };
        let mut request = Request::new(body);
        *request.method_mut() = visit.head.method.clone();
        *request.uri_mut() = uri;
        let has_urls = Fitting::has_urls(&visit.head.headers);
        let in_map = protocol.is_some() || !visit.set.is_empty() || has_urls || has_credentials(&visit.head);
        if node.takes_lines() && !in_map {
            let mut lines = headers::Lines::with_room();
            self.put_ours(visit, &mut lines);
            headers::onward(&visit.head.headers, session::is_ours, |name| self.is_reserved(node, name), &mut lines);
            return Ok(Box::new(Outbound { request, lines: Some(lines) }));
        }
        *request.headers_mut() = self.headers_for_node(visit, node);
        if has_urls {
            node.fitting(self.peer.scheme(), visit.authority()).fit_request(request.headers_mut());
        }
        if let Some(protocol) = protocol {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(header::UPGRADE, protocol);
        }
        back::equip(node, session.user(), session.kept(), &mut request)?;
        back::narrow_encoding(&node.recipe, request.headers_mut());
        Ok(Box::new(request.into()))
    }

    /// Whether only Doorward sends a header to a node: the operator says so, or the node's recipe has it.
    fn is_reserved(&self, node: &Node, name: &str) -> bool {
        self.snapshot.forwarding.identity.has(name) || node.reserved().has(name)
    }

    /// The headers that a node gets with any request of this client, made of the browser's.
    fn headers_for_node(&self, visit: &Visit, node: &Node) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(visit.head.headers.len() + OUR_HEADERS);
        let reserved = |name: &str| self.is_reserved(node, name);
        headers::onward(&visit.head.headers, session::is_ours, reserved, &mut map);
        for (name, value) in visit.set.iter().filter(|(name, _)| !reserved(name.as_str())) {
            map.insert(name, value.clone());
        }
        let mut ours = HeaderMap::with_capacity(OUR_HEADERS);
        self.put_ours(visit, &mut ours);
        // They replace whatever has their names.
        map.extend(ours);
        map
    }

    /// Puts what only Doorward writes.
    fn put_ours(&self, visit: &Visit, fields: &mut impl Fields) {
        fields.put(&header::HOST, &visit.authority);
        client::tell(fields, &self.peer, &visit.authority, &self.snapshot.forwarding);
        fields.put_text(&X_DOORWARD_DEVICE, visit.form.name());
        fields.put_text(&X_DOORWARD_TEMPLATE, &visit.look);
        fields.put_text(&X_REQUEST_ID, self.finish.id());
    }

    /// A node's answer as the browser should have it.
    fn fitted(&self, visit: &Visit, session: &Arc<Session>, node: &Node, response: Response<NodeBody>) -> Answer {
        let (mut parts, body) = response.into_parts();
        let protocol = parts.headers.get(header::UPGRADE).filter(|_| parts.status == StatusCode::SWITCHING_PROTOCOLS);
        let protocol = protocol.cloned();
        if protocol.is_some() {
            headers::strip_hop_by_hop(&mut parts.headers);
        }
        parts.version = Version::default();
        // It would lead browsers past Doorward (RFC 7838).
        parts.headers.remove(header::ALT_SVC);
        let secure = self.secure();
        if parts.headers.contains_key(header::SET_COOKIE) {
            headers::fit_cookies(&mut parts.headers, node.base_path(), secure, session::is_ours);
        }
        node.fitting(self.peer.scheme(), visit.authority()).fit_answer(&mut parts.headers);
        // A 101 with another protocol than was asked for does not get here.
        let Some(protocol) = protocol else { return Response::from_parts(parts, Body::node(body)) };
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
        let (shared, session) = (self.worker.shared.clone(), session.clone());
        let terms = Terms::new(shared, session, self.snapshot.http.tunnel_idle_timeout);
        Response::from_parts(parts, Body::tunnel(body, terms))
    }

    /// What a body must keep to.
    fn rules(&self, limit: Limit) -> Rules {
        let http = &self.snapshot.http;
        Rules { limit, timeout: http.body_timeout, min_rate: http.body_min_rate, scarce_min_rate: http.scarce_min_rate }
    }

    fn secure(&self) -> bool {
        self.peer.is_secure()
    }
}

/// What credentials mean for the connection to the node is looked for in a map.
fn has_credentials(head: &Parts) -> bool {
    head.headers.contains_key(header::AUTHORIZATION)
}

fn content_length(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
