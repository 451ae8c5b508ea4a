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
use std::time::Duration;

use doorward_wire::form;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value as Json, json};
use tokio::net::UnixListener as Listening;

use crate::control::{Generations, Handle, Reloaded};
use crate::directory::Shrink;
use crate::proxy::Error;
use crate::session::{self, Revocation};
use crate::unix;

/// Who asks has to write a head of some hundred bytes; nobody may hold the socket for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket's mode: who may ask, may do anything.
const MODE: u32 = 0o600;

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
    pub async fn serve(self, control: Handle) {
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
            let control = control.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let control = control.clone();
                    async move { Ok::<_, Infallible>(answer(&control, &request).await) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }
}

async fn answer(control: &Handle, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let query = form::read(request.uri().query().unwrap_or_default().as_bytes());
    let parameter = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => told(StatusCode::OK, &status::status(control.generations())),
        (&Method::GET, "/metrics") => {
            let mut response = Response::new(Full::from(metrics::metrics(control.generations())));
            let kind = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        (&Method::POST, "/reload") => {
            let shrink = parameter("accept-shrink").map_or(Shrink::Refused, |_| Shrink::Accepted);
            match control.reload(shrink).await {
                Ok(reloaded) => told(StatusCode::OK, &reload_done(control.generations(), reloaded)),
                Err(error) => refused(&error),
            }
        }
        (&Method::POST, "/upgrade") => {
            control.upgrade().await.map_or_else(|error| refused(&error), |process| done("pid", process))
        }
        (&Method::POST, "/rollback") => match parameter("generation").map(str::parse::<u64>).transpose() {
            Ok(to) => {
                let rolled_back = control.roll_back(to).await;
                rolled_back.map_or_else(|error| refused(&error), |generation| done("generation", generation))
            }
            Err(_) => told(StatusCode::BAD_REQUEST, &json!({"error": "generation is no number"})),
        },
        (&Method::POST, "/purge-routes") => {
            let purged = control.purge_routes(parameter("user")).await;
            purged.map_or_else(|error| refused(&error), |purged| done("purged", purged))
        }
        (&Method::POST, "/lift") => lift(control, parameter("digest").unwrap_or_default()).await,
        (&Method::POST, "/revoke") => {
            let what = match (parameter("session"), parameter("user"), parameter("all")) {
                (Some(id), None, None) => session::parse_id(id).map(Revocation::Session),
                (None, Some(user), None) if !user.trim().is_empty() => Some(Revocation::User(user.to_owned())),
                (None, None, Some(_)) => Some(Revocation::All),
                _ => None,
            };
            match what {
                Some(what) => revoke(control, what).await,
                None => {
                    told(StatusCode::BAD_REQUEST, &json!({"error": "one of user, all, and session with 32 digits"}))
                }
            }
        }
        _ => told(StatusCode::NOT_FOUND, &json!({"error": "there is nothing at this address"})),
    }
}

async fn revoke(control: &Handle, what: Revocation) -> Response<Full<Bytes>> {
    match control.revoke(what).await {
        Err(error) => refused(&error),
        Ok(Ok(())) => done("revoked", true),
        Ok(Err(error)) if error.kind() == ErrorKind::InvalidInput => {
            told(StatusCode::BAD_REQUEST, &json!({"error": error.to_string()}))
        }
        Ok(Err(error)) => {
            let error = format!("revoked, but not kept over a restart yet: {error}; it is tried again");
            told(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error}))
        }
    }
}

async fn lift(control: &Handle, digest: &str) -> Response<Full<Bytes>> {
    match control.lift(digest).await {
        Err(error) => refused(&error),
        Ok(true) => done("lifted", digest),
        Ok(false) => told(StatusCode::NOT_FOUND, &json!({"error": "no such digest is under quarantine"})),
    }
}

/// A reload that was not refused, with the warnings of what is live then.
fn reload_done(generations: &Generations, reloaded: Reloaded) -> Json {
    let mut done = json!({"generation": reloaded.generation, "changed": reloaded.changed});
    let snapshot = generations.proxy().shared().live.load();
    if !snapshot.warnings.is_empty() {
        done["warnings"] = snapshot.warnings.iter().map(ToString::to_string).collect();
    }
    done
}

fn done(what: &str, value: impl Into<Json>) -> Response<Full<Bytes>> {
    told(StatusCode::OK, &json!({what: value.into()}))
}

/// Why a command changed nothing.
fn refused(error: &Error) -> Response<Full<Bytes>> {
    match error {
        Error::Faults(faults) => {
            told(StatusCode::UNPROCESSABLE_ENTITY, &json!({"error": faults.to_string(), "faults": faults.0}))
        }
        Error::Ending => told(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": error.to_string()})),
        error => told(StatusCode::CONFLICT, &json!({"error": error.with_source()})),
    }
}

fn told(status: StatusCode, json: &Json) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{json}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
