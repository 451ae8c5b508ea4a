//! The engine that asks policies: facts in, answer out, and the trace between.
//!
//! It knows WebAssembly and the interface `doorward:policy`, and neither configuration nor HTTP connections: who uses it
//! says where facts come from ([`Read`]), which headers an answer may have ([`HeaderRules`]), and under which caps a guest
//! lives ([`Start`]). When a policy is asked, and what comes of the answer, is the program's (`host/src/policy`).
//!
//! The modules stand in reading order: a module imports only modules that come after it.

mod guest;
mod imports;
mod manifest;
mod memo;
mod trace;
mod answer;
mod words;
mod breaker;
pub mod engine;

pub use answer::{
    Action, Answer, BothWays, Destination, Form, Header, HeaderRules, Mode, Reply, SitePage, TypedAnswer, Verdict,
};
pub use breaker::{Breaker, BreakerSettings, Failure, Transition};
pub use guest::{Error, Guest, Problem, Start};
pub use imports::{Linked, Source, link};
pub use manifest::{Grants, Manifest, Odd};
pub use memo::{Impure, Memo, Read};
pub use trace::{Fact, Given, Trace, Value};
pub use words::Words;
