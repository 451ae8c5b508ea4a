//! The decision log: one JSON line for a decision, written by a thread of its own, and read again for a replay.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use doorward_engine::{Answer, Fact, Trace, Value};
use serde_json::{Value as Json, json};

use super::Policy;
use crate::config;
use crate::feed::Show;
use crate::request_id::RequestId;
use crate::times::since_1970;

/// Records that may wait for the writer: with a kilobyte each, 8 MiB.
const WAITING: usize = 8192;

/// How often a flush looks whether the thread has made lines of all records.
const FLUSH_LOOK: Duration = Duration::from_millis(5);

/// One decision.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it was made.
    pub time: SystemTime,
    /// The generation that made it.
    pub generation: u64,
    /// The policy that was asked.
    pub policy: Arc<Policy>,
    /// The request that it was made for.
    pub request: Option<RequestId>,
    /// The virtual host of that request.
    pub site: Option<Arc<str>>,
    /// What was read.
    pub trace: Trace,
    /// What was said, or why nothing was.
    pub outcome: Result<Arc<Answer>, String>,
    /// Whether it was found again without asking.
    pub cached: bool,
    /// How long it took.
    pub took: Duration,
    /// Of a shadow: what the live policy said.
    pub live: Option<Json>,
}

/// Where records end up.
pub trait Taker: Send {
    /// Whether anybody reads them.
    fn wants(&self) -> bool;
    /// Takes one; never waits.
    fn take(&self, record: &Json);
}

/// Where records are handed over.
pub struct Records {
    sender: SyncSender<Record>,
    wants: Box<dyn Fn() -> bool + Send + Sync>,
    sample: AtomicU64,
    mask: Arc<ArcSwap<Mask>>,
    taken: AtomicU64,
    /// Those that the thread has made lines of.
    done: Arc<AtomicU64>,
    dropped: AtomicU64,
}

/// What is left out of records.
#[derive(Debug, Clone)]
pub struct Mask(Vec<String>);

impl Mask {
    /// A mask of patterns: an interface (`login.*`), a function (`request.cookie`) or one name (`request.header(dnt)`).
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.to_vec())
    }

    /// What a configuration says.
    fn of(settings: &config::Log) -> Self {
        Self::new(&settings.decisions_mask)
    }

    /// Whether a fact's value is left out.
    pub fn hides(&self, fact: &Fact) -> bool {
        let (interface, function, _) = fact.parts();
        self.0.iter().any(|pattern| match pattern.strip_suffix(".*") {
            Some(masked) => masked == interface,
            None => pattern.split_once('.') == Some((interface, function)) || *pattern == fact.to_string(),
        })
    }
}

impl Records {
    /// Starts the thread that makes lines of records.
    ///
    /// # Errors
    /// No thread.
    pub fn start<T: Taker + Sync + 'static>(settings: &config::Log, taker: T) -> std::io::Result<Self> {
        let (sender, records) = sync_channel(WAITING);
        let (done, mask) = (Arc::<AtomicU64>::default(), Arc::new(ArcSwap::from_pointee(Mask::of(settings))));
        let (count, hidden, taker) = (done.clone(), mask.clone(), Arc::new(taker));
        let wanted = taker.clone();
        let writer = std::thread::Builder::new().name("decision-log".to_owned());
        writer.spawn(move || write(&*taker, &records, &hidden, &count))?;
        let (sample, taken, dropped) =
            (AtomicU64::new(settings.decisions_sample), AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { sender, wants: Box::new(move || wanted.wants()), sample, mask, taken, done, dropped })
    }

    /// Goes by another configuration from now on.
    pub fn follow(&self, settings: &config::Log) {
        self.sample.store(settings.decisions_sample, Ordering::Relaxed);
        self.mask.store(Arc::new(Mask::of(settings)));
    }

    /// Whether anybody reads them.
    pub fn on(&self) -> bool {
        (self.wants)()
    }

    /// One of so many decisions is recorded where a policy says "sampled".
    pub fn sample(&self) -> u64 {
        self.sample.load(Ordering::Relaxed).max(1)
    }

    /// What is left out of them.
    pub fn mask(&self) -> Arc<Mask> {
        self.mask.load_full()
    }

    /// Hands a record over; never waits. One that finds no room is counted instead.
    pub fn record(&self, record: Record) {
        let count = if self.sender.try_send(record).is_ok() { &self.taken } else { &self.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that lines were made of, and those that found no room.
    pub fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }

    /// Waits until lines are made of all records, no longer than this.
    pub fn flush(&self, within: Duration) {
        let end = Instant::now() + within;
        while self.done.load(Ordering::Acquire) < self.taken.load(Ordering::Relaxed) && Instant::now() < end {
            std::thread::sleep(FLUSH_LOOK);
        }
    }
}

