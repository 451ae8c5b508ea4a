//! The four questions: a trait each, and the types of their answers.
//!
//! Pure.

use crate::facts::{ConnectionFacts, LoginFacts, RequestFacts};
use crate::settings::Policy;

pub use crate::bindings::access::exports::doorward::policy::access::Verdict;
pub use crate::bindings::auth_mode::exports::doorward::policy::auth_mode::Mode;
pub use crate::bindings::device::exports::doorward::policy::device::Form;

/// May this client connect? Asked once for a connection, before TLS, so only facts of the connection are known.
pub trait AccessPolicy: Policy {
    /// The verdict over a connection; [`Verdict::Abstain`] leaves it to the next policy.
    fn check(&self, facts: &ConnectionFacts) -> Verdict;
}

/// What kind of device sent this request?
pub trait DevicePolicy: Policy {
    /// The form of the device, or `None` to leave it to the next policy.
    fn classify(&self, facts: &RequestFacts) -> Option<Form>;
}

/// Which template does this virtual host show on this device?
pub trait TemplatePolicy: Policy {
    /// The name of a template for a device of this form, or `None` to leave it to the next policy.
    fn select(&self, facts: &RequestFacts, form: Form) -> Option<String>;
}

/// How is this login to be checked?
pub trait AuthModePolicy: Policy {
    /// The way to check this login, or `None` to leave it to the next policy.
    fn decide(&self, facts: &LoginFacts) -> Option<Mode>;
}
