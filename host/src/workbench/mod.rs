//! The workbench: what is done with a policy before it is live, at the command line and on the operator's page alike: checked,
//! run on test vectors, asked what others were asked.

mod candidate;
mod check;
mod difference;
mod outcome;
mod purity;
mod replay;
pub mod samples;
mod test;
mod trying;
mod typed;
pub mod vectors;

pub use candidate::Candidate;
pub use check::{Checked, MOST_FAULTS, Wrong, check};
pub use difference::{Difference, Shown};
pub use outcome::{Stop, how_to_give, outcome_json, outcome_text, reads_json, reads_text};
pub use replay::{Change, Replayed, replay};
pub use test::{Failure, failures_json, run_file};
pub use trying::{Try, Trying};
pub use typed::{is_none, put_fact};
