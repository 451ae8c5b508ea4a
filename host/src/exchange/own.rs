//! Answers of our own: pages, assets, redirects and refusals.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_wire::local_path::local_path;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::held::Held;
use super::onward::X_REQUEST_ID;
use super::{Answer, Body, Ending, Exchange, Visit};
use crate::back::{Answered, Node, NodeBody};
use crate::config::Level;
use crate::own_path::OwnPath;
use crate::pages::{Content, Language, Page, SCRIPT};
use crate::reply::{Look, Message, Refusal};
use crate::session::{self, Cookie};
use crate::text;

/// Nothing from elsewhere, no script but our one, no frame around the page.
static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; script-src 'sha256-{}'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        STANDARD.encode(Sha256::digest(SCRIPT))
    );
    HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

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

/// HTML of our own, with the headers that all of it has.
pub(super) fn page_answer(status: StatusCode, html: String) -> Answer {
    let mut answer = Response::new(Body::whole(html));
    *answer.status_mut() = status;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY.clone());
    answer
}

/// What a status means, in a few words.
fn reason(status: StatusCode, language: &Language) -> String {
    let key = format!("status_{}", status.as_u16());
    match language.text(&key) {
        none if *none == key => status.canonical_reason().unwrap_or_default().to_owned(),
        text => text.to_owned(),
    }
}

/// What a login form is filled with.
pub(super) struct Filled<'a> {
    /// The user name.
    pub(super) username: &'a str,
    /// Where the login leads to.
    pub(super) next: &'a str,
    /// What is kept until then, sealed.
    pub(super) held: &'a str,
    /// Whether the person said that others use this computer too.
    pub(super) shared: bool,
}

/// How the end of a node's session shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// The user asked for it.
    LoggedOut,
    /// The node had forgotten it.
    Expired,
    /// The mailbox is at another node now.
    Moved,
}

impl Gone {
    /// What the login page is told of it, as its query.
    fn note(self) -> &'static str {
        match self {
            Self::LoggedOut => "",
            Self::Expired => "gone",
            Self::Moved => "moved",
        }
    }

    /// What the login page was told.
    fn noted(query: &str) -> Option<Self> {
        [Self::Expired, Self::Moved].into_iter().find(|gone| gone.note() == query)
    }

    /// What the person reads there.
    fn message(self) -> Message {
        Message::known(match self {
            Self::LoggedOut => "logged_out",
            Self::Expired => "session_ended",
            Self::Moved => "mailbox_moved",
        })
    }
}

impl Exchange {
    /// A page of ours without what is particular to it. `back` is where the person is, so far as a GET leads there.
    fn content(&self, visit: &Visit, language: &Language, page: Page, back: &str) -> Content {
        let (languages, other_view) = self.choices(visit, language, back);
        Content {
            page,
            look: visit.look.to_string(),
            form: visit.form.name(),
            lang: language.tag.clone(),
            languages,
            other_view,
            host: visit.host.to_string(),
            title: visit.site.title.clone(),
            username: String::new(),
            message: None,
            link: None,
            token: String::new(),
            next: String::new(),
            state: String::new(),
            held: String::new(),
            action: String::new(),
            shared: false,
            branded: visit.site.branding.shown(language, visit.facts.now()),
            fields: Vec::new(),
            status: 200,
            reason: String::new(),
            detail: String::new(),
            retry_after: None,
            wait: None,
            refresh: None,
            request_id: self.finish.id().to_owned(),
            script: SCRIPT,
        }
    }

