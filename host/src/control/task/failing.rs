//! Policies that fail: the way back from one that went live just now.

use std::sync::Arc;

use super::{End, Task, Work};
use crate::policy::Policy;
use crate::state::Cause;

impl Task {
    /// Asks a policy that fails, if it is new, whether it fails for nobody in particular too. It is given its time.
    pub(super) fn assess(&mut self, policy: Arc<Policy>) -> Option<End> {
        if self.generations.is_new(&policy) {
            let generations = self.generations.clone();
            self.assessments.spawn_blocking(move || {
                let is_bad = generations.is_bad(&policy);
                (policy, is_bad)
            });
        }
        None
    }

    /// If a policy that went live just now is bad, what was before it is better: back to the last generation without it.
    /// If that has not even its component, the component is put under quarantine; otherwise its settings are to blame.
    pub(super) async fn assessed(&mut self, policy: &Arc<Policy>, is_bad: bool) -> Option<End> {
        if !self.generations.is_new(policy) {
            return None;
        }
        let (name, digest) = (policy.name.as_str(), policy.digest.as_str());
        if !is_bad {
            tracing::warn!(policy = name, digest, "a new policy fails for one client and for nobody else: it stays");
            return None;
        }
        let Some((good, quarantined)) = self.generations.last_without(policy) else {
            tracing::warn!(policy = name, digest, "a new policy went bad, and there is nothing to go back to");
            return None;
        };
        let (generations, failed, generation) = (self.generations.clone(), policy.clone(), good.generation);
        let went_live = self.at_once(move || {
            let bad = generations.generation();
            generations.go_live(good, "a policy went bad", Cause::Relapse, None)?;
            generations.store().forget(bad);
            if quarantined {
                let reason = format!("{} failed again and again after generation {bad} went live", failed.name);
                generations.proxy().shared().desk.quarantine.add(&failed.digest, &reason);
            }
            Ok(())
        });
        // Told to end meanwhile: that order is taken.
        let Some(went_live) = went_live.await else { return Some(End::Stop) };
        match went_live {
            Ok(()) => {
                tracing::error!(policy = name, digest, generation, quarantined, "a new policy went bad: rolled back");
            }
            Err(error) => {
                tracing::error!(policy = name, digest, %error, "a new policy went bad, and there is no way back");
            }
        }
        if let Work::Reload(reload) = &mut self.work {
            reload.bad.push(policy.clone());
        }
        None
    }
}
