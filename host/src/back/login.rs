//! Logs a user in to a node by its recipe, as a browser would, and says what the node answered.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::forward::{Hop, NodeBody, Outgoing, forward};
use super::recipe::{Encoding, From, Landing, Recipe, Test};
use super::{Node, html};
use crate::reply::Refusal;
use crate::secret::Secret;
use crate::text;

/// A page read for its form or its words may be so large.
const PAGE_SIZE: usize = 2 << 20;

/// What a login that worked leaves for the browser.
#[derive(Debug)]
pub struct LoggedIn {
    /// `Set-Cookie` values of the node, in order.
    pub cookies: Vec<String>,
    /// Where the node's answer, or the recipe, leads: not yet fitted to the public site.
    pub landing: String,
}

/// Why there was no login.
#[derive(Debug)]
pub enum LoginError {
    /// The node refuses name or password.
    Wrong,
    /// The node could not check them, or did not answer as the recipe says.
    Refusal(Refusal),
}

impl std::convert::From<Refusal> for LoginError {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

/// The browser's cookies, for the time of a login.
#[derive(Default)]
struct Jar {
    set: Vec<String>,
    values: Vec<(String, String)>,
}

/// Goes through the recipe. `headers` are those that the node would get with any request of this client.
///
/// # Errors
/// [`LoginError`]; the node's own words go to the log, never the password.
pub async fn log_in(hop: Hop<'_>, headers: &HeaderMap, user: &str, secret: &Secret) -> Result<LoggedIn, LoginError> {
    let node = hop.node;
    let recipe = &node.recipe;
    let mut jar = Jar::default();
    let mut extracted: Vec<(&str, String)> = Vec::new();
    if let Some(path) = &recipe.prefetch {
        let request = request(node, Method::GET, path, headers, &jar, whole(Bytes::new()));
        let (parts, page) = page_of(forward(hop, Box::new(request)).await?).await?;
        jar.take(&parts.headers, path);
        for extract in &recipe.extracts {
            let value = match extract.from {
                From::HtmlInput => html::input_value(&page, &extract.key),
                From::Cookie => jar.value(&extract.key),
                From::Header => parts.headers.get(&extract.key).and_then(|v| v.to_str().ok()).map(str::to_owned),
            };
            let Some(value) = value else {
                tracing::error!(backend = node.name(), extract = extract.name, status = %parts.status,
                    "the node's login page lacks what the recipe needs");
                return Err(Refusal::NodeBroken.into());
            };
            extracted.push((&extract.name, value));
        }
    }
    let (media_type, body) = fields(recipe, user, secret, &extracted);
    let mut request = request(node, Method::POST, &recipe.login.path, headers, &jar, whole(body));
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let (parts, page) = page_of(forward(hop, Box::new(request)).await?).await?;
    jar.take(&parts.headers, &recipe.login.path);
    judge(node, &parts, &page, jar)
}

fn judge(node: &Node, parts: &hyper::http::response::Parts, page: &str, jar: Jar) -> Result<LoggedIn, LoginError> {
    let recipe = &node.recipe;
    let answer = Answered { status: parts.status, headers: &parts.headers, page };
    if recipe.success.all(&answer) {
        let location = parts.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let landing = match &recipe.landing {
            Landing::Location => location.unwrap_or("/").to_owned(),
            Landing::Path(path) => path.clone(),
        };
        return Ok(LoggedIn { cookies: jar.set, landing });
    }
    if recipe.down.any(&answer) {
        tracing::error!(backend = node.name(), status = %parts.status, "the node cannot check logins");
        return Err(Refusal::NodeDown.into());
    }
    if recipe.failure.any(&answer) {
        return Err(LoginError::Wrong);
    }
    tracing::error!(backend = node.name(), status = %parts.status, "the node's answer to a login is not in the recipe");
    Err(Refusal::NodeBroken.into())
}

fn whole(body: Bytes) -> Outgoing {
    Outgoing::Whole(Full::new(body))
}

fn request(
    node: &Node,
    method: Method,
    path: &str,
    headers: &HeaderMap,
    jar: &Jar,
    body: Outgoing,
) -> Request<Outgoing> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // A recipe's path was checked to begin with "/"; what still is no target becomes "/", and the node says no.
    *request.uri_mut() = format!("{}{path}", node.base_path).parse().unwrap_or_default();
    *request.headers_mut() = headers.clone();
    for name in [header::COOKIE, header::CONTENT_TYPE, header::CONTENT_LENGTH, header::ACCEPT_ENCODING, header::RANGE] {
        request.headers_mut().remove(name);
    }
    let cookies: Vec<String> = jar.values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if let (false, Ok(value)) = (cookies.is_empty(), HeaderValue::from_str(&cookies.join("; "))) {
        request.headers_mut().insert(header::COOKIE, value);
    }
    request
}

