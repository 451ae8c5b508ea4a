//! An operator follows one user for a while: the requests and logins of that user, and of nobody else, in a file.
//!
//! Invariants: secrets are in no line: of cookies, credentials and parameters only the names; a trace ends by itself, by
//! time or by size; there are few at once; while there is none, a request costs one load of an atomic.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use doorward_wire::{cookie::cookie_pairs, form};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use serde_json::{Value as Json, json};

use crate::files::{Lines, Manner};
use crate::log::access::Line;
use crate::session::Session;
use crate::times::{seconds_now, since_1970};
use crate::tries::Record;

/// Traces at once.
const MOST: usize = 4;
/// A trace lasts no longer.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// Bytes of one.
const SIZE: u64 = 64 << 20;
/// Bytes of a value of a header.
const VALUE: usize = 1024;
/// Attempts to log in whose requests are still under way.
const ATTEMPTS: usize = 16;

/// All traces. Part of State.
#[derive(Default)]
pub struct UserTraces {
    on: AtomicBool,
    all: ArcSwap<Vec<Arc<UserTrace>>>,
    /// Held by who begins or ends one.
    changes: Mutex<u64>,
}

/// One user who is followed.
struct UserTrace {
    number: u64,
    user: String,
    lines: Lines,
    written: AtomicU64,
    /// Requests that tried to log in as the user, whose sessions are none.
    attempts: Mutex<VecDeque<String>>,
}

/// Why a trace did not begin.
#[derive(Debug, thiserror::Error)]
pub enum NoTrace {
    /// There are as many as may be.
    #[error("{MOST} users are followed already")]
    TooMany,
    /// The file cannot be written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

impl UserTraces {
    /// Begins one; its number and its file.
    ///
    /// # Errors
    /// There are too many, or the file cannot be written.
    pub fn begin(&self, user: &str, time: Duration, folder: &Path) -> Result<(u64, PathBuf), NoTrace> {
        let mut last = self.changes();
        let all = self.all.load();
        if all.len() >= MOST {
            return Err(NoTrace::TooMany);
        }
        *last += 1;
        let now = seconds_now();
        let path = folder.join(format!("trace-{now}-{last}.jsonl"));
        let lost = |lines| format!("{}\n", json!({"lost": lines})).into_bytes();
        let manner = Manner { name: "trace".to_owned(), gather: Duration::from_millis(10), lost: Box::new(lost) };
        let failed = |error| NoTrace::File { path: path.clone(), error };
        let trace = UserTrace {
            number: *last,
            user: user.to_owned(),
            lines: Lines::to_file(&path, manner).map_err(failed)?,
            written: AtomicU64::new(0),
            attempts: Mutex::default(),
        };
        trace.write(&json!({"trace": user, "begins": now, "seconds": time.as_secs()}));
        let next = all.iter().cloned().chain([Arc::new(trace)]).collect();
        self.all.store(Arc::new(next));
        self.on.store(true, Ordering::Relaxed);
        Ok((*last, path))
    }

    /// Ends those that are meant; how many that were.
    fn end(&self, meant: impl Fn(&UserTrace) -> bool) -> usize {
        let _changes = self.changes();
        let all = self.all.load();
        let (ended, stay): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|trace| meant(trace));
        self.on.store(!stay.is_empty(), Ordering::Relaxed);
        self.all.store(Arc::new(stay));
        for trace in &ended {
            trace.write(&json!({"trace": trace.user, "ends": since_1970(SystemTime::now()).as_secs_f64()}));
            tracing::info!(user = trace.user, "a user is not followed any more");
        }
        ended.len()
    }

    /// Ends the one of this number, if it has not ended.
    pub fn end_number(&self, number: u64) -> usize {
        self.end(|trace| trace.number == number)
    }

    /// Ends those of a user.
    pub fn end_user(&self, user: &str) -> usize {
        self.end(|trace| trace.user == user)
    }

