//! The time that a wrong login takes: the same whether the name is somebody's or nobody's.
//!
//! Work alone cannot make it so: a hash in the directory, or a node's login page, is work that nobody is there to do for a
//! name that is nobody's. So how long wrong logins of real users took is remembered, and an answer for nobody comes after
//! one of these times. What is left of a difference goes under in steps: answers come at whole steps only.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longer than a directory takes for a bind, shorter than what a person notices behind a wrong password.
const STEP: Duration = Duration::from_millis(100);
/// So many times are remembered for each mode: enough for their spread, few enough to follow the day's load.
const REMEMBERED: usize = 64;
/// An outage's time-outs are not what a wrong password takes.
const LONGEST: Duration = Duration::from_secs(5);

/// How long wrong logins take, for all workers.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Vec<Lane>>);

/// Of one mode.
#[derive(Debug)]
struct Lane {
    mode: &'static str,
    took: Vec<Duration>,
    next: usize,
}

impl Pace {
    /// Waits until a wrong login that began then may be answered. `real` says that somebody's password was checked.
    pub async fn wrong(&self, mode: &'static str, began: Instant, real: bool) {
        let took = began.elapsed();
        let took = if real { self.remember(mode, took) } else { took.max(self.like_others(mode)) };
        tokio::time::sleep_until((began + whole_steps(took)).into()).await;
    }

    fn remember(&self, mode: &'static str, took: Duration) -> Duration {
        self.with_lane(mode, |lane| {
            if lane.took.len() < REMEMBERED {
                lane.took.push(took.min(LONGEST));
            } else {
                lane.took[lane.next % REMEMBERED] = took.min(LONGEST);
                lane.next = (lane.next + 1) % REMEMBERED;
            }
        });
        took
    }

    /// One of the times remembered; none at all when nobody was wrong yet.
    fn like_others(&self, mode: &'static str) -> Duration {
        let chance = getrandom::u32().unwrap_or_default() as usize;
        self.with_lane(mode, |lane| lane.took.get(chance % lane.took.len().max(1)).copied().unwrap_or_default())
    }

    fn with_lane<T>(&self, mode: &'static str, with: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = lanes.iter().position(|lane| lane.mode == mode).unwrap_or_else(|| {
            lanes.push(Lane { mode, took: Vec::new(), next: 0 });
            lanes.len() - 1
        });
        with(&mut lanes[at])
    }
}

fn whole_steps(took: Duration) -> Duration {
    let steps = took.as_micros() / STEP.as_micros() + 1;
    STEP * u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_nobody_takes_as_long_as_others_took() {
        let pace = Pace::default();
        assert_eq!(pace.like_others("a"), Duration::ZERO);
        for millis in 0..1000 {
            pace.remember("a", Duration::from_millis(millis));
        }
        for _ in 0..100 {
            assert!(pace.like_others("a") >= Duration::from_millis(936), "only of late");
        }
        assert_eq!(pace.like_others("b"), Duration::ZERO, "each mode by itself");
        pace.remember("b", Duration::from_secs(60));
        assert_eq!(pace.like_others("b"), LONGEST);
    }

    #[test]
    fn answers_come_at_whole_steps() {
        let check = |millis, steps| assert_eq!(whole_steps(Duration::from_millis(millis)), STEP * steps);
        check(0, 1);
        check(99, 1);
        check(100, 2);
        check(1234, 13);
    }
}
