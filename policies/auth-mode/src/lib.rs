//! How a login is checked, by rules over who logs in and from where. The first rule that holds decides.
//!
//! Pure: reads only the facts that the rules need, up to the one that decides.

#![deny(unsafe_code, missing_docs)]

use std::cell::OnceCell;
use std::net::IpAddr;

use doorward_policy::glob::Glob;
use doorward_policy::host_pattern::HostPattern;
use doorward_policy::net::{self, Range};
use doorward_policy::{AuthModePolicy, JsonSchema, LoginFacts, Mode, Policy, Problem};
use serde::Deserialize;

/// The settings as the operator writes them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// In order: the first rule that holds decides.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// How to check a login for which no rule holds. Without it the next policy decides.
    pub default: Option<ModeName>,
}

/// One rule: conditions, all of which must hold, and either `mode` or `refuse`. Without conditions it always holds.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// What stands in the user name after the last `@`; `*` is any text. A name without `@` has no domain.
    pub domain: Option<String>,
    /// The virtual host: a name, or a wildcard like `*.example.com`.
    pub host: Option<String>,
    /// The listener's name.
    pub listener: Option<String>,
    /// The client's address: a network (`10.0.0.0/8`), a range (`10.0.0.1-10.0.0.9`) or an address.
    pub address: Option<String>,
    /// At least so many recent logins failed from the client's network.
    pub failures_from_address: Option<u32>,
    /// At least so many recent logins failed for this name, from any network.
    pub failures_for_user: Option<u32>,
    /// An attribute of the user's entry in the directory.
    pub attribute: Option<Attribute>,
    /// How the login is checked.
    pub mode: Option<ModeName>,
    /// Refuses the login; this is shown on the login page.
    pub refuse: Option<String>,
}

/// An attribute that the user's entry must have.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// What one of its values must be; `*` is any text. Without it any value will do.
    pub value: Option<String>,
}

/// A way to check a login.
#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum ModeName {
    /// On the proxy, by LDAP bind as the user.
    LdapBind,
    /// On the proxy, by the password attribute of the entry.
    LdapPassword,
    /// By the back-end that holds the mailbox.
    BackEnd,
}

/// The rules, ready to be asked.
pub struct AuthMode {
    rules: Vec<ReadyRule>,
    default: Option<Mode>,
}

struct ReadyRule {
    conditions: Vec<Condition>,
    mode: Mode,
}

/// Something that must hold, in order of what it costs to know.
enum Condition {
    Listener(String),
    Address(Range),
    Host(HostPattern),
    Domain(Glob),
    FailuresFromAddress(u32),
    FailuresForUser(u32),
    // The directory has answered before: the host looks the user up for every attempt.
    Attribute(String, Glob),
}

impl Policy for AuthMode {
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let rules = settings.rules.into_iter().enumerate();
        let rules = rules.filter_map(|(index, rule)| rule.check(&format!("rules[{index}]"), &mut problems)).collect();
        let default = settings.default.map(ModeName::mode);
        if problems.is_empty() { Ok(AuthMode { rules, default }) } else { Err(problems) }
    }
}

impl AuthModePolicy for AuthMode {
    fn decide(&self, facts: &LoginFacts) -> Option<Mode> {
        let seen = Seen {
            facts,
            listener: OnceCell::new(),
            address: OnceCell::new(),
            host: OnceCell::new(),
            domain: OnceCell::new(),
        };
        let rule = self.rules.iter().find(|rule| rule.conditions.iter().all(|condition| condition.holds(&seen)));
        rule.map(|rule| rule.mode.clone()).or_else(|| self.default.clone())
    }
}

/// The facts of one decision, each read when it is first needed and then kept.
struct Seen<'a> {
    facts: &'a LoginFacts,
    listener: OnceCell<String>,
    address: OnceCell<Option<IpAddr>>,
    host: OnceCell<String>,
    domain: OnceCell<Option<String>>,
}

impl Condition {
    fn holds(&self, seen: &Seen<'_>) -> bool {
        let facts = seen.facts;
        match self {
            Condition::Listener(name) => seen.listener.get_or_init(|| facts.listener()) == name,
            Condition::Address(range) => {
                let address = seen.address.get_or_init(|| net::parse_address(&facts.client_address()));
                address.is_some_and(|address| range.contains(address))
            }
            Condition::Host(pattern) => pattern.matches(seen.host.get_or_init(|| facts.host())),
            Condition::Domain(pattern) => {
                let domain = || facts.username().rsplit_once('@').map(|(_, domain)| domain.to_string());
                seen.domain.get_or_init(domain).as_deref().is_some_and(|domain| pattern.matches(domain))
            }
            Condition::FailuresFromAddress(least) => facts.recent_failures_from_address() >= *least,
            Condition::FailuresForUser(least) => facts.recent_failures_for_user() >= *least,
            Condition::Attribute(name, pattern) => facts.attribute(name).iter().any(|value| pattern.matches(value)),
        }
    }
}

impl Rule {
    /// The rule ready to be asked, or all that is wrong with it.
    fn check(self, path: &str, problems: &mut Vec<Problem>) -> Option<ReadyRule> {
        let before = problems.len();
        let mut problem = |key: &str, message: String| problems.push(Problem::new(format!("{path}{key}"), message));
        let mode = match (self.mode, self.refuse) {
            (Some(mode), None) => Some(mode.mode()),
            (None, Some(message)) => Some(Mode::Refuse(message)),
            (Some(_), Some(_)) => {
                problem("", "has both `mode` and `refuse`".to_string());
                None
            }
            (None, None) => {
                problem("", "has neither `mode` nor `refuse`".to_string());
                None
            }
        };
        let mut conditions = Vec::new();
        conditions.extend(self.listener.map(Condition::Listener));
        if let Some(text) = self.address {
            match text.parse() {
                Ok(range) => conditions.push(Condition::Address(range)),
                Err(message) => problem(".address", message),
            }
        }
        if let Some(text) = self.host {
            match text.parse() {
                Ok(pattern) => conditions.push(Condition::Host(pattern)),
                Err(message) => problem(".host", message),
            }
        }
        if let Some(text) = self.domain {
            if text.is_empty() || text.contains('@') {
                problem(".domain", format!("`{text}` is not a domain: it is what stands after the `@`"));
            }
            conditions.push(Condition::Domain(Glob::new(&text)));
        }
        conditions.extend(self.failures_from_address.map(Condition::FailuresFromAddress));
        conditions.extend(self.failures_for_user.map(Condition::FailuresForUser));
        if let Some(attribute) = self.attribute {
            if attribute.name.is_empty() {
                problem(".attribute.name", "is empty".to_string());
            }
            let pattern = Glob::new(attribute.value.as_deref().unwrap_or("*"));
            conditions.push(Condition::Attribute(attribute.name, pattern));
        }
        (problems.len() == before).then_some(ReadyRule { conditions, mode: mode? })
    }
}

impl ModeName {
    fn mode(self) -> Mode {
        match self {
            ModeName::LdapBind => Mode::LdapBind,
            ModeName::LdapPassword => Mode::LdapPassword,
            ModeName::BackEnd => Mode::BackEnd,
        }
    }
}

doorward_policy::export!(auth_mode: AuthMode);