/// The whole of an answer that is read here.
async fn page_of(response: Response<NodeBody>) -> Result<(hyper::http::response::Parts, String), Refusal> {
    let (parts, body) = response.into_parts();
    let body = http_body_util::Limited::new(body, PAGE_SIZE).collect().await.map_err(|error| {
        tracing::warn!(%error, "a node's login page cannot be read");
        Refusal::NodeBroken
    })?;
    Ok((parts, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

/// The login's fields with their holes filled, encoded.
fn fields(recipe: &Recipe, user: &str, secret: &Secret, extracted: &[(&str, String)]) -> (&'static str, Bytes) {
    let (local, domain) = user.rsplit_once('@').unwrap_or((user, ""));
    let mut values =
        vec![("user", user), ("user.local", local), ("user.domain", domain), ("password", secret.expose())];
    values.extend(extracted.iter().map(|(name, value)| (*name, value.as_str())));
    let filled: Vec<(&str, String)> =
        recipe.login.fields.iter().map(|(name, text)| (name.as_str(), fill(text, &values))).collect();
    match recipe.login.encoding {
        Encoding::Form => {
            let pairs = filled.iter().map(|(name, value)| (*name, value.as_str()));
            ("application/x-www-form-urlencoded", text::form_encode(pairs).into())
        }
        Encoding::Json => {
            let object: serde_json::Map<String, serde_json::Value> =
                filled.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            ("application/json", serde_json::Value::Object(object).to_string().into())
        }
    }
}

/// Fills holes once: what fills one is never read for holes again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, inner)) = rest.split_once('{') {
        filled.push_str(before);
        let hole = inner.split_once('}').and_then(|(name, after)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, after))
        });
        match hole {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = inner;
            }
        }
    }
    filled.push_str(rest);
    filled
}

impl Jar {
    /// Takes the cookies of an answer. One without a path gets that of the request it answers (RFC 6265, section
    /// 5.1.4): the browser will get it with an answer of ours, and would take that one's.
    fn take(&mut self, headers: &HeaderMap, request_path: &str) {
        let folder =
            request_path.split('?').next().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder);
        for line in headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let has_path = line
                .split(';')
                .skip(1)
                .any(|part| part.split('=').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("path")));
            let path = if folder.is_empty() { "/" } else { folder };
            self.set.push(if has_path { line.to_owned() } else { format!("{line}; Path={path}") });
            let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            self.values.retain(|(known, _)| known != name.trim());
            self.values.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

/// What a test is asked of.
pub struct Answered<'a> {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// The body, where it was read.
    pub page: &'a str,
}

impl Test {
    /// Whether every part that is asked for holds. A test that asks nothing never holds.
    pub fn all(&self, answer: &Answered<'_>) -> bool {
        let parts = self.parts(answer);
        let mut asked = parts.iter().flatten().peekable();
        asked.peek().is_some() && asked.all(|holds| *holds)
    }

    /// Whether any part that is asked for holds.
    pub fn any(&self, answer: &Answered<'_>) -> bool {
        self.parts(answer).contains(&Some(true))
    }

    fn parts(&self, answer: &Answered<'_>) -> [Option<bool>; 4] {
        let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("");
        let set = |name: &str| {
            let lines = answer.headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
            let mut pairs = lines.filter_map(|line| line.split(';').next()?.split_once('='));
            pairs.any(|(known, value)| known.trim() == name && !matches!(value.trim(), "" | "-del-" | "deleted"))
        };
        [
            (!self.status.is_empty()).then(|| self.status.contains(&answer.status.as_u16())),
            self.location.as_ref().map(|wanted| location.contains(wanted)),
            self.cookie.as_ref().map(|name| set(name)),
            (!self.body.is_empty()).then(|| self.body.iter().any(|wanted| answer.page.contains(wanted))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_filled_once() {
        let values = [("user", "{password}"), ("password", "p{x}")];
        assert_eq!(fill("{user}:{password}:{y}:{", &values), "{password}:p{x}:{y}:{");
    }

    #[test]
    fn cookies_keep_the_path_they_would_have_had() {
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, HeaderValue::from_static("a=1; HttpOnly"));
        headers.append(header::SET_COOKIE, HeaderValue::from_static("b=2; PATH=/x"));
        let mut jar = Jar::default();
        jar.take(&headers, "/mail/login?x=/y");
        jar.take(&headers, "/?x");
        let expected = ["a=1; HttpOnly; Path=/mail", "b=2; PATH=/x", "a=1; HttpOnly; Path=/", "b=2; PATH=/x"];
        assert_eq!(jar.set, expected);
        assert_eq!(jar.values.len(), 2);
    }

    #[test]
    fn a_test_holds_by_its_parts() {
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, HeaderValue::from_static("auth=-del-; path=/"));
        headers.append(header::LOCATION, HeaderValue::from_static("/?_task=mail"));
        let status = StatusCode::FOUND;
        let check = |test: &Test, headers: &HeaderMap, all: bool, any: bool| {
            let answer = Answered { status, headers, page: "Login failed." };
            assert_eq!((test.all(&answer), test.any(&answer)), (all, any), "{test:?}");
        };
        let test = Test { status: vec![302], location: Some("task=mail".into()), ..Test::default() };
        check(&test, &headers, true, true);
        check(&Test { cookie: Some("auth".into()), ..test.clone() }, &headers, false, true);
        headers.append(header::SET_COOKIE, HeaderValue::from_static("auth=x"));
        check(&Test { cookie: Some("auth".into()), ..test }, &headers, true, true);
        check(&Test::default(), &headers, false, false);
        check(&Test { body: vec!["nope".into(), "failed".into()], ..Test::default() }, &headers, true, true);
    }
}
