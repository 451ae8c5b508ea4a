//! The one router: what comes at the admin address and at the admin socket, behind the gate.

use std::sync::Arc;
use std::time::Duration;

use doorward_wire::{form, multipart};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONNECTION, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, WWW_AUTHENTICATE};
use hyper::{HeaderMap, Method, Request, StatusCode};

use super::audit::Entry;
use super::call::Answer;
use super::caller::{Caller, Proof, Role};
use super::dispatch::Invocation;
use super::gate::{self, Visitor};
use super::metrics::{FORMAT, Format};
use super::plane::{Connection, Plane};
use super::reply::{Reply, guarded, of_answer, of_kind, see_other};
use super::sessions::fits;
use super::verbs::{self, Kind};
use super::visit::{FIELDS, Pass, Said, Visit};
use super::{console, login};
use crate::config;
use crate::secret::Secret;

/// Bytes of a form without files.
const FORM: usize = 64 << 10;
/// Bytes of one with files: of a component, the largest of which have some 12 MiB.
const FILES: usize = 24 << 20;
/// How long either may take.
const FORM_PATIENCE: Duration = Duration::from_secs(10);
const FILES_PATIENCE: Duration = Duration::from_secs(120);

/// Answers somebody at the admin socket. Its mode lets in its owner, and root: they may do everything.
pub(super) async fn answer_socket(plane: &Arc<Plane>, uid: u32, request: Request<Incoming>) -> Reply {
    let caller = Caller { proof: Proof::Socket(uid), role: Role::Admin, from: None };
    let name = request.uri().path().trim_start_matches('/').to_owned();
    guarded(invoke(plane, caller, &name, request).await)
}

/// Answers somebody at the admin address.
pub(super) async fn answer(plane: &Arc<Plane>, connection: &Connection, request: Request<Incoming>) -> Reply {
    guarded(behind_the_host(plane, connection, request).await)
}

/// The host first, whatever is asked for: a name that leads here by somebody else's will reads nothing.
async fn behind_the_host(plane: &Arc<Plane>, connection: &Connection, request: Request<Incoming>) -> Reply {
    let snapshot = plane.snapshot();
    let admin = &snapshot.admin;
    let Some(host) = gate::host(&admin.hosts, request.headers(), request.uri()).map(str::to_owned) else {
        let why = "no such host is answered here: [admin] hosts has those that are\n";
        plane.dispatcher.note(refused(connection, "host", "a foreign host")).await;
        return of_kind(StatusCode::MISDIRECTED_REQUEST, TEXT, why);
    };
    let is_look = [Method::GET, Method::HEAD].contains(request.method());
    if !is_look && request.method() != Method::POST {
        let mut reply = of_kind(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET and POST only\n");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        return reply;
    }
    match request.uri().path() {
        "/live" if is_look => of_kind(StatusCode::OK, TEXT, "ok\n"),
        "/ready" if is_look => ready(plane),
        "/metrics" if is_look => match gate::scraper(admin, connection) {
            Some(caller) => invoke(plane, caller, "metrics", request).await,
            None => api(plane, admin, (connection, &host), "metrics", request).await,
        },
        path => {
            match (path.strip_prefix("/api/").map(str::to_owned), is_look.then(|| console::asset(path)).flatten()) {
                (Some(name), _) => api(plane, admin, (connection, &host), &name, request).await,
                (None, Some(asset)) => asset,
                (None, None) => page(plane, admin, (connection, &host), request).await,
            }
        }
    }
}

/// The kind of plain texts.
const TEXT: &str = "text/plain; charset=utf-8";

fn ready(plane: &Plane) -> Reply {
    match plane.control().generations().proxy().is_accepting() {
        true => of_kind(StatusCode::OK, TEXT, "ok\n"),
        false => of_kind(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not accepting\n"),
    }
}

/// A line of somebody who was not let in.
fn refused(connection: &Connection, verb: &str, why: &str) -> Entry {
    Entry::stranger(connection.address, verb).with("outcome", "refused").with("error", why)
}

/// The API: what programs ask, with a token or a certificate of their own.
async fn api(
    plane: &Arc<Plane>,
    admin: &config::Admin,
    (connection, host): (&Connection, &str),
    name: &str,
    request: Request<Incoming>,
) -> Reply {
    let caller = match gate::program(plane, admin, connection, request.headers()) {
        Ok(caller) => caller,
        Err(shown) => {
            if shown || request.method() == Method::POST {
                let why = if shown { "no such token" } else { "no token" };
                plane.dispatcher.note(refused(connection, name, why)).await;
            }
            let mut reply = of_answer(Answer::refused(StatusCode::UNAUTHORIZED, "a token is needed"));
            reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return reply;
        }
    };
    // A browser sends certificates by itself, to whoever's page asks it to.
    if !gate::is_no_foreign_page(request.headers(), connection, host) {
        let entry = Entry::of(&caller, name).with("outcome", "refused").with("error", "a page of another origin");
        plane.dispatcher.note(entry).await;
        return of_answer(Answer::refused(StatusCode::FORBIDDEN, "no page of another origin asks here"));
    }
    invoke(plane, caller, name, request).await
}

/// Compares a request of a program with the table, and does what it asks for.
async fn invoke(plane: &Arc<Plane>, caller: Caller, name: &str, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let is_look = head.method == Method::HEAD || head.method == Method::GET;
    let kind = if is_look { Kind::Look } else { Kind::Change };
    let Some(verb) = verbs::find(name).filter(|verb| verb.kind == kind) else {
        return of_answer(Answer::refused(StatusCode::NOT_FOUND, "there is nothing at this address"));
    };
    let Ok(expected) = expected(&head.headers) else {
        return of_answer(Answer::refused(StatusCode::BAD_REQUEST, "If-Match takes the number of one generation"));
    };
    // Who may not do it sends nothing either, and of what is large one at a time is held.
    let most = if caller.role < verb.role { 0 } else { verb.body };
    let large = most > FORM;
    let Ok(_one) = (if large { plane.uploads.try_acquire().map(Some) } else { Ok(None) }) else {
        return of_answer(Answer::refused(StatusCode::SERVICE_UNAVAILABLE, "another file is being sent"));
    };
    let body = match read(body, most, if large { FILES_PATIENCE } else { FORM_PATIENCE }).await {
        Ok(body) => body,
        Err(_) if caller.role < verb.role => Bytes::new(),
        Err(status) => {
            let why = "what was sent with it does not come, or is too large";
            return of_answer(Answer::refused(status, why));
        }
    };
    let mut parameters = form::read(head.uri.query().unwrap_or_default().as_bytes());
    if verb.takes(FORMAT) && !parameters.iter().any(|(name, _)| name == FORMAT) {
        let accept = head.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        parameters.push((FORMAT.to_owned(), Format::of(accept).name().to_owned()));
    }
    let wanted = Invocation { caller, verb, parameters, body, expected, confirmed: true };
    let mut reply = of_answer(plane.dispatcher.run(wanted).await);
    let generation = plane.control().generations().generation();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{generation}\"")) {
        reply.headers_mut().insert(ETAG, tag);
    }
    reply
}

