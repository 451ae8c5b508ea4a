//! What policies can be asked, what they may know, and files of test vectors about both.
//!
//! The host and the crate for authors (`doorward-policy`, natively only) stand on this crate, so a file of vectors means
//! the same to both. Each thing has one place:
//!
//! - [`mod@facts`]: the table of facts, from which the host's trace, linker and command line and the authors' tests are made;
//! - [`Question`]: the questions and the words they are answered with;
//! - [`read`]: a file of vectors;
//! - [`Expected`]: what a vector asks of an answer.
//!
//! Pure, but for [`read`].

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod file;
mod expected;
pub mod facts;
mod question;
mod fault;
mod near;
#[path = "../../src/date.rs"]
#[allow(
    dead_code,
    reason = "the crate for authors has it, and components are built with it; one reader of times for all"
)]
mod date;

/// The version of the interface, `doorward:policy`, that this Doorward speaks. Older ones of the same track are taken too.
pub const WIT_VERSION: &str = "0.1.1";

pub use date::{DateTime, Offset};
pub use expected::{Answered, Expected, Whole, WholeAnswer, WholeBoth, WholePage, by_name};
pub use facts::{FACTS, FactType, ValueType, unknown_fact};
pub use fault::{Fault, Faults};
pub use file::{File, GivenFact, Vector, json_of, parse, read};
pub use near::nearest;
pub use question::Question;
