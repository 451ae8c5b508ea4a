//! A small webmail for the demonstration: an HTTP/1.1 server of its own that knows nothing of the proxy before it.
//!
//! Invariants:
//! - All state belongs to one node: a session of one `Webmail` means nothing to another.
//! - Nothing a client sends is kept whole unless it is a short form, and every wait for a client has a deadline.
//! - What changes a session (login, logout) asks for a token bound to the cookie that came with it.

mod body;
mod form;
mod login;
pub(in crate::demo) mod mailbox;
mod pages;
mod reply;
mod route;
mod session;
mod upload;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ACCEPT, COOKIE, HeaderMap, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use minijinja::context;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::body::Body;
use self::pages::Pages;
use self::route::{Miss, Route};
use self::session::Store;

/// Connections at once. A browser opens six; this is room for a load test and still a bound.
const MAX_CONNECTIONS: usize = 1024;

/// How long a client may take to send a request's head; also how long an unused connection stays open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Sessions, and separately visitors at the login form, that a node remembers at most. Each costs some 300 bytes.
const MAX_SESSIONS: usize = 10_000;

/// A session nobody uses for this long has ended; the half hour most webmail systems ship with.
const SESSION_IDLE: Duration = Duration::from_mins(30);

/// The largest answer of `/download/<bytes>`: the same 64 MiB as an upload.
const MAX_DOWNLOAD: u64 = 64 * 1024 * 1024;

/// One mailbox owner. It has no `Debug`, for it carries a password.
pub struct Account {
    /// What is typed into the form's `user` field, compared exactly.
    pub user: String,
    /// The password in the clear: this is a demonstration's mailbox.
    pub password: String,
    /// The person's name as pages show it.
    pub display_name: String,
}

/// One back-end node: its name and the accounts whose mail it holds.
pub struct Webmail {
    name: String,
    accounts: Vec<Account>,
}

impl Webmail {
    /// A node called `name` (shown on each of its pages) for these accounts.
    pub fn new(name: impl Into<String>, accounts: Vec<Account>) -> Self {
        Self { name: name.into(), accounts }
    }

