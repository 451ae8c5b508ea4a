//! Attempts to log in, after they have ended: a record of each, the last of them, and what they mean in words.

mod kept;
mod reason;
mod record;
mod words;

pub use kept::Tries;
pub use reason::Reason;
pub use record::Record;
