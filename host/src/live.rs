//! Live: a generation together with what lives of it, as `State` paired them when it went live. A request takes it once and
//! finds what it needs without a look into `State`.

use std::ops::Deref;
use std::sync::Arc;

use crate::policy::Policies;
use crate::snapshot::Snapshot;

/// The live generation. What it says of policies is in the Snapshot; here they are with what lives of them.
pub struct Live {
    /// What the operator wrote.
    pub snapshot: Arc<Snapshot>,
    /// The five questions.
    pub policies: Policies,
}

impl Deref for Live {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}
