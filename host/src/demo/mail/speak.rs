//! What a protocol has to be able to say.

use doorward_wire::mail::scan::Literals;

use super::account::Accounts;

/// What is said to a command.
pub(in crate::demo) struct Answer {
    /// The bytes.
    pub(super) text: Vec<u8>,
    /// The connection ends behind them.
    pub(super) is_last: bool,
}

impl Answer {
    /// The last answer.
    pub(super) fn last(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), is_last: true }
    }
}

impl<T: Into<Vec<u8>>> From<T> for Answer {
    fn from(text: T) -> Self {
        Self { text: text.into(), is_last: false }
    }
}

/// A conversation. Pure: commands in, answers out.
pub(in crate::demo) trait Speak {
    /// Which literals its commands have.
    const LITERALS: Literals;
    /// At the beginning of a connection, with the greeting.
    fn begin(accounts: Accounts) -> (Self, &'static str)
    where
        Self: Sized;
    /// Takes a whole command.
    fn hear(&mut self, command: &[u8]) -> Answer;
}
