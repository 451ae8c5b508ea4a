//! Hands traces to a collector: OTLP over HTTP, in JSON, from a thread of its own.
//!
//! Invariants: the queue is bounded, and nobody waits for room; a collector that is away, slow or wrong costs traces only.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use url::Url;

use super::otlp::{Finished, message};

/// So many traces wait at most, each of some kilobytes.
const QUEUE: usize = 1024;
/// So many are sent at once, or as many as came within this time.
const BATCH: usize = 64;
const GATHER: Duration = Duration::from_secs(1);
/// How long each step of sending may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failure nothing is sent for this long.
const PAUSE: Duration = Duration::from_secs(5);
/// How often an ending process looks whether all is sent.
const LOOK: Duration = Duration::from_millis(10);
/// A collector's answer is read to the end of its first line, which is not longer.
const LINE_SIZE: usize = 512;

/// Which traces are sent, and where to.
#[derive(Debug)]
pub struct Settings {
    /// The collector's address.
    pub endpoint: Url,
    /// One in so many is sent whatever came of it; none for 0.
    pub sample: u64,
    /// Those that took that long are sent.
    pub slow: Duration,
    /// TLS, for https.
    pub tls: Option<Arc<ClientConfig>>,
}

/// A finished trace, and where it is sent.
type Handed = (Finished, Arc<Settings>);

/// Where finished traces go. Its thread begins with the first of them.
#[derive(Default)]
pub struct Exporter {
    queue: OnceLock<Option<SyncSender<Handed>>>,
    counts: Arc<Counts>,
}

/// What became of traces.
#[derive(Debug, Default)]
struct Counts {
    handed: AtomicU64,
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Exporter {
    /// Hands a trace over; never waits.
    pub fn hand_over(&self, finished: Finished, settings: &Arc<Settings>) {
        let start = || {
            let (queue, traces) = sync_channel(QUEUE);
            let counts = self.counts.clone();
            let thread = std::thread::Builder::new().name("traces".to_owned());
            thread.spawn(move || export(&traces, &counts)).ok().map(|_| queue)
        };
        let queue = self.queue.get_or_init(start).as_ref();
        self.counts.handed.fetch_add(1, Ordering::Relaxed);
        if queue.is_none_or(|queue| queue.try_send((finished, settings.clone())).is_err()) {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was handed over is sent, no longer than this. For the end, when nobody would come back to it.
    pub fn flush(&self, within: Duration) {
        let end = Instant::now() + within;
        let done = || self.counts().iter().map(|(_, count)| count).sum::<u64>();
        while done() < self.counts.handed.load(Ordering::Relaxed) && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }

    /// How many were sent, found no room, and were not taken.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        let Counts { sent, dropped, failed, .. } = &*self.counts;
        [("sent", sent), ("dropped", dropped), ("failed", failed)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }
}

/// Sends what comes, for as long as somebody may hand something over.
fn export(traces: &Receiver<Handed>, counts: &Counts) {
    let mut is_told = false;
    while let Ok((first, settings)) = traces.recv() {
        let mut batch = vec![first];
        let end = Instant::now() + GATHER;
        while batch.len() < BATCH {
            match traces.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((next, _)) => batch.push(next),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let body = message(&batch).to_string();
        match send(&settings, body.as_bytes()) {
            Ok(()) => {
                counts.sent.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if std::mem::take(&mut is_told) {
                    tracing::info!(endpoint = %settings.endpoint, "the collector takes traces again");
                }
            }
            Err(error) => {
                counts.failed.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(endpoint = %settings.endpoint, %error, "the collector takes no traces");
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// Sends one message on a connection of its own.
fn send(settings: &Settings, body: &[u8]) -> std::io::Result<()> {
    let endpoint = &settings.endpoint;
    let host = endpoint.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut addresses = (bare, endpoint.port_or_known_default().unwrap_or(4318)).to_socket_addrs()?;
    let address = addresses.next().ok_or_else(|| std::io::Error::other("its name has no address"))?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let authority = &endpoint[url::Position::BeforeHost..url::Position::AfterPort];
    let target = &endpoint[url::Position::BeforePath..url::Position::AfterQuery];
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         User-Agent: doorward/{}\r\nConnection: close\r\n\r\n",
        body.len(),
        env!("CARGO_PKG_VERSION")
    );
    let message = [head.as_bytes(), body].concat();
    match &settings.tls {
        None => ask(stream, &message),
        Some(tls) => {
            let name = ServerName::try_from(bare.to_owned()).map_err(std::io::Error::other)?;
            let tls = ClientConnection::new(tls.clone(), name).map_err(std::io::Error::other)?;
            ask(StreamOwned::new(tls, stream), &message)
        }
    }
}

/// Writes a message, and reads the status of its answer.
fn ask(mut stream: impl Read + Write, message: &[u8]) -> std::io::Result<()> {
    stream.write_all(message)?;
    stream.flush()?;
    let (mut line, end) = (Vec::new(), Instant::now() + PATIENCE);
    let mut some = [0; LINE_SIZE];
    while !line.contains(&b'\n') && line.len() < LINE_SIZE && Instant::now() < end {
        match stream.read(&mut some)? {
            0 => break,
            read => line.extend_from_slice(&some[..read]),
        }
    }
    let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or(b"none");
    match status {
        [b'2', _, _] => Ok(()),
        other => Err(std::io::Error::other(format!("it answers {}", String::from_utf8_lossy(other).escape_default()))),
    }
}
