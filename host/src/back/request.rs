//! Requests of Doorward's own to a node, made of a recipe's steps and of what fills their placeholders.
//!
//! Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_wire::form;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Node;
use super::body::Outgoing;
use super::jar::Jar;
use super::recipe::{Algorithm, Escape, Missing, Payload, Recipe, Step, Template};
use crate::secret::{Secret, Values};
use crate::text::hex;

/// Why a request cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Something that the recipe asks for is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// What fills a header's placeholders cannot stand in a header: a line end, say.
    #[error("what would go into the header {0} cannot stand in one")]
    Header(HeaderName),
    /// The path with its placeholders filled is none.
    #[error("the path is none")]
    Path,
}

/// The placeholders that a user's name and password fill.
pub(super) fn of_user(user: &str, secret: Option<&Secret>) -> Values {
    let (local, domain) = user.rsplit_once('@').unwrap_or((user, ""));
    let mut values: Values = [("user", user), ("user.local", local), ("user.domain", domain)].into_iter().collect();
    if let Some(secret) = secret {
        values.set("password", secret.expose());
        // RFC 7617, section 2: a name with a colon cannot be told from the password. Such a name fills no placeholder.
        if !user.contains(':') {
            let pair = Zeroizing::new(format!("{user}:{}", secret.expose()));
            values.set("basic", &Zeroizing::new(STANDARD.encode(pair.as_bytes())));
        }
    }
    values
}

/// Fills `{signature}`, which is over the other values.
pub(super) fn sign(recipe: &Recipe, values: &mut Values) -> Result<(), Missing> {
    let Some(sign) = &recipe.sign else { return Ok(()) };
    let text = sign.text.fill(values, Escape::Nothing)?;
    let key = recipe.secret.as_ref().map_or("", Secret::expose).as_bytes();
    // An HMAC takes a key of any length (RFC 2104, section 2).
    let code = match sign.algorithm {
        Algorithm::Sha1 => {
            Hmac::<Sha1>::new_from_slice(key).map(|m| hex(&m.chain_update(&text).finalize().into_bytes()))
        }
        Algorithm::Sha256 => {
            Hmac::<Sha256>::new_from_slice(key).map(|m| hex(&m.chain_update(&text).finalize().into_bytes()))
        }
    };
    values.set("signature", &code.unwrap_or_default());
    Ok(())
}

/// A step's request, filled, which can be sent again where the node's answer leads.
pub(super) struct Made {
    pub(super) method: Method,
    /// Path and query, below the node's own path.
    pub(super) path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    cookies: Vec<(String, String)>,
    media_type: Option<&'static str>,
    body: Bytes,
}

impl Made {
    /// Fills a step.
    pub(super) fn of_step(step: &Step, values: &Values) -> Result<Self, Error> {
        let mut path = step.path.fill(values, Escape::Url)?;
        let (media_type, body) = match &step.payload {
            Payload::Nothing => (None, String::new()),
            Payload::Form(fields) => (Some("application/x-www-form-urlencoded"), form(fields, values)?),
            Payload::Query(fields) => {
                path.push(if path.contains('?') { '&' } else { '?' });
                path.push_str(&form(fields, values)?);
                (None, String::new())
            }
            Payload::Json(tree) => (Some("application/json"), tree.fill(values)?.to_string()),
            Payload::Xml(template) => (Some("text/xml; charset=utf-8"), template.fill(values, Escape::Xml)?),
        };
        let mut headers = Vec::new();
        for (name, template) in &step.headers {
            headers.push((name.clone(), header_value(name, template, values)?));
        }
        let mut cookies = Vec::new();
        for (name, template) in &step.cookies {
            cookies.push((name.clone(), template.fill(values, Escape::Url)?));
        }
        // It has the password, and is kept until the last redirect: wiped when the last copy is dropped.
        let body = Bytes::from_owner(Zeroizing::new(body.into_bytes()));
        Ok(Self { method: step.method.clone(), path, headers, cookies, media_type, body })
    }

