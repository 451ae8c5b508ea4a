//! What kind of device sent a request.
//!
//! Pure: reads the headers that the overrides name, then client hints, then the User-Agent, and stops when it knows.

#![deny(unsafe_code, missing_docs)]

use doorward_policy::glob::Glob;
use doorward_policy::{DevicePolicy, Form, JsonSchema, Policy, Problem, RequestFacts};
use serde::Deserialize;

mod model;
mod user_agent;
mod words;

/// The settings as the operator writes them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// In order: the first one that fits decides, before anything else is looked at.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// What a request without a User-Agent comes from.
    #[serde(default = "desktop")]
    pub unknown: Form,
}

/// An exception: a header, a pattern for its value, and the form that this means.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Override {
    /// The header's name.
    #[serde(default = "user_agent_header")]
    pub header: String,
    /// Fits if the value has this text in it; letter case does not count.
    pub contains: Option<String>,
    /// Fits if the whole value is so, `*` being any text; letter case does not count.
    pub glob: Option<String>,
    /// What it is then.
    pub form: Form,
}

fn desktop() -> Form {
    Form::Desktop
}

fn user_agent_header() -> String {
    "user-agent".to_string()
}

/// The settings, ready to be asked.
pub struct DeviceDetection {
    overrides: Vec<Exception>,
    unknown: Form,
}

struct Exception {
    header: String,
    pattern: Glob,
    form: Form,
}

impl Policy for DeviceDetection {
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let overrides = settings.overrides.into_iter().enumerate();
        let overrides = overrides.filter_map(|(index, rule)| rule.check(&format!("overrides[{index}]"), &mut problems));
        let policy = DeviceDetection { overrides: overrides.collect(), unknown: settings.unknown };
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }
}

impl DevicePolicy for DeviceDetection {
    fn classify(&self, facts: &RequestFacts) -> Option<Form> {
        let fits = |exception: &&Exception| {
            facts.header(&exception.header).is_some_and(|value| exception.pattern.matches(&value))
        };
        if let Some(exception) = self.overrides.iter().find(fits) {
            return Some(exception.form);
        }
        // Hints before the User-Agent: they say what they mean, and as they have few values, one remembered decision
        // answers for many browsers.
        if let Some(form) = from_hints(facts) {
            return Some(form);
        }
        match facts.header("user-agent").as_deref().map(str::trim) {
            None | Some("") => Some(self.unknown),
            Some(agent) => Some(user_agent::form(agent)),
        }
    }
}

/// What the client hints say, if they say enough. Only browsers built on Chromium send them.
fn from_hints(facts: &RequestFacts) -> Option<Form> {
    match facts.header("sec-ch-ua-mobile")?.trim() {
        "?1" => return Some(Form::Mobile),
        "?0" => {}
        _ => return None,
    }
    // Not mobile is a desktop or a tablet. A phone that was told to ask for the desktop site calls its platform Linux,
    // and then a desktop is what its user wants.
    let platform = facts.header("sec-ch-ua-platform")?;
    match platform.trim().trim_matches('"') {
        "Android" => Some(Form::Tablet),
        "Windows" | "macOS" | "Linux" | "Chrome OS" | "Chromium OS" => {
            // Automated browsers send the hints of a desktop; of those that own up, this is the name of nearly all.
            let brands = facts.header("sec-ch-ua");
            let headless = brands.is_some_and(|brands| brands.contains("HeadlessChrome"));
            Some(if headless { Form::Bot } else { Form::Desktop })
        }
        _ => None,
    }
}

impl Override {
    /// The override ready to be asked, or all that is wrong with it.
    fn check(self, path: &str, problems: &mut Vec<Problem>) -> Option<Exception> {
        let before = problems.len();
        let mut problem = |key: &str, message: String| problems.push(Problem::new(format!("{path}{key}"), message));
        // RFC 9110, 5.6.2: what a header's name may be made of.
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if self.header.is_empty() || !self.header.bytes().all(token) {
            problem(".header", format!("`{}` is not the name of a header", self.header));
        }
        let pattern = match (self.contains, self.glob) {
            (Some(text), None) => {
                if text.is_empty() {
                    problem(".contains", "is empty: every value would fit".to_string());
                }
                if text.contains('*') {
                    problem(".contains", "has a star, which is any text only in `glob`".to_string());
                }
                Some(Glob::new(&format!("*{text}*")))
            }
            (None, Some(pattern)) => Some(Glob::new(&pattern)),
            (Some(_), Some(_)) => {
                problem("", "has both `contains` and `glob`".to_string());
                None
            }
            (None, None) => {
                problem("", "has neither `contains` nor `glob`".to_string());
                None
            }
        };
        (problems.len() == before).then_some(Exception { header: self.header, pattern: pattern?, form: self.form })
    }
}

doorward_policy::export!(device: DeviceDetection);
