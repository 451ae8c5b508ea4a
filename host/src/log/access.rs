//! One line for each exchange, whatever happened. A queue takes it, so no worker ever waits for a disk or a reader.
//!
//! Invariants: a line is whole or not there; what found no room is counted.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, Uri};

use crate::config::AccessLog;
use crate::files::{Lines, Manner};
use crate::peer::Peer;
use crate::session::Session;

/// How long the writer lets lines gather: under load it is woken a hundred times a second, not for each line.
const GATHER: Duration = Duration::from_millis(10);

/// What an exchange was. Query strings, cookies and bodies are in no line.
#[derive(Debug)]
pub struct Line {
    /// Request id.
    pub id: Arc<str>,
    /// The client.
    pub peer: Arc<Peer>,
    /// Virtual host, once it is found.
    pub host: Option<Arc<str>>,
    /// Method and target, whose path alone is told; none when it could not be read.
    pub request: Option<(Method, Uri)>,
    /// Status answered; 0 when the client left before.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// The session: its user, and the node that has the mailbox.
    pub session: Option<Arc<Session>>,
    /// Generation of the Snapshot that served it.
    pub generation: u64,
}

/// Where lines are handed over. Cheap to clone.
#[derive(Clone)]
pub struct Log(Option<(Lines, Arc<AtomicU64>)>);

impl Log {
    /// Starts the writer.
    ///
    /// # Errors
    /// The file that cannot be opened.
    pub fn start(target: &AccessLog) -> std::io::Result<Self> {
        let manner = Manner { name: "access-log", gather: GATHER, lost: |lines| Some(format!("lost lines={lines}\n")) };
        let lines = match target {
            AccessLog::Off => return Ok(Self(None)),
            AccessLog::Stderr => super::stderr().cloned().ok_or_else(|| std::io::Error::other("there is none"))?,
            AccessLog::File(path) => Lines::to_file(path, manner)?,
        };
        Ok(Self(Some((lines, Arc::default()))))
    }

    /// Whether anybody reads the lines.
    pub fn on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a line over; never waits. A line that finds no room is counted instead.
    pub fn record(&self, line: &Line) {
        let Some((lines, dropped)) = &self.0 else { return };
        if !lines.push(|bytes| add(bytes, line, SystemTime::now())) {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for what is on its way, no longer than this. For the end, when nobody would come back to it.
    pub fn flush(&self, within: Duration) -> bool {
        self.0.as_ref().is_none_or(|(lines, _)| lines.flush(within))
    }

    /// Opens the file anew.
    pub fn reopen(&self) {
        if let Some((lines, _)) = &self.0 {
            lines.reopen();
        }
    }

    /// Lines that found no room.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |(_, dropped)| dropped.load(Ordering::Relaxed))
    }

    /// Why it cannot be written, if so.
    pub fn trouble(&self) -> Option<String> {
        self.0.as_ref().and_then(|(lines, _)| lines.trouble())
    }
}

thread_local! {
    /// The time of day as text, and its second since 1970: most lines share it.
    static TIME: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

fn add(bytes: &mut Vec<u8>, line: &Line, now: SystemTime) {
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let session = line.session.as_deref();
    TIME.with_borrow_mut(|time| {
        if time.0 != second || time.1.is_empty() {
            *time = (second, httpdate::fmt_http_date(now));
        }
        let _ = write!(bytes, "access time=\"{}\" id={} client={} host=", time.1, line.id, line.peer.address);
    });
    field(bytes, line.host.as_deref().unwrap_or_default());
    let (method, path) = line.request.as_ref().map_or(("", ""), |(method, uri)| (method.as_str(), uri.path()));
    bytes.extend_from_slice(b" method=");
    field(bytes, method);
    bytes.extend_from_slice(b" path=");
    field(bytes, path);
    let _ = write!(bytes, " status={} bytes={} ms={} user=", line.status, line.bytes, line.took.as_millis());
    field(bytes, session.map_or("", Session::user));
    bytes.extend_from_slice(b" node=");
    field(bytes, session.map_or("", Session::backend));
    let _ = writeln!(bytes, " generation={}", line.generation);
}

/// A value that ends at the next blank, whatever a client put into it.
fn field(bytes: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        bytes.push(b'-');
    } else if text.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        bytes.extend_from_slice(text.as_bytes());
    } else {
        let _ = write!(bytes, "{text:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line {
        let address = "192.0.2.1:7".parse().unwrap();
        Line {
            id: "1f".into(),
            peer: Arc::new(Peer::new("public".to_owned(), address, address)),
            host: None,
            request: Some((Method::GET, path.parse().unwrap())),
            status: 200,
            bytes: 5,
            took: Duration::from_micros(2500),
            session: None,
            generation: 3,
        }
    }

    #[test]
    fn a_line_has_its_fields_and_no_query() {
        let mut bytes = Vec::new();
        add(&mut bytes, &line("/a\"b?secret"), UNIX_EPOCH);
        add(&mut bytes, &line("/"), UNIX_EPOCH + Duration::from_secs(1));
        let text = String::from_utf8(bytes).unwrap();
        let (first, second) = text.split_once('\n').unwrap();
        assert_eq!(
            first,
            "access time=\"Thu, 01 Jan 1970 00:00:00 GMT\" id=1f client=192.0.2.1 host=- method=GET path=\"/a\\\"b\" \
             status=200 bytes=5 ms=2 user=- node=- generation=3"
        );
        assert!(second.starts_with("access time=\"Thu, 01 Jan 1970 00:00:01 GMT\""), "{second}");
    }
}
