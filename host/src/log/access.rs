//! One line for each exchange, whatever happened. Workers write lines into one buffer; a thread of its own writes the
//! buffer out, so no worker ever waits for a disk.
//!
//! Invariants: a line is whole or not there; what waits is bounded, and what found no room is counted.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::{Method, Uri};

use crate::config::AccessLog;
use crate::peer::Peer;
use crate::session::Session;

/// Bytes that may wait for the writer.
const WAITING: usize = 2 << 20;
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
pub struct Log(Option<Arc<Writer>>);

struct Writer {
    lines: Mutex<Lines>,
    more: Condvar,
    /// Locked while lines are written out; never while a worker holds `lines`.
    output: Mutex<Box<dyn Write + Send>>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// The time of day as text, and its second since 1970: most lines share it.
    time: (u64, String),
}

impl Log {
    /// Starts the writer.
    ///
    /// # Errors
    /// The file that cannot be opened.
    pub fn start(target: &AccessLog) -> std::io::Result<Self> {
        let output: Box<dyn Write + Send> = match target {
            AccessLog::Off => return Ok(Self(None)),
            AccessLog::Stderr => Box::new(std::io::stderr()),
            AccessLog::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let writer = Arc::new(Writer {
            lines: Mutex::default(),
            more: Condvar::new(),
            output: Mutex::new(output),
            dropped: AtomicU64::new(0),
        });
        let of_thread = writer.clone();
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            loop {
                of_thread.wait();
                std::thread::sleep(GATHER);
                of_thread.write_out();
            }
        })?;
        Ok(Self(Some(writer)))
    }

    /// Whether anybody reads the lines.
    pub fn on(&self) -> bool {
        self.0.is_some()
    }

    /// Hands a line over; never waits. A line that finds no room is counted instead.
    pub fn record(&self, line: &Line) {
        let Some(writer) = &self.0 else { return };
        let mut lines = writer.lines();
        if lines.bytes.len() >= WAITING {
            writer.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = lines.bytes.is_empty();
        lines.add(line, SystemTime::now());
        drop(lines);
        if first {
            writer.more.notify_one();
        }
    }

    /// Writes out what waits. For the end, when nobody would come back to it.
    pub fn flush(&self) {
        if let Some(writer) = &self.0 {
            writer.write_out();
        }
    }

    /// Lines that found no room.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |writer| writer.dropped.load(Ordering::Relaxed))
    }
}

impl Writer {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let lines = self.lines();
        drop(self.more.wait_while(lines, |lines| lines.bytes.is_empty()));
    }

    fn write_out(&self) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = std::mem::take(&mut self.lines().bytes);
        // A full disk must not stop the proxy: these lines are lost, the next ones are tried.
        let _ = output.write_all(&bytes).and_then(|()| output.flush());
    }
}

impl Lines {
    fn add(&mut self, line: &Line, now: SystemTime) {
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.time.0 != second || self.time.1.is_empty() {
            self.time = (second, httpdate::fmt_http_date(now));
        }
        let Self { bytes, time } = self;
        let session = line.session.as_deref();
        let _ = write!(bytes, "access time=\"{}\" id={} client={} host=", time.1, line.id, line.peer.address);
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
        let mut lines = Lines::default();
        lines.add(&line("/a\"b?secret"), UNIX_EPOCH);
        lines.add(&line("/"), UNIX_EPOCH + Duration::from_secs(1));
        let text = String::from_utf8(lines.bytes).unwrap();
        let (first, second) = text.split_once('\n').unwrap();
        assert_eq!(
            first,
            "access time=\"Thu, 01 Jan 1970 00:00:00 GMT\" id=1f client=192.0.2.1 host=- method=GET path=\"/a\\\"b\" \
             status=200 bytes=5 ms=2 user=- node=- generation=3"
        );
        assert!(second.starts_with("access time=\"Thu, 01 Jan 1970 00:00:01 GMT\""), "{second}");
    }

    #[test]
    fn what_waits_is_bounded_and_the_rest_is_counted() {
        let file = std::env::temp_dir().join(format!("doorward-access-{}", std::process::id()));
        let log = Log::start(&AccessLog::File(file.clone())).unwrap();
        // The output is held, so that nothing is written out meanwhile.
        let writer = log.0.clone().unwrap();
        let held = writer.output.lock().unwrap();
        writer.lines().bytes = vec![b'x'; WAITING];
        log.record(&line("/"));
        assert_eq!((log.dropped(), writer.lines().bytes.len()), (1, WAITING));
        drop(held);
        log.flush();
        log.record(&line("/after"));
        log.flush();
        assert!(std::fs::read_to_string(&file).unwrap().contains("path=/after"));
        std::fs::remove_file(file).unwrap();
    }
}