    /// A page of ours in the person's language; `fill` puts in what is particular to it.
    pub(super) fn page(
        &self,
        visit: &Visit,
        status: StatusCode,
        page: Page,
        next: &str,
        fill: impl FnOnce(&mut Content, &Language),
    ) -> Answer {
        let Some(language) = self.language(visit) else {
            return page_answer(StatusCode::INTERNAL_SERVER_ERROR, String::new());
        };
        // Where a form was sent, a GET would find nothing of it: then back to where that would have led.
        let here = visit.target();
        let reads = visit.reads();
        let back = local_path(if reads { here } else { next }).unwrap_or("/");
        let mut content = self.content(visit, language, page, back);
        content.status = status.as_u16();
        next.clone_into(&mut content.next);
        fill(&mut content, language);
        let mut answer = match self.snapshot.pages.render(&content, language) {
            Ok(html) => page_answer(status, html),
            Err(error) => {
                tracing::error!(look = content.look, %error, "a page cannot be rendered");
                let detail = text::escape_html(&content.detail);
                page_answer(StatusCode::INTERNAL_SERVER_ERROR, format!("<!doctype html><p>{detail}"))
            }
        };
        append(&mut answer, header::CONTENT_LANGUAGE, &language.tag);
        append(&mut answer, header::VARY, "Accept-Language, Cookie, User-Agent");
        answer
    }

    /// The login page, to log in and come back to `next`, with what is kept until then.
    pub(super) fn login_page(&self, visit: &Visit, next: &str, held: &str) -> Answer {
        let uri = &visit.head.uri;
        let note = uri.query().filter(|_| OwnPath::of(uri.path()) == Some(OwnPath::Login)).and_then(Gone::noted);
        let message = note.map(Gone::message);
        self.login_form(visit, StatusCode::OK, &Filled { username: "", next, held, shared: false }, message.as_ref())
    }

    /// The page after a logout, with the form to log in again.
    pub(super) fn logged_out_page(&self, visit: &Visit) -> Answer {
        self.form_page(
            visit,
            StatusCode::OK,
            Page::LoggedOut,
            &Filled { username: "", next: "/", held: "", shared: false },
            None,
            None,
        )
    }

    /// The login page with a name kept and a message shown.
    pub(super) fn login_form(
        &self,
        visit: &Visit,
        status: StatusCode,
        filled: &Filled<'_>,
        message: Option<&Message>,
    ) -> Answer {
        self.form_page(visit, status, Page::Login, filled, message, None)
    }

    /// A page with the login form, which fits only the browser that gets it, and perhaps a link to help.
    pub(super) fn form_page(
        &self,
        visit: &Visit,
        status: StatusCode,
        page: Page,
        filled: &Filled<'_>,
        message: Option<&Message>,
        link: Option<String>,
    ) -> Answer {
        let known = self.form_cookie(visit);
        let is_one = known.len() == 22 && known.bytes().all(|b| b.is_ascii_graphic());
        let cookie = if is_one { known.to_owned() } else { session::random_text() };
        let mut answer = self.page(visit, status, page, filled.next, |content, language| {
            filled.username.clone_into(&mut content.username);
            filled.held.clone_into(&mut content.held);
            content.shared = filled.shared;
            content.message = message.map(|message| language.say(message));
            content.link = link;
            content.token = self.snapshot.sessions.form_token(&cookie);
        });
        append(&mut answer, header::SET_COOKIE, &Cookie::Form.set(&cookie, self.scheme()));
        answer
    }

    /// A form that was kept for its user, who has logged in now, to be looked at and sent again.
    pub(super) fn held_page(&self, visit: &Visit, held: Held, landing: &str) -> Answer {
        self.page(visit, StatusCode::OK, Page::Held, landing, |content, _| {
            (content.action, content.fields) = (held.target, held.fields);
        })
    }

    fn error_page(&self, visit: &Visit, look: &Look) -> Answer {
        self.page(visit, look.status, Page::Error, "/", |content, language| {
            content.reason = reason(look.status, language);
            content.detail = language.say(&look.detail);
            content.retry_after = look.retry_after.map(|wait| wait.as_secs());
            content.wait = look.retry_after.map(|wait| language.say(&Message::wait(wait)));
            // A page that loads itself again does so with a GET: right only where it was one.
            content.refresh = content.retry_after.filter(|_| visit.head.method == hyper::Method::GET);
        })
    }