    /// Accepts and answers until the future is dropped, which closes the listener and each connection at once.
    pub async fn serve(self, listener: TcpListener) {
        let node = Arc::new(Node::new(self));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => { connections.spawn(converse(Arc::clone(&node), stream)); }
                    Err(error) => {
                        // Out of descriptors, most likely: wait for some to be given back rather than spin.
                        tracing::warn!(node = node.name, %error, "accept failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// A running node: what all of its connections share.
struct Node {
    name: String,
    accounts: Vec<Arc<Account>>,
    pages: Pages,
    /// Who looks at the login form: the token it carries. Apart from `sessions`, so that a flood of visitors puts
    /// nobody out who is signed in.
    visitors: Store<Arc<str>>,
    sessions: Store<Session>,
}

/// Who is signed in, and the token that a logout has to show.
#[derive(Clone)]
struct Session {
    account: Arc<Account>,
    token: Arc<str>,
}

impl Node {
    fn new(webmail: Webmail) -> Self {
        Self {
            pages: Pages::new(&webmail.name),
            name: webmail.name,
            accounts: webmail.accounts.into_iter().map(Arc::new).collect(),
            visitors: Store::new(MAX_SESSIONS, SESSION_IDLE),
            sessions: Store::new(MAX_SESSIONS, SESSION_IDLE),
        }
    }

    /// One request, one answer.
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match route::route(request.method(), request.uri().path()) {
            Ok(Route::Style) => reply::style(&self.pages, request.headers()),
            Ok(Route::LoginForm) => self.login_form(&request),
            Ok(Route::Login) => self.login(request).await,
            Ok(Route::Private(page)) => match self.session(request.headers()) {
                Some((id, session)) => self.private(page, &id, &session, request).await,
                None => expired(request).await,
            },
            Err(Miss::NotFound) => self.problem(StatusCode::NOT_FOUND, "There is no such page here."),
            Err(Miss::Method(allow)) => {
                let page = self.problem(StatusCode::METHOD_NOT_ALLOWED, "This page cannot be asked that way.");
                reply::with_allow(page, allow)
            }
        }
    }

    /// A page that only somebody signed in may see.
    async fn private(
        &self,
        page: route::Private,
        id: &str,
        session: &Session,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let frame = frame(session);
        match page {
            route::Private::Home => reply::see_other("/inbox"),
            route::Private::Inbox => {
                let messages = mailbox::messages(&session.account.display_name);
                let unread = messages.iter().filter(|message| message.unread).count();
                self.pages.show(StatusCode::OK, "inbox.html", context! { messages, unread, ..frame })
            }
            route::Private::Message(number) => {
                match mailbox::messages(&session.account.display_name).into_iter().find(|m| m.number == number) {
                    Some(message) => self.pages.show(StatusCode::OK, "message.html", context! { message, ..frame }),
                    None => self.problem(StatusCode::NOT_FOUND, "There is no such message in this mailbox."),
                }
            }
            route::Private::Compose => self.pages.show(StatusCode::OK, "compose.html", frame),
            route::Private::Upload => self.upload(frame, request).await,
            route::Private::Unread => {
                let messages = mailbox::messages(&session.account.display_name);
                let unread = messages.iter().filter(|message| message.unread).count();
                reply::json(StatusCode::OK, &json!({"node": self.name, "user": session.account.user, "unread": unread}))
            }
            route::Private::Events => reply::events(&self.name),
            route::Private::Download(bytes) if bytes <= MAX_DOWNLOAD => reply::download(bytes),
            route::Private::Download(_) => {
                self.problem(StatusCode::BAD_REQUEST, "A download has at most 67108864 bytes.")
            }
            route::Private::About => {
                let headers = pages::shown_headers(request.headers());
                let forwarded_for = text(request.headers(), &HeaderName::from_static("x-forwarded-for"));
                let forwarded_proto = text(request.headers(), &HeaderName::from_static("x-forwarded-proto"));
                let line = format!("{} {} {:?}", request.method(), request.uri().path(), request.version());
                self.pages.show(
                    StatusCode::OK,
                    "about.html",
                    context! { headers, forwarded_for, forwarded_proto, line, ..frame },
                )
            }
            route::Private::Logout => self.logout(id, session, request).await,
        }
    }

    /// The live session that the request's cookie names.
    fn session(&self, headers: &HeaderMap) -> Option<(String, Session)> {
        let id = cookie(headers)?;
        let session = self.sessions.find(&id, Instant::now())?;
        Some((id, session))
    }

    /// A page that says what went wrong.
    fn problem(&self, status: StatusCode, detail: &str) -> Response<Body> {
        let reason = status.canonical_reason().unwrap_or("Error");
        self.pages.show(status, "problem.html", context! { status => status.as_u16(), reason, detail })
    }
}

/// What every page for somebody signed in shows.
fn frame(session: &Session) -> minijinja::Value {
    context! {
        user => session.account.user,
        display_name => session.account.display_name,
        token => &*session.token,
    }
}

/// One connection: requests in turn until either side leaves.
async fn converse(node: Arc<Node>, stream: TcpStream) {
    let service = service_fn(|request| {
        let node = Arc::clone(&node);
        async move { Ok::<_, Infallible>(node.answer(request).await) }
    });
    let outcome = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = outcome {
        tracing::debug!(node = node.name, %error, "connection ended early");
    }
}

/// The answer to a request without a live session: a person is sent to the form, a script is told.
async fn expired(request: Request<Incoming>) -> Response<Body> {
    let script = is_script(&request);
    upload::discard(request).await;
    if script {
        reply::json(StatusCode::UNAUTHORIZED, &json!({"error": "session expired"}))
    } else {
        reply::see_other("/login?expired=1")
    }
}

/// Whether the request was made by a script, which wants JSON and cannot follow a redirect to a form.
fn is_script(request: &Request<Incoming>) -> bool {
    request.headers().contains_key("x-requested-with")
        || request.uri().path().starts_with("/api/")
        || wants_json(request.headers())
}

/// Whether the client asked for JSON by name.
fn wants_json(headers: &HeaderMap) -> bool {
    text(headers, &ACCEPT).is_some_and(|accept| accept.contains("application/json"))
}

/// The value of our cookie, from whichever `Cookie` header has it.
fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|value| form::cookie(value, session::COOKIE))
        .map(str::to_owned)
}

/// A header as text, where it is text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a request of this method has no body worth waiting for.
fn is_bodyless(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
