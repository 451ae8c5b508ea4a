//! Logs a user in to a node by its recipe, as a browser would, and says what the node answered.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt;
use hyper::header;
use hyper::http::response::Parts;
use hyper::{HeaderMap, Method, Request, Response};
use serde::{Deserialize, Serialize};

use super::Node;
use super::body::{NodeBody, Outgoing};
use super::forward::{Hop, forward};
use super::jar::{self, Jar};
use super::masked::masked;
use super::recipe::{Answered, Escape, Extract, From, Landing, Recipe, Stage, Step, Verdict};
use super::request::{self, Made, of_user};
use crate::reply::Refusal;
use crate::secret::{Secret, Values};
use crate::times::{millis, since_1970};
use crate::traces::{self, Label};

/// A page read for its form or its words may be so large.
const PAGE_SIZE: usize = 2 << 20;
/// What is found in a page may be so long; tokens have some hundred bytes.
const VALUE_SIZE: usize = 16 << 10;
/// What a session keeps for its node: it goes into a cookie, of which browsers take 4096 bytes.
const KEPT_SIZE: usize = 1024;
/// Longer waits than a day are no node's business.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// Who logs in.
pub struct Person<'a> {
    /// The canonical name that was typed.
    pub name: &'a str,
    /// The user's one name, which nodes are told.
    pub user: &'a str,
    /// The password.
    pub secret: &'a Secret,
    /// What the directory says of the user, by lower-case name.
    pub attributes: &'a BTreeMap<String, Vec<String>>,
}

/// What a recipe may know of the client besides.
pub struct Visitor<'a> {
    /// The language that the browser asks for first.
    pub lang: &'a str,
    /// Where the user wants to go.
    pub target: &'a str,
    /// Scheme and host as the browser sees them.
    pub origin: String,
    /// The form of the device: `desktop`, `mobile`, `tablet` or `bot`.
    pub device: &'a str,
    /// The look of our own pages.
    pub template: &'a str,
}

/// What a login that worked leaves for the browser.
#[derive(Debug)]
pub struct LoggedIn {
    /// `Set-Cookie` values of the node, in order.
    pub cookies: Vec<String>,
    /// Where the node's answer, or the recipe, leads: not yet fitted to the public site.
    pub landing: String,
    /// The same for people to see.
    pub landing_masked: String,
    /// What later requests to the node need.
    pub kept: Values,
}

/// A login that waits for its second factor. Holds the node's cookies, and perhaps the password: it must be sealed
/// wherever it goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pending {
    jar: Jar,
    values: Values,
}

/// Why there was no login.
#[derive(Debug)]
pub enum LoginError {
    /// The node refuses name or password, or the code.
    Wrong,
    /// The node wants a code after the password, which was right.
    SecondFactor(Box<Pending>),
    /// The node wants the password changed first.
    PasswordExpired,
    /// The node takes no more logins for a while, perhaps it says for how long.
    Throttled(Option<Duration>),
    /// The node could not check them, or did not answer as the recipe says.
    Refusal(Refusal),
}