    /// A refusal as a page of the site's look, or as JSON for a script.
    pub(super) fn refuse(&self, visit: &Visit, refusal: &Refusal) -> Answer {
        let look = self.tell(refusal);
        let mut answer =
            if visit.is_script() { self.script_answer(visit, &look) } else { self.error_page(visit, &look) };
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
        if self.scheme().is_secure() {
            return None;
        }
        let port = self.snapshot.listeners.get(&self.peer.listener)?.config.redirect_to_https?;
        if !self.snapshot.is_named(&visit.host) {
            return None;
        }
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let target = visit.target();
        let mut answer = redirect(&format!("https://{}{port}{target}", visit.host));
        // RFC 9110, section 15.4.9: only 308 keeps a method and its body; older clients know 301 better.
        let reads = visit.reads();
        *answer.status_mut() = if reads { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
        Some(answer)
    }

    /// How an exchange ends whose request is refused.
    pub(super) fn refused(&self, visit: &Visit, refusal: &Refusal) -> Ending {
        let answer = self.refuse(visit, refusal);
        if *refusal == Refusal::Http11Needed { Ending::Http11Needed(answer) } else { Ending::Answer(answer) }
    }

    /// Adds what all answers have: an id, which joins what a browser got to the log, and for browsers that come by TLS that
    /// they are to come by nothing else (RFC 6797, section 7.2: others are not told).
    pub(super) fn add_ours(&self, ending: &mut Ending) {
        let headers = match ending {
            Ending::Answer(answer) | Ending::Http11Needed(answer) => answer.headers_mut(),
            Ending::Tunnel(head, _) => head.headers_mut(),
        };
        if let (Some(hsts), true) = (&self.snapshot.forwarding.hsts, self.scheme().is_secure()) {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if let Ok(mut id) = HeaderValue::from_str(self.finish.id()) {
            // Over HTTP/2, what comes once only has no place in the table of the compression (RFC 7541, section 7.1.3).
            id.set_sensitive(true);
            headers.insert(X_REQUEST_ID, id);
        }
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
    pub(super) fn session_needed(&self, visit: &Visit) -> Answer {
        self.script_answer(visit, &Refusal::SessionNeeded.look())
    }

    fn script_answer(&self, visit: &Visit, look: &Look) -> Answer {
        let status = look.status;
        let detail = self.language(visit).map(|language| language.say(&look.detail));
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

    /// Whether this exchange ended the node's session: the user logged out, or the node had forgotten it. `page` is the
    /// beginning of the answer's body where the recipe looks at it.
    pub(super) fn logged_out(
        &self,
        visit: &Visit,
        node: &Node,
        response: &Response<NodeBody>,
        page: &str,
    ) -> Option<Gone> {
        let answer = Answered::new(response.status(), response.headers(), page);
        if node.recipe.is_logout(&visit.head.uri, &answer) {
            return Some(Gone::LoggedOut);
        }
        node.recipe.expired.holds(&answer).then_some(Gone::Expired)
    }

    /// Both sessions are over: their cookies go, and the login page comes, or a script is told.
    pub(super) fn after_logout(&self, gone: Gone, visit: &Visit, node: &Node) -> Answer {
        let answer = match gone {
            Gone::Expired | Gone::Moved if visit.is_script() => self.session_needed(visit),
            Gone::LoggedOut => redirect(OwnPath::LoggedOut.path()),
            Gone::Expired | Gone::Moved => redirect(&format!("{}?{}", OwnPath::Login.path(), gone.note())),
        };
        self.without_sessions(answer, node)
    }

    /// An answer with which the cookies of both sessions go: ours, and the node's, whatever it set with this answer.
    pub(super) fn without_sessions(&self, mut answer: Answer, node: &Node) -> Answer {
        let scheme = self.scheme();
        append(&mut answer, header::SET_COOKIE, &Cookie::Session.clear(scheme));
        for name in &node.recipe.session_cookies {
            append(&mut answer, header::SET_COOKIE, &session::clear_cookie(name, "/", scheme));
            if node.recipe.session_path != "/" {
                let path = &node.recipe.session_path;
                append(&mut answer, header::SET_COOKIE, &session::clear_cookie(name, path, scheme));
            }
        }
        answer
    }
}
