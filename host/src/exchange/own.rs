//! Answers of our own: pages, assets, redirects and refusals.

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::{Answer, Body, Exchange, Visit};
use crate::back::{Node, NodeBody};
use crate::config::Level;
use crate::pages::{Content, Page};
use crate::policy::Reply;
use crate::reply::{Look, Refusal};
use crate::session;
use crate::text;

/// Where Doorward's own things are; no node is asked for them.
pub(super) const PREFIX: &str = "/.doorward/";

/// Nothing from elsewhere, no script, no frame around the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds a header; a value that cannot be one is left out.
pub(super) fn append(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().append(name, value);
    }
}

/// Says when to try again, where that is known.
pub(super) fn retry_after(answer: &mut Answer, look: &Look) {
    if let Some(wait) = look.retry_after {
        append(answer, header::RETRY_AFTER, &wait.as_secs().to_string());
    }
}

/// `303`: go on with a GET over there.
pub(super) fn redirect(location: &str) -> Answer {
    let mut answer = page_answer(StatusCode::SEE_OTHER, String::new());
    append(&mut answer, header::LOCATION, location);
    answer
}

/// `307`: go on over there, with the same method and body.
pub(super) fn redirect_with_method(location: &str) -> Answer {
    let mut answer = redirect(location);
    *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    answer
}

