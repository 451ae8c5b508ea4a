//! Moves users between nodes, sends new ones to new nodes, and keeps tenants on their own.
//!
//! Pure: reads what the rules have conditions about, up to the first that holds, and then the state of its nodes; their load
//! only where several are up.

#![deny(unsafe_code, missing_docs)]

use std::cell::LazyCell;

use doorward_policy::{Destination, JsonSchema, Policy, Problem, RouteFacts, RoutePolicy};
use serde::Deserialize;

/// The settings as the operator writes them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The first rule whose conditions all hold says where a login goes.
    pub rules: Vec<Rule>,
}

/// Conditions, and where a login goes for which all of them hold.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Names of users, as the directory's settings make them of what was typed.
    pub users: Option<Vec<String>>,
    /// Domains of users' names: what stands behind the last `@`. Letter case does not count.
    pub domains: Option<Vec<String>>,
    /// An attribute of the user's entry, which `exposed-attributes` has to list.
    pub attribute: Option<Attribute>,
    /// The nodes on which the user is without this policy.
    pub from: Option<Vec<String>>,
    /// Whether the directory names no node for the user.
    #[serde(default)]
    pub unassigned: bool,
    /// Names of back-ends: the first that is up and free, or else busy, or else full.
    pub nodes: Vec<String>,
    /// What holds while none of them takes logins.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// An attribute with a value.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// The value that it has, among others. Letter case does not count.
    pub value: String,
}

/// What holds while no node of a rule takes logins.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// The user is asked to try again later: the mailbox is nowhere else.
    #[default]
    Later,
    /// The login goes where it goes without this policy: all nodes have all mailboxes.
    Keep,
}

/// The settings, ready to be asked.
pub struct NodeRouting {
    rules: Vec<Rule>,
}

impl Policy for NodeRouting {
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if settings.rules.is_empty() {
            problems.push(Problem::new("rules", "is empty: nobody would be moved"));
        }
        for (index, rule) in settings.rules.iter().enumerate() {
            rule.check(&format!("rules[{index}]"), &mut problems);
        }
        if problems.is_empty() { Ok(NodeRouting { rules: settings.rules }) } else { Err(problems) }
    }
}

impl RoutePolicy for NodeRouting {
    fn decide(&self, facts: &RouteFacts) -> Option<Destination> {
        let name = LazyCell::new(|| facts.username());
        let rule = self.rules.iter().find(|rule| rule.holds(&name, facts))?;
        Some(match rule.best(facts) {
            Some(node) => Destination::Node(node.to_owned()),
            None if rule.otherwise == Otherwise::Keep => Destination::Keep,
            None => Destination::Later,
        })
    }
}

impl Rule {
    fn holds(&self, name: &LazyCell<String, impl FnOnce() -> String>, facts: &RouteFacts) -> bool {
        let is_named = |users: &Vec<String>| users.iter().any(|user| *user == **name);
        let is_of = |domains: &Vec<String>| {
            let domain = name.rsplit_once('@').map(|(_, domain)| domain);
            domain.is_some_and(|domain| domains.iter().any(|one| one.eq_ignore_ascii_case(domain)))
        };
        let has = |attribute: &Attribute| {
            facts.attribute(&attribute.name).iter().any(|value| value.eq_ignore_ascii_case(&attribute.value))
        };
        let is_on = |nodes: &Vec<String>| facts.usual_node().is_some_and(|usual| nodes.contains(&usual));
        self.users.as_ref().is_none_or(is_named)
            && self.domains.as_ref().is_none_or(is_of)
            && self.attribute.as_ref().is_none_or(has)
            && self.from.as_ref().is_none_or(is_on)
            && (!self.unassigned || facts.directory_hosts().is_empty())
    }

    /// Of its nodes that take logins, the first of those with the least load.
    fn best(&self, facts: &RouteFacts) -> Option<&str> {
        let is_up = |node: &&String| facts.node_state(node).as_deref() == Some("up");
        let up: Vec<&String> = self.nodes.iter().filter(is_up).collect();
        let [only] = up[..] else {
            let load = |node: &&String| match facts.node_load(node).as_deref() {
                Some("free") => 0,
                Some("busy") => 1,
                _ => 2,
            };
            return up.into_iter().min_by_key(load).map(String::as_str);
        };
        Some(only)
    }

    fn check(&self, path: &str, problems: &mut Vec<Problem>) {
        let lists = [("users", &self.users), ("domains", &self.domains), ("from", &self.from)];
        for (key, list) in lists.into_iter().filter_map(|(key, list)| list.as_ref().map(|list| (key, list))) {
            if list.is_empty() {
                problems.push(Problem::new(format!("{path}.{key}"), "is empty, so the rule would hold for nobody"));
            }
        }
        if self.nodes.is_empty() {
            problems.push(Problem::new(format!("{path}.nodes"), "names no node"));
        }
        // Each node costs two of the 64 facts that a decision may read.
        if self.nodes.len() > 24 {
            problems.push(Problem::new(format!("{path}.nodes"), "names more than 24 nodes"));
        }
    }
}

doorward_policy::export!(route: NodeRouting);
