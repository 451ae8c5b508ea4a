//! The admin socket: HTTP/1.1 on a Unix socket that only its owner reaches, for `doorward ctl` and for `curl`.
//!
//! ```text
//! GET  /status                    what is live, and how each policy does, as JSON
//! GET  /metrics                   the same for Prometheus
//! POST /reload                    reads the configuration again
//! POST /rollback?generation=7     an earlier generation is live again; without a number, the last one
//! POST /upgrade                   the program on disk takes over
//! POST /purge-routes?user=alice    forgets which back-end a user is on; without one, which all are
//! POST /lift?digest=sha256:…      lifts a quarantine
//! POST /revoke?user=alice         ends sessions: ?user=, ?session= (an id of the log), or ?all
//! ```

mod metrics;
mod status;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value as Json, json};
use tokio::net::UnixListener as Listening;
use tokio::sync::{mpsc, oneshot};

use crate::directory::Shrink;
use crate::proxy::{Error, Proxy, Reloaded};
use crate::session::{self, Revocation};
use crate::text;
use crate::unix;

/// Who asks has to write a head of some hundred bytes; nobody may hold the socket for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said to those who wait when it does not come to that.
const ENDING: &str = "this process is ending, and does nothing more; ask again, in case another one takes its place";

/// The socket's mode: who may ask, may do anything.
const MODE: u32 = 0o600;

/// What somebody asks for, and waits for the outcome of.
pub enum Wish {
    /// A reload: what came of it; and whether lists of users may lose most of their entries.
    Reload(oneshot::Sender<Result<Reloaded, Error>>, Shrink),
    /// An upgrade: the number of the process that serves then.
    Upgrade(oneshot::Sender<Result<u32, Error>>),
}

/// A bound socket, whose file goes when it is dropped.
pub struct Socket {
    listener: std::os::unix::net::UnixListener,
    _file: unix::File,
}

impl Socket {
    /// Binds the socket. One that a process left behind is replaced; one that somebody listens on is not.
    ///
    /// # Errors
    /// Somebody listens there, or the folder cannot be written.
    pub fn bind(path: &Path) -> std::io::Result<Self> {
        // Only its owner may reach it.
        let (listener, file) = unix::bind(path, MODE)?;
        Ok(Self { listener, _file: file })
    }

