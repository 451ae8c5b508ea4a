//! Sends plain HTTP to HTTPS, and blocks paths.
//!
//! Pure: reads the path if there is something to block, the method if a rule needs it, and the scheme; over plain HTTP also
//! the path, the host and the target.

#![deny(unsafe_code, missing_docs)]

use std::cell::LazyCell;

use doorward_policy::glob::Glob;
use doorward_policy::host_pattern::HostPattern;
use doorward_policy::{Action, Answer, FilterPolicy, JsonSchema, Policy, Problem, RequestFacts};
use serde::Deserialize;

mod paths;

use paths::Path;

/// The settings as the operator writes them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Sends plain HTTP to HTTPS. Without it plain HTTP is let be.
    pub https: Option<Https>,
    /// Paths that are answered here and not by a node.
    #[serde(default)]
    pub block: Vec<Block>,
}

/// Where plain HTTP is sent, and what is not.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Https {
    /// The port of HTTPS as browsers reach it.
    #[serde(default = "usual_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Paths that stay on plain HTTP; `*` is any text. If it is left out: the challenges of ACME.
    #[serde(default = "acme_challenges")]
    pub except_paths: Vec<String>,
    /// Hosts that stay on plain HTTP: names, or wildcards like `*.example.com`.
    #[serde(default)]
    pub except_hosts: Vec<String>,
}

/// Paths that no node gets to see.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Block {
    /// Patterns of whole paths; `*` is any text, letter case does not count.
    pub paths: Vec<String>,
    /// Only these methods. If it is left out: all.
    pub methods: Option<Vec<String>>,
    /// The answer: 404 or 403.
    #[serde(default = "not_found")]
    pub status: u16,
}

fn usual_port() -> u16 {
    443
}

// Certificate authorities begin at port 80 (RFC 8555, section 8.3), where the next certificate must not need the last.
fn acme_challenges() -> Vec<String> {
    vec!["/.well-known/acme-challenge/*".to_string()]
}

fn not_found() -> u16 {
    404
}

/// The settings, ready to be asked.
pub struct HttpsAndPaths {
    https: Option<Redirect>,
    block: Vec<Rule>,
}

struct Redirect {
    /// Empty, or a colon and the port.
    port: String,
    except_paths: Vec<Glob>,
    except_hosts: Vec<HostPattern>,
}

struct Rule {
    paths: Vec<Glob>,
    methods: Option<Vec<String>>,
    status: u16,
}

impl Policy for HttpsAndPaths {
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if settings.https.is_none() && settings.block.is_empty() {
            problems.push(Problem::new("", "has neither `https` nor `block`: nothing would be done"));
        }
        let https = settings.https.map(|https| https.check(&mut problems));
        let block = settings.block.into_iter().enumerate();
        let block = block.map(|(index, block)| block.check(&format!("block[{index}]"), &mut problems)).collect();
        if problems.is_empty() { Ok(HttpsAndPaths { https, block }) } else { Err(problems) }
    }
}

impl FilterPolicy for HttpsAndPaths {
    fn decide(&self, facts: &RequestFacts) -> Action {
        // Not read where only the scheme matters, so that one remembered decision holds for all paths.
        let path = LazyCell::new(|| Path::read(&facts.path()));
        if !self.block.is_empty() {
            // What it would become on the node is anybody's guess, so no rule could be held against it.
            let Ok(path) = &*path else { return page(400) };
            if let Some(rule) = self.block.iter().find(|rule| rule.blocks(path, facts)) {
                return page(rule.status);
            }
        }
        match &self.https {
            Some(https) if facts.scheme() == "http" => https.redirect(path.as_ref().ok(), facts),
            _ => Action::Pass,
        }
    }
}

impl Rule {
    fn blocks(&self, path: &Path, facts: &RequestFacts) -> bool {
        path.may_be(&self.paths)
            && self.methods.as_ref().is_none_or(|methods| {
                let method = facts.method().to_ascii_uppercase();
                // A node answers `HEAD` by doing what it does for `GET` (RFC 9110, section 9.3.2).
                methods.contains(&method) || method == "HEAD" && methods.iter().any(|method| method == "GET")
            })
    }
}

impl Redirect {
    /// To the same place by HTTPS, with all of the query: in a webmail it says which message is meant.
    fn redirect(&self, path: Option<&Path>, facts: &RequestFacts) -> Action {
        if path.is_some_and(|path| path.must_be(&self.except_paths)) {
            return Action::Pass;
        }
        let host = facts.host();
        if self.except_hosts.iter().any(|pattern| pattern.matches(&host)) {
            return Action::Pass;
        }
        // The host becomes part of a URL, so it must be one; without a host there is nowhere to send the browser.
        let Ok(HostPattern::Exact(_)) = host.parse() else { return page(400) };
        let target = facts.target();
        // `OPTIONS *` has no path.
        let target = if target.starts_with('/') { target.as_str() } else { "/" };
        Action::Redirect(format!("https://{host}{}{target}", self.port))
    }
}

/// A small page. It has nothing of the request in it, so there is nothing to escape.
fn page(status: u16) -> Action {
    let title = match status {
        400 => "Bad request",
        403 => "Forbidden",
        _ => "Not found",
    };
    let body = format!("<!doctype html>\n<html lang=\"en\"><title>{title}</title><h1>{title}</h1></html>\n");
    Action::Answer(Answer::html(status, body))
}

impl Https {
    fn check(self, problems: &mut Vec<Problem>) -> Redirect {
        if self.port == 0 {
            problems.push(Problem::new("https.port", "0 is no port that a browser could reach"));
        }
        let except_paths = patterns("https.except-paths", &self.except_paths, problems);
        let mut except_hosts = Vec::new();
        for (index, text) in self.except_hosts.iter().enumerate() {
            match text.parse() {
                Ok(pattern) => except_hosts.push(pattern),
                Err(message) => problems.push(Problem::new(format!("https.except-hosts[{index}]"), message)),
            }
        }
        let port = if self.port == usual_port() { String::new() } else { format!(":{}", self.port) };
        Redirect { port, except_paths, except_hosts }
    }
}

impl Block {
    fn check(self, path: &str, problems: &mut Vec<Problem>) -> Rule {
        let paths = patterns(&format!("{path}.paths"), &self.paths, problems);
        if self.paths.is_empty() {
            problems.push(Problem::new(format!("{path}.paths"), "names no path"));
        }
        if self.methods.as_ref().is_some_and(Vec::is_empty) {
            problems.push(Problem::new(format!("{path}.methods"), "is empty: leave it out for all methods"));
        }
        let methods = self.methods.unwrap_or_default();
        for (index, method) in methods.iter().enumerate() {
            if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
                let message = format!("`{method}` is not a method");
                problems.push(Problem::new(format!("{path}.methods[{index}]"), message));
            }
        }
        if !matches!(self.status, 403 | 404) {
            let message = format!("{} is neither 403 nor 404", self.status);
            problems.push(Problem::new(format!("{path}.status"), message));
        }
        let methods = methods.iter().map(|method| method.to_ascii_uppercase()).collect::<Vec<_>>();
        Rule { paths, methods: (!methods.is_empty()).then_some(methods), status: self.status }
    }
}

/// Patterns ready to be compared, or all that is wrong with them.
fn patterns(path: &str, texts: &[String], problems: &mut Vec<Problem>) -> Vec<Glob> {
    let mut patterns = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match paths::pattern(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(message) => problems.push(Problem::new(format!("{path}[{index}]"), message)),
        }
    }
    patterns
}

doorward_policy::export!(filter: HttpsAndPaths);
