//! A login with the right password and an account that has a problem: what the person is told, and where help is.

use hyper::StatusCode;

use super::{Answer, Exchange, Visit};
use crate::auth::Problem;
use crate::pages::Page;

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
    /// The problem, and the link that the operator has for it.
    pub(super) fn account_problem(&self, visit: &Visit, next: &str, problem: Problem) -> Answer {
        self.page(visit, StatusCode::FORBIDDEN, Page::Account, next, |content, language| {
            content.message = Some(language.text(message(problem)).to_owned());
            content.link = self.snapshot.directory.help(problem).map(ToString::to_string);
        })
    }
}