/// Makes lines of records: here, since a worker has no time for it.
fn write(taker: &impl Taker, records: &Receiver<Record>, mask: &ArcSwap<Mask>, done: &AtomicU64) {
    let mut id = 0;
    while let Ok(record) = records.recv() {
        let mut record = record.to_json(&mask.load());
        record["id"] = json!(id);
        id += 1;
        taker.take(&record);
        done.fetch_add(1, Ordering::Release);
    }
}

impl Record {
    fn to_json(&self, mask: &Mask) -> Json {
        let mut record = json!({
            "time": since_1970(self.time).as_secs_f64(),
            "generation": self.generation,
            "policy": self.policy.name,
            "asks": self.policy.question.name(),
            "digest": format!("sha256:{}", self.policy.digest),
            "reads": self.trace.to_json(|fact| mask.hides(fact)),
            "cached": self.cached,
            "us": u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
        });
        let (key, value) = match &self.outcome {
            Ok(answer) => ("verdict", answer.to_json()),
            Err(error) => ("error", json!(error)),
        };
        record[key] = value;
        if let Some(request) = &self.request {
            record["request"] = json!(request.as_str());
        }
        if let Some(site) = &self.site {
            record["site"] = json!(&**site);
        }
        if let Some(live) = &self.live {
            record["live"] = live.clone();
        }
        record
    }
}

/// A decision for those who watch.
pub(super) struct Decided {
    pub(super) record: Record,
    pub(super) mask: Arc<Mask>,
}

impl Show for Decided {
    fn request(&self) -> Option<Arc<str>> {
        self.record.request.map(|id| id.as_str().into())
    }

    fn show(&self) -> Json {
        self.record.to_json(&self.mask)
    }
}

/// A record as it is read again.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The policy's name.
    pub policy: String,
    /// The question's name.
    pub asks: String,
    /// What was read; masked reads are not there.
    pub trace: Trace,
    /// What was said, or none where the policy failed.
    pub verdict: Option<Json>,
    /// Whether it is of a shadow, which decided nothing.
    pub of_shadow: bool,
}

impl Recorded {
    /// Reads a line of the log.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let text = |key: &str| json[key].as_str().map(str::to_owned).ok_or_else(|| format!("no {key}"));
        let mut trace = Trace::default();
        for read in json["reads"].as_array().ok_or("no reads")? {
            let name = read["fact"].as_str().ok_or("a read without a fact")?;
            let fact = Fact::parse(name).ok_or_else(|| format!("{name} is no fact"))?;
            if read["masked"] == json!(true) {
                continue;
            }
            let value = Value::from_json(&fact, &read["value"]).ok_or_else(|| format!("{name} cannot be that"))?;
            trace.push(fact, value).map_err(|error| error.to_string())?;
        }
        let verdict = json.get("verdict").cloned();
        let of_shadow = json.get("live").is_some();
        Ok(Self { policy: text("policy")?, asks: text("asks")?, trace, verdict, of_shadow })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_is_told_by_interface_function_or_name() {
        let mask = |patterns: &[&str]| Mask::new(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
        let check = |patterns: &[&str], fact: &str, hidden: bool| {
            assert_eq!(mask(patterns).hides(&Fact::parse(fact).unwrap()), hidden, "{patterns:?} {fact}");
        };
        let usual = ["request.cookie", "login.*", "session.session-user"];
        check(&usual, "request.cookie(a)", true);
        check(&usual, "login.username", true);
        check(&usual, "login.attribute(mail)", true);
        check(&usual, "session.session-user", true);
        check(&usual, "request.host", false);
        check(&["request.header(user-agent)"], "request.header(user-agent)", true);
        check(&["request.header(user-agent)"], "request.header(accept)", false);
    }

    #[test]
    fn a_broken_line_is_told_and_a_masked_read_is_not_there() {
        let line = r#"{"policy":"p","asks":"device","reads":[{"fact":"request.host","value":"a"},{"fact":"request.cookie(b)","masked":true}],"verdict":"bot"}"#;
        let recorded = Recorded::parse(line).unwrap();
        assert_eq!(recorded.trace.reads().len(), 1);
        assert_eq!(recorded.verdict, Some(json!("bot")));
        for broken in ["", "{}", r#"{"policy":"p","asks":"x","reads":[{"fact":"nope","value":1}]}"#, &line[..40]] {
            assert!(Recorded::parse(broken).is_err(), "{broken}");
        }
    }
}