/// The generation that somebody saw.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let Some(written) = headers.get(IF_MATCH) else { return Ok(None) };
    let number = written.to_str().map_err(|_| ())?.trim().trim_matches('"');
    number.parse().map(Some).map_err(|_| ())
}

/// All of a body, if it is no larger and comes in time.
async fn read(body: Incoming, most: usize, patience: Duration) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(patience, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// A login that is begun counts, and is told of, also where its client leaves before the end.
async fn log_in(plane: Arc<Plane>, admin: config::Admin, connection: Connection, form: Vec<(String, String)>) -> Reply {
    let login = async move { login::log_in(&plane, &admin, &connection, form).await };
    let no_end = |_| of_kind(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "it came to no end\n");
    tokio::task::spawn_local(login).await.unwrap_or_else(no_end)
}

/// The page.
async fn page(
    plane: &Arc<Plane>,
    admin: &config::Admin,
    (connection, host): (&Connection, &str),
    request: Request<Incoming>,
) -> Reply {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = form::read(head.uri.query().unwrap_or_default().as_bytes());
    let is_form = head.method == Method::POST;
    let ours = !is_form || gate::is_our_form(&head.headers, connection, host);
    if is_form && ours && path == "/login" {
        return match read_form(plane, &head.headers, body, false).await {
            Ok((form, _)) => log_in(plane.clone(), admin.clone(), connection.clone(), form).await,
            Err(status) => of_kind(status, TEXT, "this form cannot be read\n"),
        };
    }
    let Some(visitor) = gate::visitor(plane, admin, connection, &head.headers) else {
        if is_form {
            let why = if ours { "a form without a login" } else { "a form of another origin" };
            plane.dispatcher.note(refused(connection, &path, why)).await;
        }
        let next = head.uri.path_and_query().filter(|_| !is_form && path != "/login").map_or("/", |next| next.as_str());
        return console::login(StatusCode::UNAUTHORIZED, &console::Login { failed: None, next });
    };
    let pass = Pass {
        plane: plane.clone(),
        account: visitor.account.clone(),
        key: visitor.key,
        lifetimes: Plane::lifetimes(admin),
    };
    let mut visit = Visit {
        caller: visitor.caller.clone(),
        is_form,
        path,
        query,
        form: Vec::new(),
        files: Vec::new(),
        token: visitor.token.clone(),
        said: Said::default(),
        pass,
    };
    if !is_form {
        return if visit.path == "/login" { see_other("/") } else { console::answer(visit).await };
    }
    if !ours {
        return not_ours(plane, &visit, "a form of another origin").await;
    }
    let (form, files) = match read_form(plane, &head.headers, body, visitor.caller.role == Role::Admin).await {
        Ok(read) => read,
        Err(status) => return of_kind(status, TEXT, "this form cannot be read\n"),
    };
    let field = |name: &str| form.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    if !field(FIELDS[0]).is_some_and(|token| fits(&visitor.token, token)) {
        return not_ours(plane, &visit, "a form without its session's token").await;
    }
    if visit.path == "/logout" {
        plane.dispatcher.note(Entry::of(&visit.caller, "logout").with("outcome", "done")).await;
        return login::log_out(plane, connection, visitor.key.as_ref());
    }
    visit.said.generation = field(FIELDS[2]).and_then(|number| number.parse().ok());
    let password = field(FIELDS[1]).map(|password| Secret::new(password.to_owned()));
    visit.said.confirmed = match confirm(plane, admin, connection, &visitor, password).await {
        Ok(confirmed) => confirmed,
        Err(reply) => return reply,
    };
    visit.form = form.into_iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())).collect();
    visit.files = files;
    act(visit).await
}

