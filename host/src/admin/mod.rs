//! The admin plane: HTTP/1.1 on a Unix socket that only its owner reaches, for `doorward ctl` and for `curl`.
//!
//! All that can be asked and told is in one table (`verbs`); whatever comes is compared with it in one place, before
//! anything is done.

pub mod call;
pub mod caller;
mod commands;
mod metrics;
mod status;
pub mod verbs;

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use doorward_wire::form;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener as Listening;

use self::call::{Answer, Call, Content};
use self::caller::{Caller, Proof, Role};
use crate::control::Handle;
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
            let Ok(peer) = stream.peer_cred() else { continue };
            // Its mode lets in its owner, and root.
            let caller = Caller { proof: Proof::Socket(peer.uid()), role: Role::Admin, from: None };
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let (control, caller) = (control.clone(), caller.clone());
                    async move { Ok::<_, Infallible>(answer(&control, caller, &request).await) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }
}

/// Compares a request with the table, and does what it asks for.
async fn answer(control: &Handle, caller: Caller, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let name = request.uri().path().trim_start_matches('/');
    let Some(verb) = verbs::find(name).filter(|verb| verb.method() == request.method()) else {
        return response(Answer::refused(StatusCode::NOT_FOUND, "there is nothing at this address"));
    };
    if caller.role < verb.role {
        let why = format!("{} needs the role {}", verb.name, verb.role.name());
        return response(Answer::refused(StatusCode::FORBIDDEN, why));
    }
    let mut parameters = form::read(request.uri().query().unwrap_or_default().as_bytes());
    if verb.takes(metrics::FORMAT) && !parameters.iter().any(|(name, _)| name == metrics::FORMAT) {
        let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        parameters.push((metrics::FORMAT.to_owned(), metrics::Format::of(accept).name().to_owned()));
    }
    if let Some((unknown, _)) = parameters.iter().find(|(name, _)| !verb.takes(name)) {
        let why = format!("{} takes no \"{}\"", verb.name, unknown.escape_debug());
        return response(Answer::refused(StatusCode::BAD_REQUEST, why));
    }
    let call = Call { caller, parameters, body: Bytes::new(), control: control.clone() };
    response((verb.run)(call).await)
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let (kind, body) = match answer.content {
        Content::Json(json) => ("application/json", format!("{json}\n")),
        Content::Text(kind, text) => (kind, text),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