/// A filter's answer; what it may say was checked when it said it.
pub(super) fn of_filter(reply: &Reply) -> Answer {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = page_answer(status, reply.body.clone());
    for header in &reply.headers {
        if let (Ok(name), Ok(value)) = (header.name.parse::<HeaderName>(), HeaderValue::from_str(&header.value)) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// HTML of our own, with the headers that all of it has.
fn page_answer(status: StatusCode, html: String) -> Answer {
    let mut answer = Response::new(Body::whole(html));
    *answer.status_mut() = status;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// How the end of a node's session shows.
pub(super) enum Gone {
    /// The user asked for it.
    LoggedOut,
    /// The node had forgotten it.
    Expired,
    /// The mailbox is at another node now.
    Moved,
}

impl Exchange {
    fn content(&self, visit: &Visit, page: Page) -> Content {
        Content {
            page,
            look: visit.look.clone(),
            form: visit.form.name(),
            lang: "en",
            host: visit.host.to_string(),
            title: visit.site.title.clone(),
            username: String::new(),
            message: None,
            token: String::new(),
            next: String::new(),
            status: 200,
            reason: "OK",
            detail: String::new(),
            retry_after: None,
            refresh: None,
            request_id: self.finish.id().to_owned(),
        }
    }

    /// The login page, to log in and come back to `next`.
    pub(super) fn login_page(&self, visit: &Visit, next: &str) -> Answer {
        let message = match visit.head.uri.query() {
            Some("out") if visit.head.uri.path().starts_with(PREFIX) => Some("You have been logged out."),
            Some("gone") if visit.head.uri.path().starts_with(PREFIX) => {
                Some("Your session has ended. Please log in again.")
            }
            Some("moved") if visit.head.uri.path().starts_with(PREFIX) => {
                Some("Your mailbox has moved to another server. Please log in again.")
            }
            _ => None,
        };
        self.login_form(visit, StatusCode::OK, "", next, message)
    }

    /// The login page with a name kept and a message shown; its form fits only the browser that gets it.
    pub(super) fn login_form(
        &self,
        visit: &Visit,
        status: StatusCode,
        username: &str,
        next: &str,
        message: Option<&str>,
    ) -> Answer {
        let secure = self.secure();
        let name = session::form_cookie_name(secure);
        let known = text::cookies(&visit.head.headers).find(|(cookie, _)| *cookie == name).map(|(_, value)| value);
        let known = known.filter(|value| value.len() == 22 && value.bytes().all(|b| b.is_ascii_graphic()));
        let cookie = known.map_or_else(session::new_form_cookie, str::to_owned);
        let mut content = self.content(visit, Page::Login);
        content.username = username.to_owned();
        content.next = next.to_owned();
        content.message = message.map(str::to_owned);
        content.token = self.snapshot.sessions.form_token(&cookie);
        let mut answer = self.render(status, &content);
        append(&mut answer, header::SET_COOKIE, &session::set_cookie(name, &cookie, secure));
        answer
    }

    fn render(&self, status: StatusCode, content: &Content) -> Answer {
        match self.snapshot.pages.render(content) {
            Ok(html) => page_answer(status, html),
            Err(error) => {
                tracing::error!(look = content.look, %error, "a page cannot be rendered");
                let detail = text::escape_html(&content.detail);
                page_answer(StatusCode::INTERNAL_SERVER_ERROR, format!("<!doctype html><p>{detail}"))
            }
        }
    }

    /// A refusal as a page of the site's look, or as JSON for a script.
    pub(super) fn refuse(&self, visit: &Visit, refusal: &Refusal) -> Answer {
        let look = self.tell(refusal);
        if visit.script {
            return self.script_answer(look.status, &look.detail);
        }
        let mut content = self.content(visit, Page::Error);
        content.status = look.status.as_u16();
        content.reason = look.status.canonical_reason().unwrap_or("");
        content.detail.clone_from(&look.detail);
        content.retry_after = look.retry_after.map(|wait| wait.as_secs());
        // A page that loads itself again does so with a GET: right only where it was one.
        content.refresh = content.retry_after.filter(|_| visit.head.method == hyper::Method::GET);
        let mut answer = self.render(look.status, &content);
        retry_after(&mut answer, &look);
        // What is left of a body is not read: the connection cannot be used again.
        if matches!(refusal, Refusal::BodyTooLarge(..) | Refusal::BadRequest(_) | Refusal::ClientTimeout)
            && visit.head.version < hyper::Version::HTTP_2
        {
            append(&mut answer, header::CONNECTION, "close");
        }
        answer
    }

    /// Where a plain listener sends browsers to a secure one: there, but only for a name that a site has, so that nobody
    /// is sent to whatever a Host says (the original's `urlRedirects`).
    pub(super) fn to_https(&self, visit: &Visit) -> Option<Answer> {
        if self.secure() {
            return None;
        }
        let port = self.snapshot.listeners.get(&self.peer.listener)?.config.redirect_to_https?;
        if !self.snapshot.is_named(&visit.host) {
            return None;
        }
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let target = visit.head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut answer = redirect(&format!("https://{}{port}{target}", visit.host));
        // RFC 9110, section 15.4.9: only 308 keeps a method and its body; older clients know 301 better.
        let reads = matches!(visit.head.method, hyper::Method::GET | hyper::Method::HEAD);
        *answer.status_mut() = if reads { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
        Some(answer)
    }

    /// Browsers that come by TLS are told to come by nothing else (RFC 6797, section 7.2: others are not told).
    pub(super) fn with_hsts(&self, mut answer: Answer) -> Answer {
        if let (Some(hsts), true) = (&self.snapshot.forwarding.hsts, self.secure()) {
            answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        answer
    }

    /// A refusal where not even the site is known.
    pub(super) fn plain_refusal(&self, refusal: &Refusal) -> Answer {
        let look = self.tell(refusal);
        let reason = look.status.canonical_reason().unwrap_or("");
        let (detail, id) = (text::escape_html(&look.detail), self.finish.id());
        let html =
            format!("<!doctype html><title>{reason}</title><h1>{reason}</h1><p>{detail}</p><p><small>{id}</small></p>");
        let mut answer = page_answer(look.status, html);
        // Whoever sends such a request may mean something else by what follows it.
        if self.peer.tls.as_ref().is_none_or(|tls| !tls.http2) {
            append(&mut answer, header::CONNECTION, "close");
        }
        answer
    }

    /// What a refusal looks like; the log gets to know of it.
    pub(super) fn tell(&self, refusal: &Refusal) -> Look {
        let (id, client, look) = (self.finish.id(), self.peer.address, refusal.look());
        match look.level {
            Level::Error => tracing::error!(id, %client, ?refusal, "refused"),
            Level::Warn => tracing::warn!(id, %client, ?refusal, "refused"),
            Level::Info => tracing::info!(id, %client, ?refusal, "refused"),
            Level::Debug => tracing::debug!(id, %client, ?refusal, "refused"),
        }
        look
    }

    /// A script without a session: `401`, in words that a script reads.
    pub(super) fn session_needed(&self) -> Answer {
        let look = Refusal::SessionNeeded.look();
        self.script_answer(look.status, &look.detail)
    }

    fn script_answer(&self, status: StatusCode, detail: &str) -> Answer {
        let json = serde_json::json!({
            "error": status.canonical_reason().unwrap_or(""), "detail": detail, "login": "/", "id": self.finish.id(),
        });
        let mut answer = page_answer(status, json.to_string());
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 11.6.1, asks for a challenge; this scheme makes no browser open a password box.
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Session"));
        }
        answer
    }

    /// A file that our pages refer to.
    pub(super) fn asset(&self, visit: &Visit, path: &str) -> Result<Answer, Refusal> {
        let asset = path.strip_prefix("assets/").and_then(|path| self.snapshot.pages.asset(path));
        let asset = asset.ok_or(Refusal::NotFound)?;
        let known =
            visit.head.headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == asset.tag.as_bytes());
        let mut answer = Response::new(Body::whole(if known { Default::default() } else { asset.bytes.clone() }));
        if known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        }
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
        answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        append(&mut answer, header::ETAG, &asset.tag);
        Ok(answer)
    }

    /// Whether this exchange ended the node's session: the user logged out, or the node had forgotten it.
    pub(super) fn logged_out(&self, visit: &Visit, node: &Node, response: &Response<NodeBody>) -> Option<Gone> {
        let recipe = &node.recipe;
        let answer = crate::back::Answered { status: response.status(), headers: response.headers(), page: "" };
        if recipe.is_logout(visit.head.uri.path(), visit.head.uri.query()) && recipe.logout_done(response.headers()) {
            return Some(Gone::LoggedOut);
        }
        (recipe.expired.all(&answer) && !visit.script).then_some(Gone::Expired)
    }

    /// Both sessions are over: their cookies go, and the login page comes.
    pub(super) fn after_logout(&self, gone: Gone, node: &Node) -> Answer {
        let secure = self.secure();
        let mut answer = redirect(match gone {
            Gone::LoggedOut => "/.doorward/login?out",
            Gone::Expired => "/.doorward/login?gone",
            Gone::Moved => "/.doorward/login?moved",
        });
        append(&mut answer, header::SET_COOKIE, &session::delete_cookie(session::cookie_name(secure), secure));
        for name in &node.recipe.session_cookies {
            append(&mut answer, header::SET_COOKIE, &session::delete_cookie(name, secure));
        }
        answer
    }
}
