//! The one place that says where events go: read by all who have one, changed by a reload.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::{ArcSwap, Guard};

use super::outlets::Outlets;
use crate::config::{Level, LogKind};

static OUTLETS: LazyLock<ArcSwap<Outlets>> = LazyLock::new(ArcSwap::default);
/// Whether somebody wants access lines, and decisions: both are asked at each request.
static ACCESS: AtomicBool = AtomicBool::new(false);
static DECISIONS: AtomicBool = AtomicBool::new(false);

/// Where events go now.
pub(super) fn outlets() -> Guard<Arc<Outlets>> {
    OUTLETS.load()
}

/// Where events go from now on. What is on its way elsewhere is written still.
pub(super) fn replace(outlets: Outlets) {
    let wants = |kind| outlets.level(kind).is_some_and(|level| level >= Level::Info);
    ACCESS.store(wants(LogKind::Access), Ordering::Relaxed);
    DECISIONS.store(wants(LogKind::Decision), Ordering::Relaxed);
    OUTLETS.store(Arc::new(outlets));
    tracing::callsite::rebuild_interest_cache();
}

/// Whether somebody wants access lines.
pub(super) fn wants_access() -> bool {
    ACCESS.load(Ordering::Relaxed)
}

/// Whether somebody wants decisions.
pub(super) fn wants_decisions() -> bool {
    DECISIONS.load(Ordering::Relaxed)
}