/// The field of a form that is what a verb is sent, where that takes anything: no parameter, for it may be a password.
const BODY: &str = "body";

/// What a form asks for: a verb by its name, or what the console makes of it.
async fn act(mut visit: Visit) -> Reply {
    let Some(verb) = visit.path.strip_prefix("/do/").and_then(verbs::find).filter(|verb| verb.kind == Kind::Change)
    else {
        return console::answer(visit).await;
    };
    let mut body = visit.files.first().cloned();
    if verb.body > 0 {
        let (of_body, fields): (Vec<_>, Vec<_>) = visit.form.into_iter().partition(|(name, _)| name == BODY);
        visit.form = fields;
        body = body.or_else(|| of_body.into_iter().next().map(|(_, text)| text.into()));
    }
    let body = body.unwrap_or_default();
    if body.len() > verb.body {
        return of_answer(Answer::refused(StatusCode::PAYLOAD_TOO_LARGE, "what was sent with it is too large"));
    }
    let parameters: Vec<(&str, &str)> =
        visit.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = visit.change(verb.name, &parameters, body).await;
    console::outcome(&visit, verb, &answer)
}

/// A form that nobody of us made. It changes nothing.
async fn not_ours(plane: &Plane, visit: &Visit, why: &str) -> Reply {
    let entry = Entry::of(&visit.caller, &visit.path).with("outcome", "refused").with("error", why);
    plane.dispatcher.note(entry).await;
    of_kind(StatusCode::FORBIDDEN, TEXT, format!("This is {why}. Nothing was changed.\n"))
}

/// Whether somebody has proved of late who he is, by the password of this form where there is one.
async fn confirm(
    plane: &Plane,
    admin: &config::Admin,
    connection: &Connection,
    visitor: &Visitor,
    password: Option<Secret>,
) -> Result<bool, Reply> {
    let Some(password) = password.filter(|password| !visitor.fresh && !password.expose().is_empty()) else {
        return Ok(visitor.fresh);
    };
    match login::prove(plane, admin, connection, (&visitor.account.name, password)).await {
        Ok(_) => {
            if let Some(key) = &visitor.key {
                plane.sessions.proved(key, std::time::Instant::now());
            }
            Ok(true)
        }
        Err(why) => {
            let entry = Entry::of(&visitor.caller, "confirm").with("outcome", "refused").with("error", why.name());
            plane.dispatcher.note(entry).await;
            Err(of_kind(
                StatusCode::FORBIDDEN,
                TEXT,
                "The password is wrong, or was not looked at. Nothing was changed.\n",
            ))
        }
    }
}

/// The fields and files of a form.
type Form = (Vec<(String, String)>, Vec<Bytes>);

/// Reads a form; one with files only from somebody who may send them.
async fn read_form(plane: &Plane, headers: &HeaderMap, body: Incoming, with_files: bool) -> Result<Form, StatusCode> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(boundary) = multipart::boundary(kind) else {
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
        {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        return Ok((form::read(&read(body, FORM, FORM_PATIENCE).await?), Vec::new()));
    };
    if !with_files {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let _one = plane.uploads.try_acquire().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let body = read(body, FILES, FILES_PATIENCE).await?;
    parts(&boundary, &body).ok_or(StatusCode::BAD_REQUEST)
}

/// What a form with files has.
fn parts(boundary: &str, body: &[u8]) -> Option<Form> {
    let mut all: Vec<(String, String, Vec<u8>)> = Vec::new();
    let mut parser = multipart::Parser::new(boundary);
    let mut found = |event: multipart::Event<'_>| match event {
        multipart::Event::Part { field, file } => all.push((field, file, Vec::new())),
        multipart::Event::Data(data) => {
            if let Some((_, _, bytes)) = all.last_mut() {
                bytes.extend_from_slice(data);
            }
        }
    };
    parser.push(body, &mut found).ok()?;
    if !parser.is_done() {
        return None;
    }
    let (files, fields): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, file, _)| !file.is_empty());
    let fields = fields.into_iter().map(|(field, _, bytes)| (field, String::from_utf8_lossy(&bytes).into_owned()));
    Some((fields.collect(), files.into_iter().map(|(_, _, bytes)| bytes.into()).collect()))
}

/// Says that a connection ends with this answer.
pub(super) fn last(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}