    /// An attempt to log in has ended.
    pub(super) fn login(&self, record: &Record, shown: impl Fn() -> Json) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let typed = Record::folded(&record.typed);
        let is_meant = |trace: &&Arc<UserTrace>| record.user.as_ref() == Some(&trace.user) || typed == trace.user;
        for trace in self.all.load().iter().filter(is_meant) {
            let mut attempts = trace.attempts();
            attempts.truncate(ATTEMPTS - 1);
            attempts.push_front(record.id.to_string());
            drop(attempts);
            trace.write(&json!({"login": shown()}));
        }
    }

    /// An exchange has ended.
    #[inline]
    pub(super) fn exchange(&self, line: &Line) {
        if self.on.load(Ordering::Relaxed) {
            self.exchange_of_somebody(line);
        }
    }

    #[cold]
    fn exchange_of_somebody(&self, line: &Line) {
        for trace in self.all.load().iter() {
            let is_meant = match &line.session {
                Some(session) => session.user() == trace.user,
                None => trace.attempts().iter().any(|id| id == line.id.as_str()),
            };
            if is_meant {
                trace.write(&json!({"request": of_line(line)}));
            }
        }
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UserTrace {
    fn write(&self, line: &Json) {
        let line = format!("{line}\n");
        let before = self.written.fetch_add(line.len() as u64, Ordering::Relaxed);
        if before < SIZE {
            self.lines.push(line.as_bytes());
        }
    }

    fn attempts(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_line(line: &Line) -> Json {
    let head = line.head();
    let query = head.and_then(|head| head.uri.query()).map(|query| {
        // Without a `=` it may be a value.
        let named = query.split('&').filter(|one| one.contains('='));
        let names = named.flat_map(|one| form::read(one.as_bytes())).map(|(name, _)| name);
        names.collect::<Vec<_>>()
    });
    let mut json = line.to_json();
    json["time"] = json!(since_1970(SystemTime::now()).as_secs_f64());
    json["parameters"] = json!(query);
    json["headers"] = json!(head.map(|head| of_headers(&head.headers)));
    json["session"] = json!(line.session.as_deref().map(Session::id));
    json
}

/// Headers whose values open nothing. Of all others only the name is written: what could be a secret has no end.
const HARMLESS: [&str; 35] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "depth",
    "dnt",
    "expect",
    "host",
    "if-modified-since",
    "if-unmodified-since",
    "keep-alive",
    "ms-asprotocolversion",
    "origin",
    "overwrite",
    "pragma",
    "priority",
    "range",
    "te",
    "timeout",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-requested-with",
];

/// Headers in their order, without what opens anything.
fn of_headers(headers: &HeaderMap) -> Json {
    headers.iter().map(|(name, value)| json!([name.as_str(), of_header(name, value)])).collect()
}

fn of_header(name: &HeaderName, value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    if *name == COOKIE {
        let pairs = cookie_pairs(value.as_bytes());
        let names = pairs.map(|pair| {
            memchr::memchr(b'=', pair).map_or_else(String::new, |at| String::from_utf8_lossy(&pair[..at]).into_owned())
        });
        return names.map(|name| format!("{name}=…")).collect::<Vec<_>>().join("; ");
    }
    if *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION {
        let known = ["Basic", "Bearer", "Digest", "Negotiate", "NTLM"];
        let scheme = text.split_once(' ').map_or("", |(word, _)| word);
        let scheme = known.into_iter().find(|one| one.eq_ignore_ascii_case(scheme));
        return scheme.map_or_else(|| "…".to_owned(), |scheme| format!("{scheme} …"));
    }
    let (word, is_page) = (name.as_str(), matches!(name.as_str(), "referer" | "destination"));
    let is_harmless = HARMLESS.contains(&word) || word.starts_with("sec-fetch-") || word.starts_with("sec-ch-");
    if !is_page && !is_harmless {
        return "…".to_owned();
    }
    // Addresses of pages have parameters, too.
    let text =
        if is_page { text.split(['?', '#', ';']).next().unwrap_or_default().to_owned() } else { text.into_owned() };
    text[..text.floor_char_boundary(VALUE)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_something_is_in_no_line() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "doorward=SECRET; sid=SECRET"),
            ("authorization", "Basic SECRET"),
            ("x-csrf-token", "SECRET"),
            ("x-api-key", "SECRET"),
            ("sec-websocket-key", "SECRET"),
            ("sec-websocket-protocol", "bearer, SECRET"),
            ("cf-access-jwt-assertion", "SECRET"),
            ("x-original-url", "/x?token=SECRET"),
            ("cookie", "SECRET"),
            ("authorization", "SECRET"),
            ("referer", "https://a.test/x?token=SECRET#SECRET"),
            ("accept", "text/html"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let text = of_headers(&headers).to_string();
        assert!(!text.contains("SECRET"), "{text}");
        for kept in ["doorward=…; sid=…", "Basic …", "https://a.test/x", "text/html", "x-csrf-token"] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }

    #[test]
    fn few_are_followed_at_once_and_each_ends() {
        let folder = std::env::temp_dir().join(format!("doorward-traces-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let traces = UserTraces::default();
        let begin = |user: &str| traces.begin(user, Duration::from_secs(9), &folder);
        let (first, path) = begin("alice").unwrap();
        for user in ["bob", "carol", "dave"] {
            begin(user).unwrap();
        }
        assert!(matches!(begin("erin"), Err(NoTrace::TooMany)));
        assert_eq!((traces.end_number(first), traces.end_number(first), traces.end_user("bob")), (1, 0, 1));
        assert!(begin("erin").is_ok() && traces.all.load().len() == 3);
        let missing = traces.begin("zoe", Duration::ZERO, Path::new("/nowhere"));
        assert!(matches!(missing, Err(NoTrace::File { .. })), "a folder that is not there");
        let all: usize = ["carol", "dave", "erin"].iter().map(|user| traces.end_user(user)).sum();
        assert!(all == 3 && !traces.on.load(Ordering::Relaxed));
        drop(traces);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        assert!(text.is_empty() || text.contains("alice") && !text.contains("bob"), "{text}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
