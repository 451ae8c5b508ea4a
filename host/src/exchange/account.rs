//! A login with the right password and an account that has a problem: what the person is told, and where help is.

use hyper::StatusCode;

use super::own::Filled;
use super::{Answer, Exchange, Visit};
use crate::auth::Problem;
use crate::pages::Page;
use crate::reply::Message;

/// What the person is told.
fn message(problem: Problem) -> &'static str {
    match problem {
        Problem::PasswordExpired => "password_expired",
        Problem::MustChange => "must_change",
        Problem::Locked => "account_locked",
        Problem::Disabled => "account_disabled",
        Problem::Expired => "account_expired",
        Problem::NotNow => "account_not_now",
    }
}

impl Exchange {
    /// The problem, the link that the operator has for it, and the form to try again.
    pub(super) fn account_problem(&self, visit: &Visit, filled: &Filled<'_>, problem: Problem) -> Answer {
        let link = self.snapshot.directory.help(problem).map(ToString::to_string);
        let message = Message::known(message(problem));
        self.form_page(visit, StatusCode::FORBIDDEN, Page::Account, filled, Some(&message), link)
    }
}
