//! A login with the right password and an account that has a problem: what the person is told, and where help is.

use hyper::StatusCode;

use super::own::Filled;
use super::{Answer, Exchange, Visit};
use crate::auth::Problem;

/// What the person is told.
fn message(problem: Problem) -> &'static str {
    match problem {
        Problem::PasswordExpired => "Your password has expired. Please set a new one.",
        Problem::MustChange => "You have to change your password before you can log in.",
        Problem::Locked => "Your account is locked.",
        Problem::Disabled => "Your account is switched off.",
        Problem::Expired => "Your account has expired.",
        Problem::NotNow => "You cannot log in at this time or from this computer.",
    }
}

impl Exchange {
    /// The login page with the problem, and with the link that the operator has for it.
    pub(super) fn account_problem(&self, visit: &Visit, filled: &Filled<'_>, problem: Problem) -> Answer {
        let link = self.snapshot.directory.help(problem);
        let text = link.map_or_else(|| message(problem).to_owned(), |link| format!("{} {link}", message(problem)));
        self.login_form(visit, StatusCode::FORBIDDEN, filled, Some(&text))
    }
}
