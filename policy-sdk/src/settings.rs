//! From the operator's settings, as JSON, to a configured policy or a list of problems with their places.
//!
//! Pure.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use crate::bindings::settings::exports::doorward::policy::settings::Problem;

/// What every policy is: a value made once from the operator's settings.
pub trait Policy: Sized + 'static {
    /// The settings as written. Put `#[serde(deny_unknown_fields)]` on each struct, so that a misspelt key is a problem
    /// and not a silent default; what cannot be told by type alone (a network, a range of numbers) is better a plain
    /// string or number here and checked in [`Policy::configure`], which can report all mistakes at once.
    type Settings: DeserializeOwned + JsonSchema;

    /// Checks the settings and prepares all that a decision needs, or tells every problem found.
    fn configure(settings: Self::Settings) -> Result<Self, Vec<Problem>>;
}

impl Problem {
    /// A problem at a place in the settings (`rules[3].deny`; empty for the whole) with what is wrong there.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { path: path.into(), message: message.into() }
    }
}

/// The policy that these settings, in JSON, ask for. An unknown key or a wrong type ends the reading, so it is reported
/// alone; problems that the policy finds come together.
pub(crate) fn configure<P: Policy>(json: &str) -> Result<P, Vec<Problem>> {
    // By way of a `Value`, because serde_json's own errors end in a line and column of text the operator never saw.
    let value: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| vec![Problem::new("", format!("the settings are not JSON: {error}"))])?;
    // Serde would take a list for a struct and read the fields by position.
    if !value.is_object() {
        return Err(vec![Problem::new("", "the settings are not a table of keys and values")]);
    }
    let settings = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        // The whole is written "." there.
        let path = if path == "." { String::new() } else { path };
        vec![Problem::new(path, error.into_inner().to_string())]
    })?;
    P::configure(settings)
}
