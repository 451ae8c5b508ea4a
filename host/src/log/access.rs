//! One line for each exchange, whatever happened, written by a thread of its own.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use crate::config::AccessLog;

/// Lines that may wait for the writer: at 200 bytes a line, 2 MiB.
const LINES_WAITING: usize = 10_000;

/// What an exchange was. Query strings, cookies and bodies never get here.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Request id.
    pub id: String,
    /// Client address.
    pub client: String,
    /// Virtual host.
    pub host: String,
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Status answered.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
    /// User, where there is a session.
    pub user: String,
    /// Node, where one answered.
    pub node: String,
    /// Generation of the Snapshot that served it.
    pub generation: u64,
}

/// Where lines are handed over. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    sender: Option<SyncSender<Line>>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the writer.
    ///
    /// # Errors
    /// The file that cannot be opened.
    pub fn start(target: &AccessLog) -> std::io::Result<Self> {
        let output: Box<dyn Write + Send> = match target {
            AccessLog::Off => return Ok(Self { sender: None, dropped: Arc::default() }),
            AccessLog::Stderr => Box::new(std::io::stderr()),
            AccessLog::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, lines) = sync_channel(LINES_WAITING);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(output, &lines))?;
        Ok(Self { sender: Some(sender), dropped: Arc::default() })
    }

    /// Whether anybody reads the lines.
    pub fn on(&self) -> bool {
        self.sender.is_some()
    }

    /// Hands a line over; never waits. A line that finds no room is counted instead.
    pub fn record(&self, line: Line) {
        if let Some(sender) = &self.sender
            && sender.try_send(line).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(output: Box<dyn Write + Send>, lines: &Receiver<Line>) {
    let mut output = std::io::BufWriter::new(output);
    while let Ok(line) = lines.recv() {
        let mut next = Some(line);
        while let Some(line) = next {
            // A full disk must not stop the proxy: the line is lost, the next one is tried.
            let _ = write_line(&mut output, &line);
            next = lines.try_recv().ok();
        }
        let _ = output.flush();
    }
}

fn write_line(output: &mut impl Write, line: &Line) -> std::io::Result<()> {
    let time = httpdate::fmt_http_date(SystemTime::now());
    let field = |text: &str| match text {
        "" => "-".to_owned(),
        text if text.bytes().all(|b| b.is_ascii_graphic() && b != b'"') => text.to_owned(),
        text => format!("{text:?}"),
    };
    writeln!(
        output,
        "access time=\"{time}\" id={} client={} host={} method={} path={} status={} bytes={} ms={} user={} node={} generation={}",
        line.id,
        line.client,
        field(&line.host),
        field(&line.method),
        field(&line.path),
        line.status,
        line.bytes,
        line.took.as_millis(),
        field(&line.user),
        field(&line.node),
        line.generation,
    )
}
