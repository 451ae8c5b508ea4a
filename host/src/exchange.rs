//! The life of a request, from top to bottom. All branching is here; the stations answer a question and return.
//!
//! Invariants: every request ends in exactly one response and one access line, whatever happens to its client.

mod assets;
mod check;
mod client;
mod early;
mod filtered;
mod finish;
mod held;
mod login;
mod logout;
mod moved;
mod onward;
mod own;
mod preferences;
mod renewal;
mod second_factor;
mod upgrade;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use doorward_wire::{host::host_name, local_path::local_path};
use hyper::body::Body as _;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use crate::back::{self, ClientConnection, Hop, Node, NodeAnswer};
use crate::config::ClientAuth;
use crate::http1::{Known, Present};
use crate::limits::Clients;
use crate::live::Live;
use crate::own_path::OwnPath;
use crate::peer::{Peer, Scheme};
use crate::policy::{Facts, Form, RequestFacts, TypedAnswer as _};
use crate::reply::Refusal;
use crate::session::{Search, Session};
use crate::snapshot::Site;
use crate::traces;
use crate::upload::Incoming;
use crate::worker::Worker;

pub use finish::Body;
use finish::Finish;
pub use upgrade::Tunnel;

/// An answer to a browser.
pub type Answer = Response<Body>;

/// How an exchange ends.
pub enum Ending {
    /// With an answer.
    Answer(Answer),
    /// With an answer behind which bytes go both ways, over HTTP/1.1.
    Tunnel(Response<()>, Box<Tunnel>),
    /// Over HTTP/2 with a reset stream, whose code says that HTTP/1.1 is needed; nobody gets the answer, which is what the
    /// log tells of.
    Http11Needed(Answer),
}

/// Whose request it is.
pub struct Caller {
    /// The client.
    pub peer: Arc<Peer>,
    /// Whom a trusted proxy names on its connection.
    pub clients: Rc<Clients>,
    /// Its connection, over HTTP/1.1.
    pub connection: Option<Rc<ClientConnection>>,
}

/// A request as it was read.
pub struct Inbound {
    /// The request.
    pub request: Request<Incoming>,
    /// Which headers it has.
    pub present: Present,
}

impl Inbound {
    /// A request.
    pub fn new(request: Request<Incoming>) -> Self {
        let present = Present::of(request.headers());
        Self { request, present }
    }

    /// Whether the client waits to be invited before it sends the body.
    pub fn expects(&self) -> bool {
        self.present.has(Known::Expect) && !self.request.body().is_end_stream()
    }
}

/// A request that cannot be read: nothing of it means anything, but that it is refused.
#[derive(Debug)]
pub struct Unreadable(pub Refusal);

/// One request on its way, with all that was found out about it.
struct Exchange {
    worker: Rc<Worker>,
    snapshot: Arc<Live>,
    peer: Arc<Peer>,
    /// Whether a trusted proxy sent it.
    is_from_proxy: bool,
    /// The client's connection, over HTTP/1.1.
    connection: Option<Rc<ClientConnection>>,
    finish: Finish,
}

/// What the first stations found: where the request is for, and how its pages look.
struct Visit {
    head: Arc<Parts>,
    /// Which headers it has.
    present: Present,
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
    /// Headers for the client that a filter set.
    set_back: Vec<(HeaderName, HeaderValue)>,
}

/// Answers a request.
///
/// What needs no waiting is done before the future begins, which has room for its arguments twice. It is boxed, since it
/// is moved about, and a connection would have room for it while it is idle.
pub fn run(
    worker: Rc<Worker>,
    Caller { peer, clients, connection }: Caller,
    request: Result<Inbound, Unreadable>,
) -> Pin<Box<dyn Future<Output = Ending>>> {
    let snapshot = worker.live();
    let proxy = peer.address;
    let (head, present, body) = match request {
        Ok(Inbound { request, present }) => {
            let (head, body) = request.into_parts();
            (Ok(Arc::new(head)), present, body)
        }
        Err(Unreadable(refusal)) => (Err(refusal), Present::default(), Incoming::Empty),
    };
    let is_from_proxy = snapshot.forwarding.trusted.contain(proxy);
    let peer = match &head {
        Ok(head) if is_from_proxy => client::of(peer, &snapshot.forwarding, &head.headers),
        _ => peer,
    };
    let mut finish = Finish::begin(&worker, &peer, head.as_ref().ok(), snapshot.generation);
    let headers = head.as_ref().ok().filter(|_| is_from_proxy).map(|head| &head.headers);
    let trace = snapshot.traces.as_ref().map(|settings| finish.trace(headers, settings));
    let mut exchange = Exchange { worker, snapshot, peer, is_from_proxy, connection, finish };
    let visit = traces::at(trace.as_ref(), || match head {
        Err(refusal) => Err(Box::new(exchange.refuse_unreadable(&refusal))),
        Ok(head) => match exchange.count_client(proxy, &clients) {
            Ok(()) => exchange.begin(&head, present),
            Err(refusal) => Err(Box::new(exchange.refuse_stranger(&head, &refusal))),
        },
    });
    let ending = Box::pin(async move {
        let mut ending = match visit {
            Err(answer) => Ending::Answer(*answer),
            Ok(mut visit) => {
                let early = exchange.check_slashes(&visit).and_then(|()| match exchange.to_https(&visit) {
                    Some(answer) => Ok(Some(answer)),
                    None => exchange.filter(&mut visit),
                });
                let ending = match early {
                    Ok(None) => exchange.answer(&mut visit, body).await,
                    Ok(Some(answer)) => Ok(Ending::Answer(answer)),
                    Err(refusal) => Err(refusal),
                };
                let ending = ending.unwrap_or_else(|refusal| exchange.refused(&visit, &refusal));
                if visit.set_back.is_empty() { ending } else { ending.with(std::mem::take(&mut visit.set_back)) }
            }
        };
        exchange.add_ours(&mut ending);
        exchange.finish.end(&mut ending);
        ending
    });
    match trace {
        None => ending,
        Some(trace) => Box::pin(traces::within(trace, ending)),
    }
}

