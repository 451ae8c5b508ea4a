//! A policy on the bench: asked of given facts, off line, for tests, replays and measurements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward_engine::{Answer, Error, Given, Guest, Memo, Source, Trace};

use super::spec::PolicySpec;

/// What a trial remembers may take so many bytes: as much as a policy has by default.
const MEMO: usize = 4 << 20;

/// A policy with one warm instance of its own.
pub struct Trial {
    policy: Arc<PolicySpec>,
    guest: Option<Guest>,
    memo: Memo,
}

/// One answer, and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The answer, or why there is none.
    pub answer: Result<Answer, Error>,
    /// What was read.
    pub trace: Trace,
    /// How long the call took, without starting an instance.
    pub took: Duration,
    /// What the policy said meanwhile.
    pub words: Vec<String>,
}

/// How long a decision takes, each time measured by itself.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// With an instance started for it.
    pub fresh: Vec<Duration>,
    /// With a warm instance.
    pub warm: Vec<Duration>,
    /// Found again; each is the mean of a hundred, since the clock is coarser than a hit.
    pub memo: Vec<Duration>,
}

impl Trial {
    /// A policy to try.
    pub fn new(policy: Arc<PolicySpec>) -> Self {
        Self { policy, guest: None, memo: Memo::new(MEMO) }
    }

    /// The policy.
    pub fn policy(&self) -> &PolicySpec {
        &self.policy
    }

    /// Bytes that the memories of the warm instance hold, if there is one.
    pub fn memory(&self) -> Option<u64> {
        let left = u64::try_from(self.guest.as_ref()?.memory_left()).ok()?;
        Some(self.policy.memory.saturating_sub(left))
    }

    /// Asks the warm instance.
    ///
    /// # Errors
    /// It does not start.
    pub fn ask(&mut self, given: &Arc<Given>) -> Result<Told, Error> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => Guest::start(&self.policy.start())?,
        };
        let told = ask(&mut guest, given);
        if told.answer.is_ok() {
            self.guest = Some(guest);
        }
        Ok(told)
    }

    /// Asks an instance that was never asked before.
    ///
    /// # Errors
    /// It does not start.
    pub fn ask_fresh(&self, given: &Arc<Given>) -> Result<Told, Error> {
        Ok(ask(&mut Guest::start(&self.policy.start())?, given))
    }

    /// The JSON Schema of its settings.
    ///
    /// # Errors
    /// Whatever the guest did wrong.
    pub fn schema(&self) -> Result<String, Error> {
        Guest::schema(&self.policy.start())
    }

    /// Remembers an answer as Doorward would, and looks for it again: what is found then, or none where nothing may be
    /// remembered.
    ///
    /// # Errors
    /// What was remembered before says that the policy is not pure.
    pub fn recall(&mut self, told: &Told, given: &Given) -> Result<Option<Answer>, String> {
        let Ok(answer) = &told.answer else { return Ok(None) };
        if !told.trace.is_cacheable() {
            return Ok(None);
        }
        self.memo.insert(&told.trace, &Arc::new(answer.clone())).map_err(|impure| impure.to_string())?;
        Ok(self.memo.find(given).map(|answer| (*answer).clone()))
    }

    /// Measures one decision in three ways: by a fresh instance, by a warm one, and found again.
    ///
    /// # Errors
    /// It gives no answer.
    pub fn measure(&mut self, given: &Arc<Given>, fresh: usize, warm: usize) -> Result<Figures, Error> {
        let mut figures = Figures::default();
        let mut told = self.ask(given)?;
        for _ in 0..fresh {
            let started = Instant::now();
            told = self.ask_fresh(given)?;
            figures.fresh.push(started.elapsed());
        }
        for _ in 0..warm {
            told = self.ask(given)?;
            figures.warm.push(told.took);
        }
        let answer = Arc::new(told.answer?);
        let mut memo = Memo::new(MEMO);
        if told.trace.is_cacheable() && memo.insert(&told.trace, &answer).is_ok() && memo.find(&**given).is_some() {
            for _ in 0..warm {
                let started = Instant::now();
                for _ in 0..100 {
                    std::hint::black_box(memo.find(std::hint::black_box(&**given)));
                }
                figures.memo.push(started.elapsed() / 100);
            }
        }
        Ok(figures)
    }
}

fn ask(guest: &mut Guest, given: &Arc<Given>) -> Told {
    let started = Instant::now();
    let (answer, trace) = guest.ask(Source::Given(given.clone()));
    let took = started.elapsed();
    Told { answer, trace, took, words: guest.words().map(|words| words.lines().to_vec()).unwrap_or_default() }
}