impl std::convert::From<Refusal> for LoginError {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

/// Something that happened on the way, for whoever tries a recipe by hand. Nothing of it is secret.
#[derive(Debug)]
pub enum Event<'a> {
    /// A request was sent: method, and path with its placeholders unfilled.
    Sent(&'a Method, String),
    /// An answer came: its status, the cookies it sets by name, and where it leads, without what could be secret.
    Got(u16, Vec<&'a str>, Option<String>),
    /// A value was looked for, and found.
    Found(&'a str, bool),
    /// What the answer means; none when no test holds.
    Means(Option<Verdict>),
    /// What does not work.
    Fault(String),
}

/// Who is told of events.
pub type Watcher<'a> = &'a dyn Fn(Event<'_>);

/// A login on its way.
struct Way<'a> {
    hop: Hop<'a>,
    headers: &'a HeaderMap,
    jar: Jar,
    values: Values,
    watcher: Watcher<'a>,
}

/// The last answer to a step.
struct Last {
    /// The path that was asked for, as the node sees it.
    path: String,
    parts: Parts,
    page: String,
    verdict: Option<Verdict>,
}

/// Goes through the recipe. `headers` are those that the node would get with any request of this client.
///
/// # Errors
/// [`LoginError`]; the node's own words go to the log, never the password.
pub(super) async fn log_in(
    hop: Hop<'_>,
    headers: &HeaderMap,
    (person, visitor): (&Person<'_>, &Visitor<'_>),
    watcher: Watcher<'_>,
) -> Result<LoggedIn, LoginError> {
    let recipe = &hop.node.recipe;
    let mut way = Way { hop, headers, jar: Jar::default(), values: values(recipe, person, visitor), watcher };
    for step in &recipe.prefetch {
        way.take(step, Stage::Prefetch).await?;
    }
    way.all_found(Stage::Prefetch)?;
    match &recipe.login {
        Some(step) => {
            let last = way.take(step, Stage::Login).await?;
            way.judge(&last)
        }
        None => way.finish(""),
    }
}

/// Brings the code that a pending login waits for.
///
/// # Errors
/// As [`log_in`].
pub(super) async fn second_factor(
    hop: Hop<'_>,
    headers: &HeaderMap,
    pending: &Pending,
    code: &Secret,
    watcher: Watcher<'_>,
) -> Result<LoggedIn, LoginError> {
    let Pending { jar, values } = pending.clone();
    let mut way = Way { hop, headers, jar, values, watcher };
    way.values.set("otp", code.expose().trim());
    set_own(&hop.node.recipe, &mut way.values);
    let Some(step) = &hop.node.recipe.second_factor else { return Err(Refusal::NodeBroken.into()) };
    let last = way.take(step, Stage::Login).await?;
    match way.judge(&last) {
        // Asked again: the code was not right.
        Err(LoginError::SecondFactor(_)) => Err(LoginError::Wrong),
        other => other,
    }
}

/// Logs out at the node, as the recipe says, with the cookies of the browser that are in `headers`.
///
/// # Errors
/// The node does not answer, or the recipe asks for what is not there.
pub async fn log_out(hop: Hop<'_>, headers: &HeaderMap, user: &str, kept: &Values) -> Result<(), Refusal> {
    let recipe = &hop.node.recipe;
    let Some(step) = recipe.logout.as_ref().and_then(|logout| logout.call.as_ref()) else { return Ok(()) };
    let values = later_values(recipe, user, kept);
    let mut way = Way { hop, headers, jar: Jar::of_browser(headers), values, watcher: &|_| {} };
    match way.take(step, Stage::Logout).await {
        Err(LoginError::Refusal(refusal)) => Err(refusal),
        _ => Ok(()),
    }
}

/// Gives a browser's request what the recipe adds to each.
///
/// # Errors
/// What the recipe asks for is not there, or cannot stand in a header.
pub fn equip(node: &Node, user: &str, kept: &Values, request: &mut Request<Outgoing>) -> Result<(), Refusal> {
    let recipe = &node.recipe;
    if recipe.inject.is_empty() && recipe.session_query.is_none() {
        return Ok(());
    }
    let values = later_values(recipe, user, kept);
    request::equip(recipe, &values, request).map_err(|error| cannot_ask(node, &error))
}

fn later_values(recipe: &Recipe, user: &str, kept: &Values) -> Values {
    let mut values = of_user(user, None);
    values.add(kept);
    set_own(recipe, &mut values);
    values
}

fn cannot_ask(node: &Node, error: &request::Error) -> Refusal {
    tracing::error!(backend = node.name(), %error, "a request of the recipe cannot be made");
    Refusal::NodeBroken
}

/// What the placeholders of a login are filled with, before anything is asked.
fn values(recipe: &Recipe, person: &Person<'_>, visitor: &Visitor<'_>) -> Values {
    let mut values = of_user(person.user, Some(person.secret));
    for (name, found) in person.attributes {
        if let Some(first) = found.first() {
            values.set(&format!("attr.{name}"), first);
        }
    }
    values.set("lang", visitor.lang);
    values.set("target", visitor.target);
    values.set("origin", &visitor.origin);
    values.set("device", visitor.device);
    values.set("template", visitor.template);
    if let Some(interface) = recipe.interface_for(visitor.device) {
        values.set("interface", interface);
    }
    set_own(recipe, &mut values);
    values
}

/// The time, and the secret.
fn set_own(recipe: &Recipe, values: &mut Values) {
    let now = millis(since_1970(SystemTime::now()));
    values.set("timestamp-ms", &now.to_string());
    if let Some(secret) = &recipe.secret {
        values.set("secret", secret.expose());
    }
}

impl Way<'_> {
    fn recipe(&self) -> &Recipe {
        &self.hop.node.recipe
    }

    /// Sends a step's request, follows where it leads as far as the recipe says, and looks at every answer.
    async fn take(&mut self, step: &Step, stage: Stage) -> Result<Last, LoginError> {
        let node = self.hop.node;
        let made = match stage {
            // What is signed is known at the login only.
            Stage::Logout => Ok(()),
            _ => request::sign(&node.recipe, &mut self.values).map_err(request::Error::from),
        };
        let mut made = made.and_then(|()| Made::of_step(step, &self.values)).map_err(|error| self.fault(&error))?;
        (self.watcher)(Event::Sent(&step.method, step.path.shown()));
        for left in (0..=step.follow).rev() {
            let request = self.request(&made, stage).map_err(|error| self.fault(&error))?;
            let path = request.uri().path().to_owned();
            let told = || Label::Text(format!("{} {}", request.method(), self.masked(&path)));
            let _step = traces::step("recipe-step", told);
            let (parts, page) = page_of(forward(self.hop, Box::new(request.into())).await?.response()?).await?;
            let last = self.look(parts, page, &path, stage);
            let next = self.leads_to(&last).filter(|_| last.verdict.is_none());
            let Some(next) = next.filter(|_| left > 0) else { return Ok(last) };
            made.redirect((last.parts.status, &jar::names(&last.parts.headers)), next, &self.jar);
            (self.watcher)(Event::Sent(&made.method, self.masked(&made.path)));
        }
        // The last round of the loop always returns.
        Err(Refusal::Internal.into())
    }

    fn request(&self, made: &Made, stage: Stage) -> Result<Request<Outgoing>, request::Error> {
        let mut request = made.request(self.hop.node, self.headers, &self.jar)?;
        if stage == Stage::Logout {
            request::equip(self.recipe(), &self.values, &mut request)?;
        }
        Ok(request)
    }

    /// Where something leads, without what the node has given and whatever else could be secret.
    fn masked(&self, location: &str) -> String {
        let extracts = self.recipe().extracts.iter().filter_map(|extract| self.values.get(&extract.name));
        masked(location, self.jar.values().chain(extracts))
    }

    fn fault(&self, error: &request::Error) -> Refusal {
        (self.watcher)(Event::Fault(error.to_string()));
        cannot_ask(self.hop.node, error)
    }

    /// Takes what an answer brings: cookies, values, and what it means.
    fn look(&mut self, parts: Parts, page: String, path: &str, stage: Stage) -> Last {
        // As the node sees its paths; what goes to the browser is fitted later.
        self.jar.take(&parts.headers, path);
        let answer = Answered::new(parts.status, &parts.headers, &page);
        let mut found = Vec::new();
        for extract in self.hop.node.recipe.extracts.iter().filter(|extract| extract.after == stage) {
            if let Some(value) = find(extract, &answer, &self.jar) {
                self.values.set(&extract.name, &value);
                found.push(&extract.name);
            }
        }
        let location = Some(answer.location()).filter(|location| !location.is_empty());
        let location = location.map(|location| self.masked(location));
        (self.watcher)(Event::Got(parts.status.as_u16(), jar::names(&parts.headers), location));
        found.into_iter().for_each(|name| (self.watcher)(Event::Found(name, true)));
        let verdict = if stage == Stage::Login { self.recipe().verdict(&answer) } else { None };
        Last { path: path.to_owned(), parts, page, verdict }
    }

    /// The node's own path that an answer leads to, if it leads anywhere, and there.
    fn leads_to(&self, last: &Last) -> Option<String> {
        let node = self.hop.node;
        let location = last.parts.headers.get(header::LOCATION).filter(|_| request::leads_on(last.parts.status))?;
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        let location = resolved(&String::from_utf8_lossy(location.as_bytes()), &last.path);
        let path =
            node.fitting(self.hop.peer.scheme().as_str(), host).to_public(location.as_bytes()).unwrap_or(location);
        (path.starts_with('/') && !path.starts_with("//")).then(|| path.split('#').next().unwrap_or("/").to_owned())
    }

    /// What the recipe looks for must be there by now, or have a default.
    fn all_found(&mut self, stage: Stage) -> Result<(), LoginError> {
        let node = self.hop.node;
        for extract in node.recipe.extracts.iter().filter(|extract| extract.after == stage) {
            if self.values.get(&extract.name).is_some() {
                continue;
            }
            match &extract.default {
                Some(default) => self.values.set(&extract.name, default),
                None => {
                    (self.watcher)(Event::Found(&extract.name, false));
                    tracing::error!(
                        backend = node.name(),
                        extract = extract.name,
                        "the node's answers lack what the recipe needs"
                    );
                    return Err(Refusal::NodeBroken.into());
                }
            }
        }
        Ok(())
    }

    fn judge(mut self, last: &Last) -> Result<LoggedIn, LoginError> {
        let (backend, status) = (self.hop.node.name(), last.parts.status);
        (self.watcher)(Event::Means(last.verdict));
        match last.verdict {
            Some(Verdict::Success) => {
                let answer = Answered::new(status, &last.parts.headers, &last.page);
                self.finish(&resolved(answer.location(), &last.path))
            }
            Some(Verdict::SecondFactor) => {
                let recipe = &self.hop.node.recipe;
                // What is optional and was not there.
                for extract in &recipe.extracts {
                    if let (None, Some(default)) = (self.values.get(&extract.name), &extract.default) {
                        self.values.set(&extract.name, default);
                    }
                }
                let values = self.values.only(|name| name != "secret" && recipe.needs_for_second_factor(name));
                Err(LoginError::SecondFactor(Box::new(Pending { jar: self.jar, values })))
            }
            Some(Verdict::PasswordExpired) => Err(LoginError::PasswordExpired),
            Some(Verdict::Down) => {
                tracing::error!(backend, %status, "the node cannot check logins");
                Err(Refusal::NodeDown.into())
            }
            Some(Verdict::Throttled) => {
                tracing::warn!(backend, %status, "the node takes no more logins of this user for a while");
                Err(LoginError::Throttled(retry_after(&last.parts.headers)))
            }
            Some(Verdict::Failure) => Err(LoginError::Wrong),
            None => {
                tracing::error!(backend, %status, "the node's answer to a login is not in the recipe");
                Err(Refusal::NodeBroken.into())
            }
        }
    }

    fn finish(mut self, location: &str) -> Result<LoggedIn, LoginError> {
        self.all_found(Stage::Login)?;
        let recipe = &self.hop.node.recipe;
        let landing = match &recipe.landing {
            Landing::Location if location.is_empty() => "/".to_owned(),
            Landing::Location => location.to_owned(),
            Landing::Path(template) => {
                template.fill(&self.values, Escape::Url).map_err(|error| self.fault(&error.into()))?
            }
        };
        let kept = recipe.kept(&self.values);
        if kept.size() > KEPT_SIZE {
            tracing::error!(backend = self.hop.node.name(), "what the session must keep is too large for a cookie");
            return Err(Refusal::NodeBroken.into());
        }
        let landing_masked = self.masked(&landing);
        Ok(LoggedIn { cookies: std::mem::take(&mut self.jar.set), landing, landing_masked, kept })
    }
}

/// Looks for a value in an answer.
fn find(extract: &Extract, answer: &Answered<'_>, jar: &Jar) -> Option<String> {
    let key = extract.key.as_str();
    let found = match extract.from {
        From::HtmlInput => doorward_wire::html::input_value(answer.page, key)?,
        From::Cookie => jar.value(key)?.to_owned(),
        From::Header => answer.headers.get(key)?.to_str().ok()?.to_owned(),
        From::Json => match answer.json(key)? {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(number) => number.to_string(),
            _ => return None,
        },
        From::Body => answer.page.to_owned(),
    };
    let value = match &extract.regex {
        Some(regex) => regex.find(&found)?.to_owned(),
        None => found,
    };
    (value.len() <= VALUE_SIZE).then_some(value)
}

/// The whole of an answer that is read here.
async fn page_of(response: Response<NodeBody>) -> Result<(Parts, String), Refusal> {
    let (parts, body) = response.into_parts();
    let body = http_body_util::Limited::new(body, PAGE_SIZE).collect().await.map_err(|error| {
        tracing::warn!(%error, "a node's login page cannot be read");
        Refusal::NodeBroken
    })?;
    Ok((parts, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

/// In seconds; the other form, a date, is no node's of ours (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// A `Location` that is relative (RFC 9110, section 10.2.2) as a path; others as they are.
fn resolved(location: &str, from: &str) -> String {
    if location.is_empty() || location.starts_with('/') || location.contains("://") {
        return location.to_owned();
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    match location.strip_prefix("./").unwrap_or(location) {
        query if query.starts_with('?') && !location.starts_with("./") => format!("{from}{query}"),
        rest => format!("{folder}/{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_way_begins_where_it_was_told() {
        let check = |location: &str, path: &str| assert_eq!(resolved(location, "/rc/login.php"), path, "{location}");
        check("./?_task=mail", "/rc/?_task=mail");
        check("index.php", "/rc/index.php");
        check("?x=1", "/rc/login.php?x=1");
        check("/y", "/y");
        check("//evil.test/", "//evil.test/");
        check("https://evil.test/", "https://evil.test/");
        check("", "");
    }

    #[test]
    fn a_node_may_ask_for_a_wait_of_a_day_and_no_more() {
        let wait = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static(text));
            retry_after(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!((wait("90"), wait("99999999999")), (Some(90), Some(86_400)));
        assert_eq!((wait("-1"), wait("Wed, 21 Oct 2026 07:28:00 GMT")), (None, None));
    }
}