impl Visit {
    /// Host and port as the browser wrote them.
    fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or("")
    }

    /// Path and query, as the browser asked for them.
    fn target(&self) -> &str {
        self.head.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Whether it only reads.
    fn reads(&self) -> bool {
        matches!(self.head.method, Method::GET | Method::HEAD)
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
    fn begin(&mut self, head: &Arc<Parts>, present: Present) -> Result<Box<Visit>, Box<Answer>> {
        if let Some(answer) = self.early(head) {
            return Err(Box::new(answer));
        }
        self.visit(head, present).map(Box::new).map_err(|refusal| Box::new(self.refuse_stranger(head, &refusal)))
    }

    /// Virtual host, device and template: asked of every request.
    fn visit(&mut self, head: &Arc<Parts>, present: Present) -> Result<Visit, Refusal> {
        let authority = check::authority_of(head)?;
        let host = authority.to_str().ok().and_then(host_name);
        let host: Arc<str> = host.ok_or(Refusal::BadRequest("its Host is no host name"))?.into();
        self.finish.host(&host);
        check::check_head(head, present)?;
        check::check_size(head, &self.snapshot.http)?;
        let site = self.snapshot.site(&host).ok_or(Refusal::UnknownSite)?.clone();
        self.finish.site(&site);
        self.check_server_name(&site)?;
        let head = Arc::clone(head);
        let mut facts = Facts::of_connection(self.peer.clone());
        facts.request = Some(RequestFacts {
            head: Arc::clone(&head),
            host: Arc::clone(&host),
            site: site.name.clone(),
            id: self.finish.request_id(),
            hidden_cookies: self.snapshot.hidden_cookies.clone(),
        });
        let mut guests = self.worker.guests.borrow_mut();
        let detected = self.snapshot.policies.device(&mut guests, &facts);
        let chosen = if present.has(Known::Cookie) { preferences::view(&head.headers, self.scheme()) } else { None };
        let form = chosen.unwrap_or(detected);
        facts.form = Some(form);
        let answer = self.snapshot.policies.template(&mut guests, &facts);
        let named = answer.as_deref().and_then(|answer| Option::<String>::of(answer).as_deref());
        let look = named.filter(|look| self.known_look(look)).map_or_else(|| site.template.clone(), Into::into);
        Ok(Visit { head, present, authority, host, site, form, look, facts, set: Vec::new(), set_back: Vec::new() })
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

    async fn answer(&mut self, visit: &mut Visit, body: Incoming) -> Result<Ending, Refusal> {
        let path = visit.head.uri.path();
        if let Some(own) = OwnPath::of(path) {
            // Boxed: a login has much to remember, and each request would carry the room for it.
            return Box::pin(self.own(visit, own, body)).await.map(Ending::Answer);
        }
        match self.session(visit) {
            Some((session, node)) => self.forward(visit, body, &session, &node).await,
            None => self.ask_for_login(visit, body).await.map(Ending::Answer),
        }
    }

    /// What is at a path of Doorward's own.
    async fn own(&mut self, visit: &Visit, own: OwnPath<'_>, body: Incoming) -> Result<Answer, Refusal> {
        let method = &visit.head.method;
        let (reads, posts) = (matches!(*method, Method::GET | Method::HEAD), *method == Method::POST);
        match own {
            OwnPath::Logout => Ok(self.log_out(visit).await),
            OwnPath::Login if posts => self.log_in(visit, body).await,
            OwnPath::SecondFactor if posts => self.take_second_factor(visit, body).await,
            OwnPath::Login if reads => Ok(self.login_page(visit, "/", "")),
            OwnPath::LoggedOut if reads => Ok(self.logged_out_page(visit)),
            OwnPath::Preferences if reads => self.prefer(visit),
            OwnPath::Asset(file) if reads => self.asset(visit, file),
            OwnPath::SiteLogo | OwnPath::SiteStyle if reads => self.site_asset(visit, own),
            OwnPath::SecondFactor | OwnPath::Nothing if reads => Err(Refusal::NotFound),
            OwnPath::Login
            | OwnPath::SecondFactor
            | OwnPath::LoggedOut
            | OwnPath::Preferences
            | OwnPath::SiteLogo
            | OwnPath::SiteStyle
            | OwnPath::Asset(_)
            | OwnPath::Nothing => Err(Refusal::MethodRefused),
        }
    }

    /// The live session, and its node, if both are there.
    fn session(&mut self, visit: &Visit) -> Option<(Arc<Session>, Arc<Node>)> {
        let session = self.find_session(visit)?;
        let node = self.snapshot.node(session.backend())?.clone();
        self.worker.shared.state.watched.touch(&session);
        self.finish.session(&session);
        Some((session, node))
    }

    /// The live session.
    fn find_session(&self, visit: &Visit) -> Option<Arc<Session>> {
        let state = &self.worker.shared.state;
        let search = Search {
            revoked: &state.revoked,
            sightings: &state.sightings,
            opened: &mut self.worker.opened.borrow_mut(),
            client: self.peer.address,
        };
        self.snapshot.sessions.find(&visit.head.headers, self.scheme(), &visit.site.name, search)
    }

    /// Without a session: a person gets the login page, a script is told.
    async fn ask_for_login(&self, visit: &Visit, body: Incoming) -> Result<Answer, Refusal> {
        if let Some(answer) = self.asset_of_programs(visit) {
            return answer;
        }
        if visit.is_script() {
            return Ok(self.session_needed(visit));
        }
        if !visit.reads() {
            return Ok(match Box::pin(self.hold(visit, body)).await {
                Some(held) => self.login_page(visit, "/", &held),
                None => own::redirect("/"),
            });
        }
        let target = visit.target();
        Ok(self.login_page(visit, local_path(target).unwrap_or("/"), ""))
    }

    /// To the session's node, and its answer back.
    async fn forward(
        &mut self,
        visit: &mut Visit,
        body: Incoming,
        session: &Arc<Session>,
        node: &Arc<Node>,
    ) -> Result<Ending, Refusal> {
        let protocol = match visit.present.has(Known::Upgrade) {
            true => upgrade::wanted(&visit.head, &self.snapshot.http.upgrades),
            false => None,
        };
        let owner = self.owner(visit, session)?;
        let body = self.upload(visit, body).await?;
        let request = self.outgoing(visit, (session, node), body, protocol)?;
        let allowance = self.allowance(session.holder());
        let hop = Hop { owner: owner.as_ref(), ..self.hop(node, &allowance) };
        let mut response = match back::forward(hop, request).await {
            Err(Refusal::NodeAway) if Box::pin(self.has_moved(visit, session, node)).await => {
                return Ok(Ending::Answer(self.after_move(visit, session, node)));
            }
            answered => match answered? {
                NodeAnswer::Response(response) => response,
                NodeAnswer::Tunnel(head, tunnel) => return Ok(self.tunnel(visit, (session, node), head, tunnel)),
            },
        };
        let scheme = self.scheme();
        // Boxed: few recipes look at bodies, and each request would carry the room for it.
        let page = match node.recipe.reads_bodies() {
            true => Box::pin(back::beginning(&node.recipe, &visit.head.uri, &mut response)).await,
            false => String::new(),
        };
        if let Some(logout) = self.logged_out(visit, node, &response, &page) {
            self.end_session(session, "node");
            if matches!(logout, own::Gone::LoggedOut) && visit.is_script() {
                let answer = self.fitted(visit, node, response);
                return Ok(Ending::Answer(self.without_sessions(answer, node)));
            }
            drop(response);
            return Ok(Ending::Answer(self.after_logout(logout, visit, node)));
        }
        let mut answer = self.fitted(visit, node, response);
        if !visit.set_back.is_empty() {
            visit.set_in_node_answer(&mut answer);
        }
        let head = (answer.status(), answer.headers_mut());
        renewal::where_due(head, &self.snapshot.sessions, (session, visit.facts.now()), scheme);
        Ok(Ending::Answer(answer))
    }

    fn scheme(&self) -> Scheme {
        self.peer.scheme()
    }
}
