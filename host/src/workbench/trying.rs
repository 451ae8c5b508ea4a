//! A policy on its way to be live, as far as it has come: one at a time, kept until the next one.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value as Json, json};

/// The policy that is tried. Part of State.
#[derive(Debug, Default)]
pub struct Trying(Mutex<Option<Arc<Try>>>);

/// One policy that is tried.
#[derive(Debug)]
pub struct Try {
    /// Whose place it would take.
    pub policy: String,
    /// Its digest.
    pub digest: String,
    /// Where it is kept.
    pub file: PathBuf,
    /// Bytes.
    pub size: usize,
    /// Who uploaded it.
    pub who: String,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// What is being done; none when all is done.
    step: Option<&'static str>,
    /// What came of each step that is done.
    results: serde_json::Map<String, Json>,
    /// Why it was refused.
    refused: Option<Json>,
}

impl Try {
    /// One that begins.
    pub fn new(policy: String, digest: String, file: PathBuf, size: usize, who: String) -> Arc<Self> {
        let progress = Mutex::new(Progress { step: Some("check"), ..Progress::default() });
        Arc::new(Self { policy, digest, file, size, who, progress })
    }

    /// What is being done now.
    pub fn begin(&self, step: &'static str) {
        self.progress().step = Some(step);
    }

    /// What came of a step, so far.
    pub fn tell(&self, step: &str, result: Json) {
        self.progress().results.insert(step.to_owned(), result);
    }

    /// All is done.
    pub fn end(&self) {
        self.progress().step = None;
    }

    /// It is refused.
    pub fn refuse(&self, why: Json) {
        let mut progress = self.progress();
        (progress.step, progress.refused) = (None, Some(why));
    }

    /// Whether something is still being done.
    pub fn is_under_way(&self) -> bool {
        self.progress().step.is_some()
    }

    /// Whether it came through all steps.
    pub fn is_good(&self) -> bool {
        let progress = self.progress();
        progress.step.is_none() && progress.refused.is_none()
    }

    /// What there is to see.
    pub fn shown(&self) -> Json {
        let progress = self.progress();
        json!({
            "policy": self.policy, "digest": format!("sha256:{}", self.digest), "size": self.size, "who": self.who,
            "file": self.file, "step": progress.step, "results": progress.results, "refused": progress.refused,
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trying {
    /// The one that was uploaded last.
    pub fn last(&self) -> Option<Arc<Try>> {
        self.lock().clone()
    }

    /// Another one takes its place; false while something is done with the one before.
    pub fn begin(&self, next: Arc<Try>) -> bool {
        let mut last = self.lock();
        if last.as_ref().is_some_and(|last| last.is_under_way()) {
            return false;
        }
        *last = Some(next);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Try>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_tried_at_a_time() {
        let trying = Trying::default();
        let of = |name: &str| Try::new(name.to_owned(), "1".to_owned(), "a.wasm".into(), 5, "ada".to_owned());
        let first = of("first");
        assert!(trying.begin(first.clone()));
        assert!(!trying.begin(of("second")));
        first.tell("check", json!({"asked": 3}));
        first.end();
        assert!(first.is_good() && first.shown()["results"]["check"]["asked"] == 3);
        assert!(trying.begin(of("second")));
        trying.last().unwrap().refuse(json!("no"));
        assert!(!trying.last().unwrap().is_good() && trying.begin(of("third")));
    }
}
