//! What happened of late, while somebody looks at the console: as much as has room.

use std::collections::VecDeque;
use std::sync::Arc;

use super::event::{Event, Kind};

/// Events of each kind, and their bytes in memory, at most.
const EVENTS: usize = 4096;
const BYTES: usize = 8 << 20;

/// The most recent events of each kind.
#[derive(Default)]
pub(super) struct Recent([Ring; 3]);

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Recent {
    /// Keeps one more; the oldest go for it.
    pub(super) fn keep(&mut self, event: Arc<Event>) {
        let ring = &mut self.0[event.kind as usize];
        ring.bytes += event.size;
        ring.events.push_back(event);
        while ring.events.len() > EVENTS || ring.bytes > BYTES {
            let Some(oldest) = ring.events.pop_front() else { return };
            ring.bytes -= oldest.size;
        }
    }

    /// The newest first.
    pub(super) fn of(&self, kind: Kind, filter: &dyn Fn(&Event) -> bool, most: usize) -> Vec<Arc<Event>> {
        let events = self.0[kind as usize].events.iter().rev();
        events.filter(|event| filter(event)).take(most).cloned().collect()
    }

    /// Nobody looks any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
