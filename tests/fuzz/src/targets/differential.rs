//! Requests of HTTP/1.1 beside httparse and hyper: what we take, they read alike, but for the [`DIFFERENCES`].

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use doorward_wire::http1::{Framing, Head, Limits, Reader};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, duplex};

use super::heads::read_chunks;

const LIMITS: Limits = Limits { uri: 1024, headers: 2048, count: 40 };

/// What one side understood of a request.
#[derive(Debug, PartialEq, Eq)]
struct Understood {
    method: String,
    target: String,
    modern: bool,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

/// The body of a request.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    Whole(Vec<u8>),
    Unfinished,
    Broken,
}

/// A difference that is meant: what of our reading it is about.
struct Difference {
    reason: &'static str,
    is_it: fn(ours: &Understood, theirs: Option<&Understood>) -> bool,
}

/// Where hyper reads something else than we do, and why that does no harm.
const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "a target that is no URI to the crate http: we refuse it a step later, when the request is made of the head",
        is_it: |ours, theirs| theirs.is_none() && ours.target.parse::<hyper::Uri>().is_err(),
    },
    Difference {
        reason: "a chunk that breaks our body: we end the connection there, whatever others make of it",
        is_it: |ours, theirs| ours.body == Body::Broken && theirs.is_some_and(|theirs| alike(ours, theirs)),
    },
];

/// Whether heads are read alike. hyper has a URI where we have its text: scheme and host are in lower case there.
fn alike(ours: &Understood, theirs: &Understood) -> bool {
    let target = ours.target.parse::<hyper::Uri>().map_or_else(|_| ours.target.clone(), |uri| uri.to_string());
    let head = |of: &Understood| (of.method.clone(), of.modern, of.headers.clone());
    head(ours) == head(theirs) && theirs.target == target
}

/// What we take is read alike by the others.
pub(super) fn requests(data: &[u8]) {
    let Ok(Some(head)) = Reader::default().read(data, &LIMITS) else { return };
    let ours = ours(data, &head);
    check_httparse(data, &head, &ours);
    let theirs = hypers(data);
    let same = theirs.as_ref().is_some_and(|theirs| alike(&ours, theirs) && theirs.body == ours.body);
    if !same && !DIFFERENCES.iter().any(|difference| (difference.is_it)(&ours, theirs.as_ref())) {
        let known: Vec<&str> = DIFFERENCES.iter().map(|difference| difference.reason).collect();
        panic!("we read {ours:?}\nhyper {theirs:?}\nand that is none of {known:#?}");
    }
}

fn ours(data: &[u8], head: &Head) -> Understood {
    let text = |place: &std::ops::Range<usize>| String::from_utf8_lossy(&data[place.clone()]).into_owned();
    let rest = &data[head.length..];
    let body = match head.framing {
        Framing::None => Body::Whole(Vec::new()),
        Framing::Length(length) => {
            let whole = usize::try_from(length).ok().and_then(|length| rest.get(..length));
            whole.map_or(Body::Unfinished, |body| Body::Whole(body.to_vec()))
        }
        Framing::Chunked => match read_chunks(rest, [rest.len()]) {
            super::heads::Body { ended: Some(_), data, .. } => Body::Whole(data),
            super::heads::Body { broken: Some(_), .. } => Body::Broken,
            _ => Body::Unfinished,
        },
        Framing::Close => panic!("a request has a length"),
    };
    let header = |(name, value): &(std::ops::Range<usize>, std::ops::Range<usize>)| {
        (text(name).to_ascii_lowercase(), data[value.clone()].to_vec())
    };
    let headers = sorted(head.places.headers.iter().map(header));
    Understood {
        method: text(&head.places.method),
        target: text(&head.places.target),
        modern: head.places.modern,
        headers,
        body,
    }
}

fn check_httparse(data: &[u8], head: &Head, ours: &Understood) {
    let mut room = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut room);
    let outcome = parsed.parse(data);
    assert_eq!(outcome, Ok(httparse::Status::Complete(head.length)), "{ours:?}");
    assert_eq!(parsed.method, Some(ours.method.as_str()));
    assert_eq!(parsed.path, Some(ours.target.as_str()));
    assert_eq!(parsed.version, Some(u8::from(ours.modern)));
    let header = |header: &httparse::Header<'_>| (header.name.to_ascii_lowercase(), header.value.to_vec());
    assert_eq!(sorted(parsed.headers.iter().map(header)), ours.headers);
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
}

/// What hyper's server understands; none where it asks its service for nothing.
fn hypers(data: &[u8]) -> Option<Understood> {
    let seen: Arc<Mutex<Vec<Understood>>> = Arc::default();
    RUNTIME.with(|runtime| runtime.block_on(serve(data, seen.clone())));
    let mut seen = seen.lock().expect("nobody panicked");
    (!seen.is_empty()).then(|| seen.swap_remove(0))
}

async fn serve(data: &[u8], seen: Arc<Mutex<Vec<Understood>>>) {
    let (mut client, server) = duplex(64 << 10);
    client.write_all(data).await.expect("there is room");
    client.shutdown().await.expect("an end");
    let service = service_fn(|request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            // Only the first one: what follows is another request.
            let is_first = seen.lock().expect("nobody panicked").is_empty();
            let (parts, body) = request.into_parts();
            if is_first {
                seen.lock().expect("nobody panicked").push(understood(&parts));
            }
            let body = body.collect().await;
            if is_first && let Some(first) = seen.lock().expect("nobody panicked").first_mut() {
                first.body = body.map_or(Body::Unfinished, |body| Body::Whole(body.to_bytes().to_vec()));
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    // It has no error of its own for what comes after the first request.
    let _ = builder.half_close(true).serve_connection(TokioIo::new(server), service).await;
}

fn understood(parts: &hyper::http::request::Parts) -> Understood {
    assert_ne!(parts.method, Method::CONNECT);
    let headers =
        sorted(parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())));
    Understood {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        modern: parts.version == Version::HTTP_11,
        headers,
        body: Body::Unfinished,
    }
}

/// Headers by name; those of one name stay in their order.
fn sorted(headers: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut headers: Vec<_> = headers.collect();
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers
}
