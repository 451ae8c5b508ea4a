//! Who may connect, by network and priority.
//!
//! Pure: reads the client's address and, if there are rules for listeners, the listener.

#![deny(unsafe_code, missing_docs)]

use std::collections::BTreeMap;

use doorward_policy::net::{self, FirstMatch, Range};
use doorward_policy::{AccessPolicy, ConnectionFacts, JsonSchema, Policy, Problem, Verdict};
use serde::Deserialize;

/// The settings as the operator writes them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// What holds when no rule matches.
    #[serde(default)]
    pub default: Default,
    /// Rules for everything; the least specific.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Rules for the service: where one of them matches, `rules` do not count.
    #[serde(default)]
    pub service_rules: Vec<Rule>,
    /// Rules by listener: where one of them matches, no others count.
    #[serde(default)]
    pub listener_rules: BTreeMap<String, Vec<Rule>>,
}

/// What holds when no rule matches.
#[derive(Deserialize, JsonSchema, Clone, Copy, std::default::Default)]
#[serde(rename_all = "kebab-case")]
pub enum Default {
    /// Let it in.
    #[default]
    Allow,
    /// Close it.
    Deny,
}

/// One rule: either `allow` or `deny`, and what goes with it.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Lets these in: a network (`10.0.0.0/8`), a range (`10.0.0.1-10.0.0.9`) or an address.
    pub allow: Option<String>,
    /// Closes these, written alike.
    pub deny: Option<String>,
    /// 1 counts most, 1000 least.
    #[serde(default = "usual_priority")]
    #[schemars(range(min = 1, max = 1000))]
    pub priority: u32,
    /// With `allow`: the limit class for those let in.
    pub limits: Option<String>,
    /// With `deny`: what the log says.
    pub reason: Option<String>,
    /// `false` keeps the rule in the file without effect.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn usual_priority() -> u32 {
    500
}

fn enabled() -> bool {
    true
}

/// The rules, ready to be asked.
pub struct AccessControl {
    default: Default,
    global: Scope,
    service: Scope,
    listeners: BTreeMap<String, Scope>,
}

/// The rules of one scope. Of those that match, the best one stands first.
struct Scope {
    ranges: FirstMatch,
    verdicts: Vec<Verdict>,
}

impl Policy for AccessControl {
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let policy = AccessControl {
            default: settings.default,
            global: Scope::new("rules", settings.rules, &mut problems),
            service: Scope::new("service-rules", settings.service_rules, &mut problems),
            listeners: settings
                .listener_rules
                .into_iter()
                .map(|(name, rules)| {
                    let scope = Scope::new(&format!("listener-rules.{name}"), rules, &mut problems);
                    (name, scope)
                })
                .collect(),
        };
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }
}

impl AccessPolicy for AccessControl {
    fn check(&self, facts: &ConnectionFacts) -> Verdict {
        let client = facts.client_address();
        let Some(address) = net::parse_address(&client) else {
            // No rule can be applied to it, and a way around the rules must not exist.
            return Verdict::Deny(format!("`{client}` is not an IP address"));
        };
        // A fact that cannot matter is not read, so that the proxy can remember one decision for all listeners.
        let listener = if self.listeners.is_empty() { None } else { self.listeners.get(&facts.listener()) };
        let scopes = listener.into_iter().chain([&self.service, &self.global]);
        let found = scopes.into_iter().find_map(|scope| scope.verdict(address)).cloned();
        found.unwrap_or_else(|| match self.default {
            Default::Allow => Verdict::Allow(None),
            Default::Deny => Verdict::Deny("no rule allows it".to_string()),
        })
    }
}

impl Scope {
    /// Checks the rules of a scope and puts them in order: by priority, and of equal ones `deny` first.
    fn new(path: &str, rules: Vec<Rule>, problems: &mut Vec<Problem>) -> Scope {
        let mut checked = Vec::with_capacity(rules.len());
        for (index, rule) in rules.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let (priority, enabled) = (rule.priority, rule.enabled);
            // A rule that is not enabled is checked all the same: enabling it should hold no surprise.
            if let Some((range, verdict)) = rule.check(&path, problems)
                && enabled
            {
                checked.push((priority, range, verdict));
            }
        }
        checked.sort_by_key(|(priority, _, verdict)| (*priority, !matches!(verdict, Verdict::Deny(_))));
        Scope {
            ranges: FirstMatch::new(checked.iter().map(|(_, range, _)| *range)),
            verdicts: checked.into_iter().map(|(.., verdict)| verdict).collect(),
        }
    }

    fn verdict(&self, address: std::net::IpAddr) -> Option<&Verdict> {
        self.verdicts.get(self.ranges.find(address)?)
    }
}

impl Rule {
    /// Where the rule applies and what it says, or all that is wrong with it.
    fn check(self, path: &str, problems: &mut Vec<Problem>) -> Option<(Range, Verdict)> {
        let before = problems.len();
        let mut problem = |key: &str, message: String| problems.push(Problem::new(format!("{path}{key}"), message));
        if !(1..=1000).contains(&self.priority) {
            problem(".priority", format!("{} is not from 1 (counts most) to 1000 (least)", self.priority));
        }
        let (key, text, verdict) = match (self.allow, self.deny) {
            (Some(text), None) => {
                if self.reason.is_some() {
                    problem(".reason", "goes with `deny` only".to_string());
                }
                if self.limits.as_deref() == Some("") {
                    problem(".limits", "is empty: leave it out for the listener's own limits".to_string());
                }
                (".allow", text, Verdict::Allow(self.limits))
            }
            (None, Some(text)) => {
                if self.limits.is_some() {
                    problem(".limits", "goes with `allow` only".to_string());
                }
                let reason = self.reason.unwrap_or_else(|| format!("denied by the rule for {text}"));
                (".deny", text, Verdict::Deny(reason))
            }
            (Some(_), Some(_)) => {
                problem("", "has both `allow` and `deny`: make two rules of it".to_string());
                return None;
            }
            (None, None) => {
                problem("", "has neither `allow` nor `deny`".to_string());
                return None;
            }
        };
        match text.parse() {
            Ok(range) if problems.len() == before => Some((range, verdict)),
            Ok(_) => None,
            Err(message) => {
                problems.push(Problem::new(format!("{path}{key}"), message));
                None
            }
        }
    }
}

doorward_policy::export!(access: AccessControl);
