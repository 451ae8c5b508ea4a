//! The pages there are.

use serde::Serialize;

/// The pages there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Page {
    /// The login form.
    Login,
    /// The code that a back-end asks for after the password.
    SecondFactor,
    /// An account that cannot be used, told after the right password: expired, locked and so on.
    Account,
    /// Too many logins failed.
    Throttled,
    /// After a logout.
    LoggedOut,
    /// A form that a user sent without a session, to be sent again.
    Held,
    /// What a filter has to say.
    Notice,
    /// Something did not work.
    Error,
}

impl Page {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::Login,
        Self::SecondFactor,
        Self::Account,
        Self::Throttled,
        Self::LoggedOut,
        Self::Held,
        Self::Notice,
        Self::Error,
    ];

    /// The file of its template.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Login => "login.html",
            Self::SecondFactor => "second-factor.html",
            Self::Account => "account.html",
            Self::Throttled => "throttled.html",
            Self::LoggedOut => "logged-out.html",
            Self::Held => "held.html",
            Self::Notice => "notice.html",
            Self::Error => "error.html",
        }
    }
}