    /// The request to send now. `headers` are those of the browser.
    pub(super) fn request(&self, node: &Node, headers: &HeaderMap, jar: &Jar) -> Result<Request<Outgoing>, Error> {
        let mut request = Request::new(Outgoing::Whole(Full::new(self.body.clone())));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = format!("{}{}", node.base_path(), self.path).parse().map_err(|_| Error::Path)?;
        let sent = request.headers_mut();
        sent.clone_from(headers);
        for name in
            [header::COOKIE, header::CONTENT_TYPE, header::CONTENT_LENGTH, header::ACCEPT_ENCODING, header::RANGE]
        {
            sent.remove(name);
        }
        if let Some(media_type) = self.media_type {
            sent.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        for (name, value) in &self.headers {
            sent.remove(name);
            if !value.is_empty() {
                sent.insert(name, value.clone());
            }
        }
        let line = jar.line(&self.cookies);
        if !line.is_empty() {
            let value = HeaderValue::from_bytes(line.as_bytes()).map_err(|_| Error::Header(header::COOKIE))?;
            sent.insert(header::COOKIE, value);
        }
        Ok(request)
    }

    /// What a redirect makes of it (RFC 9110, sections 15.4.2 to 15.4.9): the step's headers and cookies go along, the
    /// body only where the method stays. `set` names the cookies that its answer sets. `path` is at the same node: nothing of
    /// this goes to another origin.
    pub(super) fn redirect(&mut self, (status, set): (StatusCode, &[&str]), path: String, jar: &Jar) {
        self.path = path;
        // Browsers make a GET of a POST with these (WHATWG Fetch, section 4.4).
        let becomes_get = match status {
            StatusCode::SEE_OTHER => true,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.media_type = None;
            self.body = Bytes::new();
            self.headers.retain(|(name, _)| !name.as_str().starts_with("content-"));
        }
        // What the node sets counts from then on, or deletes.
        self.cookies.retain(|(name, _)| jar.value(name).is_none() && !set.contains(&name.as_str()));
    }
}

/// Whether a browser goes where such an answer leads.
pub(super) fn leads_on(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn form(fields: &[(String, Template)], values: &Values) -> Result<String, Missing> {
    let mut filled = Vec::new();
    for (name, template) in fields {
        filled.push((name.as_str(), template.fill(values, Escape::Nothing)?));
    }
    Ok(form::write(filled.iter().map(|(name, value)| (*name, value.as_str()))))
}

/// A header's value. Anything but one line of text is refused (RFC 9110, section 5.5).
fn header_value(name: &HeaderName, template: &Template, values: &Values) -> Result<HeaderValue, Error> {
    let text = template.fill(values, Escape::Nothing)?;
    let mut value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Error::Header(name.clone()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Gives a browser's request what the recipe adds to each: headers, and a parameter of the query.
pub(super) fn equip(recipe: &Recipe, values: &Values, request: &mut Request<Outgoing>) -> Result<(), Error> {
    for (name, template) in &recipe.inject {
        let value = header_value(name, template, values)?;
        request.headers_mut().insert(name, value);
    }
    if let Some((name, template)) = &recipe.session_query {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if !query.split('&').any(|pair| pair.split('=').next() == Some(name)) {
            let value = template.fill(values, Escape::Url)?;
            let more = if query.is_empty() { "" } else { "&" };
            let target = format!("{path}?{query}{more}{name}={value}");
            *request.uri_mut() = target.parse().map_err(|_| Error::Path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_one_line() {
        let name = HeaderName::from_static("x-user");
        let value = |user: &str| {
            let values = of_user(user, None);
            header_value(&name, &Template::parse("{user}"), &values).ok()
        };
        assert_eq!(value("zoë").unwrap().as_bytes(), "zoë".as_bytes());
        assert!(value("a\r\nX-Admin: 1").is_none() && value("a\nb").is_none() && value("a\0b").is_none());
    }

    #[test]
    fn a_name_with_a_colon_fills_no_basic_credentials() {
        let secret = Secret::new("b:c".to_owned());
        assert_eq!(of_user("a", Some(&secret)).get("basic"), Some("YTpiOmM="));
        assert_eq!(of_user("a:b", Some(&secret)).get("basic"), None);
    }
}
