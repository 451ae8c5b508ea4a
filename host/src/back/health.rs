//! Whether a node is up: by what happens when it is connected to, and by probes where there are any.
//!
//! Invariants: the state is the process's, not a worker's, and lives as long as the node's URL does, over all generations. A
//! node is up until something says otherwise.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config;

/// No node is left alone for longer between two tries: somebody waits for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The health of one node.
#[derive(Debug)]
pub(super) struct Health {
    marks: Mutex<Marks>,
    /// Whether `marks` has any: read on each request, so that the lock is only met in bad times.
    troubled: AtomicBool,
    /// Connects that failed.
    failed: AtomicU64,
    /// How often it was marked down.
    downs: AtomicU64,
}

/// What is held against a node.
#[derive(Debug)]
struct Marks {
    /// By what it is judged.
    settings: config::Health,
    /// Failed connects in a row, since `since`.
    failures: u32,
    since: Option<Instant>,
    /// Probes in a row that say otherwise than the state does.
    against: u32,
    down: Option<Down>,
    /// When the next probe is due.
    probe: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Down {
    since: Instant,
    /// When the next request may try, and how long the pause before it was.
    due: Instant,
    pause: Duration,
}

/// What an event did to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transition {
    /// Nothing.
    Same,
    /// The node is down from now on.
    Down,
    /// The node is up again, after so long.
    Up(Duration),
}

/// How a node is, for the status and the metrics.
#[derive(Debug, Clone, Copy)]
pub struct NodeStatus {
    /// Whether it is up.
    pub up: bool,
    /// Connects that failed.
    pub failed: u64,
    /// How often it was marked down.
    pub downs: u64,
}

impl Health {
    pub(super) fn new(settings: config::Health) -> Self {
        Self {
            marks: Mutex::new(Marks::none(settings)),
            troubled: AtomicBool::new(false),
            failed: AtomicU64::new(0),
            downs: AtomicU64::new(0),
        }
    }

    /// It is judged by other settings from now on. What is known of it holds.
    pub(super) fn follow(&self, settings: &config::Health) {
        let mut marks = self.marks();
        if marks.settings != *settings {
            marks.settings = settings.clone();
            let latest = Instant::now() + settings.interval;
            marks.probe = marks.probe.map(|due| due.min(latest));
        }
    }

