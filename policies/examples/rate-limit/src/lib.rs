//! Limits how many requests a session or an address makes, for all paths or for one.
//!
//! Pure: reads the path where a rule names paths, the user where one excepts users, and of use no more than whether a rule's
//! number is passed. So almost every decision is found again.

#![deny(unsafe_code, missing_docs)]

use std::cell::LazyCell;

use doorward_policy::glob::Glob;
use doorward_policy::{Action, Answer, FilterPolicy, JsonSchema, Policy, Problem, RequestFacts};
use serde::Deserialize;

/// The settings as the operator writes them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// A request passes if no rule refuses it.
    pub rules: Vec<Rule>,
}

/// How many requests are let through.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Patterns of whole paths; `*` is any text, letter case does not count. If it is left out: all.
    pub paths: Option<Vec<String>>,
    /// Users of sessions for whom the rule does not hold.
    #[serde(default)]
    pub except_users: Vec<String>,
    /// Whose requests are counted.
    pub of: Of,
    /// In which time.
    pub per: Per,
    /// So many requests in that time pass.
    #[schemars(range(min = 1))]
    pub most: u32,
}

/// Whose requests are counted.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// Those of the session, whatever the path.
    Session,
    /// Those of the client's address, whatever the path.
    Address,
    /// Those of the client's address for the path of the request.
    Path,
}

/// In which time.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// In the last minute.
    Minute,
    /// In the last hour.
    Hour,
}

/// The settings, ready to be asked.
pub struct RateLimit {
    rules: Vec<Ready>,
}

struct Ready {
    paths: Option<Vec<Glob>>,
    except_users: Vec<String>,
    of: Of,
    /// The window and the one step of it that matters.
    steps: String,
    /// Seconds after which another try is of use.
    wait: &'static str,
}

impl Policy for RateLimit {
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if settings.rules.is_empty() {
            problems.push(Problem::new("rules", "is empty: nothing would be limited"));
        }
        let rules = settings.rules.into_iter().enumerate();
        let rules = rules.map(|(index, rule)| rule.check(&format!("rules[{index}]"), &mut problems)).collect();
        if problems.is_empty() { Ok(RateLimit { rules }) } else { Err(problems) }
    }
}

impl FilterPolicy for RateLimit {
    fn decide(&self, facts: &RequestFacts) -> Action {
        let path = LazyCell::new(|| facts.path());
        let is_there =
            |rule: &&Ready| rule.paths.as_ref().is_none_or(|paths| paths.iter().any(|pattern| pattern.matches(&path)));
        match self.rules.iter().filter(is_there).find(|rule| rule.is_passed(facts)) {
            Some(rule) => Action::Answer(
                Answer::text(429, "Too many requests. Please try again later.\n").with("retry-after", rule.wait),
            ),
            None => Action::Pass,
        }
    }
}

impl Ready {
    fn is_passed(&self, facts: &RequestFacts) -> bool {
        let count = match self.of {
            Of::Session => facts.requests_of_session(&self.steps),
            Of::Address => facts.requests_of_address(&self.steps),
            Of::Path => facts.requests_for_path(&self.steps),
        };
        let is_excepted = || facts.session_user().is_some_and(|user| self.except_users.contains(&user));
        count > 0 && (self.except_users.is_empty() || !is_excepted())
    }
}

impl Rule {
    fn check(self, path: &str, problems: &mut Vec<Problem>) -> Ready {
        if self.most == 0 {
            problems.push(Problem::new(format!("{path}.most"), "0 would let nothing through"));
        }
        if self.paths.as_ref().is_some_and(Vec::is_empty) {
            problems.push(Problem::new(format!("{path}.paths"), "is empty: leave it out for all paths"));
        }
        let (window, wait) = match self.per {
            Per::Minute => ("minute", "60"),
            Per::Hour => ("hour", "3600"),
        };
        Ready {
            paths: self.paths.map(|paths| paths.iter().map(|text| Glob::new(text)).collect()),
            except_users: self.except_users,
            of: self.of,
            // The first request that is one too many.
            steps: format!("{window} {}", self.most.saturating_add(1)),
            wait,
        }
    }
}

doorward_policy::export!(filter: RateLimit);
