//! A breaker: after too many failures a policy is not asked for a while, and then tried with one question at a time.
//!
//! Pure: the time is told.

use std::time::{Duration, Instant};

use crate::config::Breaker as Settings;

/// No policy is left alone for longer: it may have been mended, and one failing question a minute harms nobody.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The state of a breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    /// Failures since `since`.
    failures: u32,
    since: Option<Instant>,
    /// Set while it is open: when the next try is due, and how long the pause was.
    open: Option<(Instant, Duration)>,
}

/// What a failure or a success did to a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Same,
    /// It opened just now.
    Opened,
    /// It closed just now.
    Closed,
}

impl Breaker {
    /// Whether the policy may be asked now. While the breaker is open, one question is let through when the pause is
    /// over, and the next pause begins with it.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        match &mut self.open {
            None => true,
            Some((due, _)) if now < *due => false,
            Some((due, pause)) => {
                *due = now + *pause;
                true
            }
        }
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The policy failed.
    pub(super) fn failed(&mut self, now: Instant, settings: &Settings) -> Turn {
        if let Some((due, pause)) = &mut self.open {
            *pause = (*pause * 2).min(LONGEST_PAUSE);
            *due = now + *pause;
            return Turn::Same;
        }
        if self.since.is_none_or(|since| now.duration_since(since) > settings.window) {
            (self.since, self.failures) = (Some(now), 0);
        }
        self.failures += 1;
        if self.failures < settings.failures {
            return Turn::Same;
        }
        self.open = Some((now + settings.pause, settings.pause));
        Turn::Opened
    }

    /// The policy answered.
    pub(super) fn answered(&mut self) -> Turn {
        if self.open.is_none() {
            return Turn::Same;
        }
        *self = Self::default();
        Turn::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings =
        Settings { failures: 3, window: Duration::from_secs(10), pause: Duration::from_secs(1), watch: Duration::ZERO };

    #[test]
    fn it_opens_at_the_limit_tries_again_ever_later_and_closes_with_an_answer() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut breaker = Breaker::default();
        assert_eq!(breaker.failed(at(0), &SETTINGS), Turn::Same);
        assert_eq!(breaker.failed(at(1), &SETTINGS), Turn::Same);
        assert!(breaker.admits(at(1)));
        assert_eq!(breaker.failed(at(2), &SETTINGS), Turn::Opened);
        assert!(!breaker.admits(at(2)));
        assert!(breaker.admits(at(3)), "one try");
        assert!(!breaker.admits(at(3)), "and one only");
        assert_eq!(breaker.failed(at(3), &SETTINGS), Turn::Same);
        assert!(!breaker.admits(at(4)));
        assert!(breaker.admits(at(5)));
        assert_eq!(breaker.answered(), Turn::Closed);
        assert!(breaker.admits(at(5)) && !breaker.is_open());
    }

    #[test]
    fn rare_failures_do_not_open_it_and_no_pause_is_endless() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        for n in 0..20 {
            assert_eq!(breaker.failed(start + Duration::from_secs(n * 11), &SETTINGS), Turn::Same);
        }
        let mut now = start + Duration::from_secs(1000);
        for _ in 0..3 {
            breaker.failed(now, &SETTINGS);
        }
        for _ in 0..100 {
            breaker.failed(now, &SETTINGS);
        }
        now += LONGEST_PAUSE;
        assert!(breaker.admits(now));
    }
}
