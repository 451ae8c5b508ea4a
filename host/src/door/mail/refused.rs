//! Why a mail program is not let in, as its protocol has to tell it: an outage is never told as a wrong password, for a phone
//! that hears of one forgets it.

use crate::auth::Problem;
use crate::login::{Denial, Outcome};
use crate::reply::{Message, Refusal};

/// Why nobody got in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum No {
    /// Name or password is wrong, or nobody may know.
    Credentials,
    /// Nobody can say now.
    Unavailable,
    /// The configuration has a fault.
    Fault,
    /// The password has to be changed first; it was right.
    Expired,
    /// The account has a problem; the password was right.
    Account(&'static str),
    /// A policy says so, perhaps in words: one line of ASCII.
    Policy(String),
    /// The user has as many connections as there may be.
    Limit,
}

/// What is told of a policy's words.
const WORDS: usize = 200;

impl No {
    /// What is told of an outcome.
    pub(super) fn of<T>(outcome: Outcome<T>) -> Self {
        match outcome {
            Outcome::Refused(Denial::Account(Problem::PasswordExpired | Problem::MustChange), _) => Self::Expired,
            Outcome::Refused(Denial::Account(problem), _) => Self::Account(match problem {
                Problem::Locked => "This account is locked",
                Problem::Disabled => "This account is disabled",
                Problem::Expired => "This account has expired",
                Problem::NotNow => "This account may not log in now",
                Problem::PasswordExpired | Problem::MustChange => "The password has expired",
            }),
            Outcome::Refused(Denial::Policy(message), _) => Self::Policy(match message {
                Message::Given(text) => one_line(&text),
                Message::Known(..) => "Login is not possible".to_owned(),
            }),
            Outcome::Refused(Denial::Wrong | Denial::WrongCode | Denial::TooLate, _) => Self::Credentials,
            Outcome::Unavailable(Refusal::TooManyConnections) => Self::Limit,
            Outcome::Unavailable(Refusal::Internal | Refusal::NoNode | Refusal::PolicyFailed) => Self::Fault,
            // There is nobody to ask for a code; `LoggedIn` is no refusal.
            Outcome::Unavailable(_)
            | Outcome::Throttled { .. }
            | Outcome::SecondFactor(_)
            | Outcome::LoggedIn { .. } => Self::Unavailable,
        }
    }
}

/// A policy's words as each protocol takes them.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.trim().chars().take(WORDS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::Reason;

    #[test]
    fn an_outage_is_no_wrong_password() {
        let of = |outcome: Outcome<()>| No::of(outcome);
        assert_eq!(of(Outcome::Unavailable(Refusal::DirectoryDown)), No::Unavailable);
        assert_eq!(of(Outcome::Unavailable(Refusal::NoNode)), No::Fault);
        assert_eq!(of(Outcome::Refused(Denial::Wrong, Reason::Unknown)), No::Credentials);
        assert_eq!(
            of(Outcome::Refused(Denial::Account(Problem::Locked), Reason::Wrong)),
            No::Account("This account is locked")
        );
        let policy = Denial::Policy(Message::Given("Not from\r\nhere, Jürgen".to_owned()));
        assert_eq!(of(Outcome::Refused(policy, Reason::Policy)), No::Policy("Not from??here, J?rgen".to_owned()));
    }
}