    /// Whether anything is held against the node. While nothing is, no other question needs to be asked.
    pub(super) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// Whether it is worth to wait for the node.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.marks().is_due(now)
    }

    /// Whether a request may go to the node now. Of a node that is down one request is let through when the pause is
    /// over; the others wait for what comes of it. Where there are probes, they alone try.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut marks = self.marks();
        let due = marks.is_due(now);
        if let Some(down) = marks.down.as_mut().filter(|_| due) {
            down.due = now + down.pause;
        }
        due
    }

    /// A connect failed.
    pub(super) fn failed(&self, now: Instant) -> Transition {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut marks = self.marks();
        self.troubled.store(true, Ordering::Relaxed);
        if let Some(down) = &mut marks.down {
            down.pause = (down.pause * 2).min(LONGEST_PAUSE);
            down.due = now + down.pause;
            return Transition::Same;
        }
        if marks.since.is_none_or(|since| now.duration_since(since) > marks.settings.window) {
            (marks.since, marks.failures) = (Some(now), 0);
        }
        marks.failures += 1;
        if marks.failures < marks.settings.failures { Transition::Same } else { self.mark_down(&mut marks, now) }
    }

    /// The node took a connection, or gave an answer.
    pub(super) fn reached(&self, now: Instant) -> Transition {
        let mut marks = self.marks();
        match marks.down {
            // It was down by its probes, and an answer that was on its way then proves nothing.
            Some(_) if marks.settings.path.is_some() => Transition::Same,
            _ => self.mark_up(&mut marks, now),
        }
    }

    /// A probe came back.
    pub(super) fn probed(&self, good: bool, now: Instant) -> Transition {
        let mut marks = self.marks();
        if good == marks.down.is_none() {
            marks.against = 0;
            return Transition::Same;
        }
        marks.against += 1;
        match good {
            true if marks.against >= marks.settings.rise => self.mark_up(&mut marks, now),
            false if marks.against >= marks.settings.fall => self.mark_down(&mut marks, now),
            _ => Transition::Same,
        }
    }

    fn mark_down(&self, marks: &mut Marks, now: Instant) -> Transition {
        let pause = marks.settings.pause;
        marks.clear();
        marks.down = Some(Down { since: now, due: now + pause, pause });
        self.troubled.store(true, Ordering::Relaxed);
        self.downs.fetch_add(1, Ordering::Relaxed);
        Transition::Down
    }

    fn mark_up(&self, marks: &mut Marks, now: Instant) -> Transition {
        let down = marks.clear();
        self.troubled.store(false, Ordering::Relaxed);
        down.map_or(Transition::Same, |down| Transition::Up(now.duration_since(down.since)))
    }

    /// Whether a probe is due; the next one is due an `interval` later.
    pub(super) fn takes_probe(&self, now: Instant) -> bool {
        let mut marks = self.marks();
        let due = marks.settings.path.is_some() && marks.probe.is_none_or(|due| now >= due);
        if due {
            marks.probe = Some(now + marks.settings.interval);
        }
        due
    }

    pub(super) fn status(&self) -> NodeStatus {
        NodeStatus {
            up: self.marks().down.is_none(),
            failed: self.failed.load(Ordering::Relaxed),
            downs: self.downs.load(Ordering::Relaxed),
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marks {
    fn none(settings: config::Health) -> Self {
        Self { settings, failures: 0, since: None, against: 0, down: None, probe: None }
    }

    /// Forgets all but when the next probe is due; whether it was down.
    fn clear(&mut self) -> Option<Down> {
        (self.failures, self.since, self.against) = (0, None, 0);
        self.down.take()
    }

    /// Whether a request may go to the node: it is up, or its pause is over. Where there are probes, they alone try.
    fn is_due(&self, now: Instant) -> bool {
        self.down.is_none_or(|down| self.settings.path.is_none() && now >= down.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(path: Option<&str>) -> Health {
        Health::new(config::Health { path: path.map(str::to_owned), ..config::Health::default() })
    }

    #[test]
    fn failed_connects_in_a_row_mark_it_down_and_one_request_at_a_time_tries_again() {
        let (health, start) = (health(None), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(health.failed(at(0)), Transition::Same);
        assert_eq!(health.failed(at(0)), Transition::Same);
        assert_eq!(health.reached(at(0)), Transition::Same, "an answer between them begins the row anew");
        assert_eq!([0, 1].map(|second| health.failed(at(second))), [Transition::Same; 2]);
        assert!(health.admits(at(1)));
        assert_eq!(health.failed(at(1)), Transition::Down);
        assert!(!health.admits(at(1)) && !health.may_try(at(1)));
        assert!(health.may_try(at(2)) && health.admits(at(2)), "one request tries");
        assert!(!health.admits(at(2)), "and one only");
        assert_eq!(health.failed(at(2)), Transition::Same);
        assert!(!health.admits(at(3)), "the next pause is longer");
        assert!(health.admits(at(4)));
        assert_eq!(health.reached(at(5)), Transition::Up(Duration::from_secs(4)));
        assert!(health.admits(at(5)) && health.status().up);
        assert_eq!((health.status().failed, health.status().downs), (6, 1));
    }

    #[test]
    fn rare_failures_do_not_mark_it_down_and_no_pause_is_endless() {
        let (health, start) = (health(None), Instant::now());
        for n in 0..20 {
            assert_eq!(health.failed(start + Duration::from_secs(n * 11)), Transition::Same);
        }
        let now = start + Duration::from_secs(1000);
        for _ in 0..100 {
            health.failed(now);
        }
        assert!(health.admits(now + LONGEST_PAUSE));
    }

    #[test]
    fn where_there_are_probes_they_alone_bring_it_back() {
        let (health, start) = (health(Some("/up")), Instant::now());
        assert_eq!([false, false, true, false, false].map(|good| health.probed(good, start)), [Transition::Same; 5]);
        assert_eq!(health.probed(false, start), Transition::Down);
        let later = start + Duration::from_secs(3600);
        assert!(!health.admits(later) && !health.may_try(later));
        assert_eq!(health.reached(later), Transition::Same);
        assert_eq!([true, false, true].map(|good| health.probed(good, later)), [Transition::Same; 3]);
        assert_eq!(health.probed(true, later), Transition::Up(Duration::from_secs(3600)));
        assert!(health.admits(later));
        assert!(health.takes_probe(later) && !health.takes_probe(later));
        assert!(health.takes_probe(later + Duration::from_secs(5)));
    }
}
