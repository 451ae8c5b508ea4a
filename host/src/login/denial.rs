//! So much of why nobody got in as the person may know.
//!
//! Pure.

use crate::auth::Problem;
use crate::reply::Message;

/// What a person may know of a login that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Name or password is wrong: the same for many reasons, so that nobody learns which names exist.
    Wrong,
    /// What is wrong with the account, whose password was right.
    Account(Problem),
    /// What a policy says.
    Policy(Message),
    /// The last of the codes that may be tried for one password was wrong.
    WrongCode,
    /// What was sent is too old, was used before, or belongs to another browser.
    TooLate,
}

impl Denial {
    /// A policy failed that refuses logins then.
    pub(super) const fn policy_failed() -> Self {
        Self::Policy(Message::known("login_not_possible"))
    }

    /// What the person is told.
    pub fn message(&self) -> Message {
        Message::known(match self {
            Self::Policy(message) => return message.clone(),
            Self::Wrong => "wrong",
            Self::WrongCode => "wrong_code",
            Self::TooLate => "code_too_late",
            Self::Account(Problem::PasswordExpired) => "password_expired",
            Self::Account(Problem::MustChange) => "must_change",
            Self::Account(Problem::Locked) => "account_locked",
            Self::Account(Problem::Disabled) => "account_disabled",
            Self::Account(Problem::Expired) => "account_expired",
            Self::Account(Problem::NotNow) => "account_not_now",
        })
    }

    /// What such logins are counted as.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Account(problem) => problem.name(),
            Self::Policy(_) => "refused",
            Self::WrongCode => "wrong-code",
            Self::TooLate => "stale",
        }
    }
}
