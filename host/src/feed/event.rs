//! What happened, as it is told and as it is shown.

use std::sync::Arc;

use serde_json::Value as Json;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A policy decided.
    Decision,
    /// A request was answered, or its client left.
    Exchange,
    /// A login ended.
    Login,
}

/// Something that happened, as it happened. It is made into what is shown where no worker waits.
pub trait Show: Send {
    /// Its request's id, if it belongs to one.
    fn request(&self) -> Option<Arc<str>>;

    /// What there is to see, without what is masked.
    fn show(&self) -> Json;
}

/// An event as it is shown.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// Its request's id, if it belongs to one.
    pub request: Option<Arc<str>>,
    /// What there is to see: texts in it are cut, masked values are left out, names and addresses are whole.
    pub shown: Json,
    /// Bytes of memory, about.
    pub(super) size: usize,
}

/// A text of an event is no longer than this: what strangers send is long.
const LONGEST: usize = 512;

impl Event {
    pub(super) fn of(kind: Kind, what: &dyn Show) -> Self {
        let mut shown = what.show();
        let size = cut(&mut shown);
        Self { kind, request: what.request(), shown, size }
    }
}

/// Cuts each text; the bytes of all.
fn cut(json: &mut Json) -> usize {
    match json {
        Json::String(text) => {
            if text.len() > LONGEST {
                text.truncate(text.floor_char_boundary(LONGEST));
                text.push('…');
            }
            text.capacity() + size_of::<Json>()
        }
        Json::Array(all) => all.iter_mut().map(cut).sum::<usize>() + size_of::<Json>(),
        Json::Object(all) => all.iter_mut().map(|(key, value)| key.len() + cut(value) + size_of::<Json>()).sum(),
        _ => size_of::<Json>(),
    }
}