    /// A socket that will have this name, in the place of the one of the process that this one takes over from.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn prepare(path: &Path) -> std::io::Result<unix::Prepared> {
        unix::prepare(path, MODE)
    }

    /// The socket that was prepared, under its name.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn of(prepared: unix::Prepared) -> std::io::Result<Self> {
        let (listener, file) = prepared.name()?;
        Ok(Self { listener, _file: file })
    }

    /// Serves whoever comes.
    pub async fn serve(self, proxy: Arc<Proxy>, wishes: mpsc::Sender<Wish>) {
        let listening = match self.listener.try_clone().and_then(Listening::from_std) {
            Ok(listening) => listening,
            Err(error) => return tracing::error!(%error, "the admin socket cannot be served"),
        };
        loop {
            let stream = match listening.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (proxy, wishes) = (proxy.clone(), wishes.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let (proxy, wishes) = (proxy.clone(), wishes.clone());
                    async move { Ok::<_, Infallible>(answer(&proxy, &wishes, &request).await) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }
}

async fn answer(proxy: &Arc<Proxy>, wishes: &mpsc::Sender<Wish>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let query = text::form_fields(request.uri().query().unwrap_or_default().as_bytes());
    let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => told(StatusCode::OK, &status::status(proxy)),
        (&Method::GET, "/metrics") => {
            let mut response = Response::new(Full::from(metrics::metrics(proxy)));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        (&Method::POST, "/reload") => {
            let (done, outcome) = oneshot::channel();
            let shrink = parameter("accept-shrink").map_or(Shrink::Refused, |_| Shrink::Accepted);
            match (wishes.send(Wish::Reload(done, shrink)).await, outcome.await) {
                (Ok(()), Ok(outcome)) => live(outcome.map(|reloaded| reload_done(proxy, reloaded))),
                _ => told(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": ENDING})),
            }
        }
        (&Method::POST, "/upgrade") => {
            let (done, outcome) = oneshot::channel();
            match (wishes.send(Wish::Upgrade(done)).await, outcome.await) {
                (Ok(()), Ok(Ok(process))) => told(StatusCode::OK, &json!({"pid": process})),
                (Ok(()), Ok(Err(error))) => {
                    let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
                    told(StatusCode::CONFLICT, &json!({"error": format!("{error}{why}")}))
                }
                _ => told(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": ENDING})),
            }
        }
        (&Method::POST, "/rollback") => match parameter("generation").map(str::parse::<u64>).transpose() {
            Ok(to) => live(proxy.roll_back(to).map(|generation| json!({"generation": generation}))),
            Err(_) => told(StatusCode::BAD_REQUEST, &json!({"error": "generation is no number"})),
        },
        (&Method::POST, "/purge-routes") => {
            let directory = &proxy.shared().live.load().directory;
            let name = parameter("user").map(|typed| directory.canonical(typed).unwrap_or_default());
            told(StatusCode::OK, &json!({"purged": directory.purge(name.as_deref())}))
        }
        (&Method::POST, "/lift") => match parameter("digest") {
            Some(digest) if lift(proxy, digest).await => {
                tracing::warn!(digest, "a quarantine is lifted");
                told(StatusCode::OK, &json!({"lifted": digest}))
            }
            _ => told(StatusCode::NOT_FOUND, &json!({"error": "no such digest is under quarantine"})),
        },
        (&Method::POST, "/revoke") => {
            let what = match (parameter("session"), parameter("user"), parameter("all")) {
                (Some(id), None, None) => session::parse_id(id).map(Revocation::Session),
                (None, Some(user), None) if !user.trim().is_empty() => Some(Revocation::User(user.to_owned())),
                (None, None, Some(_)) => Some(Revocation::All),
                _ => None,
            };
            match what {
                Some(what) => revoke(proxy, what).await,
                None => {
                    told(StatusCode::BAD_REQUEST, &json!({"error": "one of user, all, and session with 32 digits"}))
                }
            }
        }
        _ => told(StatusCode::NOT_FOUND, &json!({"error": "there is nothing at this address"})),
    }
}

/// What waits for a disk does it where no signal waits behind it.
async fn revoke(proxy: &Arc<Proxy>, what: Revocation) -> Response<Full<Bytes>> {
    let shared = proxy.shared().clone();
    let lifetime = shared.live.load().sessions.lifetime();
    match &what {
        Revocation::Session(id) => tracing::warn!(session = session::hex(id), "a session is revoked"),
        Revocation::User(user) => tracing::warn!(user, "all sessions of a user are revoked"),
        Revocation::All => tracing::warn!("all sessions of all users are revoked"),
    }
    let revoked = tokio::task::spawn_blocking(move || shared.state.revoked.revoke(&what, lifetime)).await;
    match revoked.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(()) => told(StatusCode::OK, &json!({"revoked": true})),
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            told(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()}))
        }
        Err(error) => {
            let error = format!("revoked, but not kept over a restart yet: {error}; it is tried again");
            told(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error}))
        }
    }
}

async fn lift(proxy: &Arc<Proxy>, digest: &str) -> bool {
    let (shared, digest) = (proxy.shared().clone(), digest.to_owned());
    tokio::task::spawn_blocking(move || shared.desk.quarantine.lift(&digest)).await.unwrap_or(false)
}

/// A reload that was not refused, with the warnings of what is live then.
fn reload_done(proxy: &Proxy, reloaded: Reloaded) -> Json {
    let mut done = json!({"generation": reloaded.generation, "changed": reloaded.changed});
    let snapshot = proxy.shared().live.load();
    if !snapshot.warnings.is_empty() {
        done["warnings"] = snapshot.warnings.iter().map(ToString::to_string).collect();
    }
    done
}

/// What came of a change.
fn live(outcome: Result<Json, Error>) -> Response<Full<Bytes>> {
    match outcome {
        Ok(done) => told(StatusCode::OK, &done),
        Err(Error::Faults(faults)) => {
            told(StatusCode::UNPROCESSABLE_ENTITY, &json!({"error": faults.to_string(), "faults": faults.0}))
        }
        Err(error) => told(StatusCode::CONFLICT, &json!({"error": error.to_string()})),
    }
}

fn told(status: StatusCode, json: &Json) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{json}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
