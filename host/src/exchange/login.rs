//! The login of a browser: a form comes, a login is made of it ([`crate::login`]), and its outcome becomes an answer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use doorward_wire::{form, local_path::local_path};
use hyper::{HeaderMap, StatusCode, header};

use super::own::{self, Filled, append, redirect};
use super::{Answer, Exchange, Visit};
use crate::auth::Problem;
use crate::back::{ByRecipe, LoggedIn, Node, Visitor, headers};
use crate::config::{Protocol, SharedComputer};
use crate::limits::Allowance;
use crate::login::{self, Attempt, Credentials, Denial, Neighbours, Outcome, Reason};
use crate::pages::Page;
use crate::reply::{Message, Refusal};
use crate::secret::Secret;
use crate::session::{self, Cookie, Device, Session};
use crate::upload::Incoming;

/// A login form has a name, a password, a token and a path: this is plenty. What is held comes on top.
pub(super) const FORM_SIZE: u64 = 16 << 10;

const STALE: Message = Message::known("stale");
const NO_COOKIES: Message = Message::known("no_cookies");

/// What the login page sends.
struct Form {
    name: String,
    credentials: Credentials,
    token: String,
    next: String,
    /// What was kept for the user until the login, sealed.
    held: String,
    /// Whether others use this computer too.
    shared: bool,
}

impl Exchange {
    pub(super) async fn log_in(&mut self, visit: &Visit, body: Incoming) -> Result<Answer, Refusal> {
        // Sealed, written in base64 and encoded for a form, what is held is less than twice as long.
        let (name, size) = self.snapshot.http.login_form(FORM_SIZE);
        let limit = (name, size.saturating_add(self.snapshot.hold_max_size.saturating_mul(2)));
        let form = Form::read(&self.incoming(body, limit).whole().await?);
        let device = self.device(visit);
        if !self.is_our_form(visit, &form.token) {
            return Ok(Box::pin(self.not_our_form(visit, &form, device.as_ref())).await);
        }
        let outcome = {
            let (attempt, dialogue) = (self.attempt(visit, device.as_ref()), self.dialogue(visit, &form.next));
            login::log_in(self.neighbours(), &attempt, (&form.name, &form.credentials), &dialogue).await
        };
        self.after_login(visit, &form.filled(), device, outcome).await
    }

    /// What a login asks.
    pub(super) fn neighbours(&self) -> Neighbours<'_> {
        Neighbours { worker: &self.worker, snapshot: &self.snapshot, id: self.finish.id() }
    }

    /// What is known of whoever logs in.
    pub(super) fn attempt<'a>(&'a self, visit: &'a Visit, device: Option<&'a Device>) -> Attempt<'a> {
        Attempt { protocol: Protocol::Http, host: &visit.host, site: &visit.site.name, facts: &visit.facts, device }
    }

    /// Nodes are asked by their recipes, with the headers that they get with any request of this browser.
    pub(super) fn dialogue<'a>(&'a self, visit: &'a Visit, target: &'a str) -> ByRecipe<'a> {
        ByRecipe {
            idle: &self.worker.idle,
            peer: &self.peer,
            allowance: Box::new(|holder| -> Rc<Allowance> { self.allowance(holder) }),
            headers: Box::new(|node: &Node| -> HeaderMap { self.headers_for_node(visit, node) }),
            visitor: Visitor {
                lang: language(visit),
                target,
                origin: format!("{}://{}", self.peer.scheme(), visit.authority()),
                device: visit.form.name(),
                template: &visit.look,
            },
            watcher: &|_| {},
        }
    }

    /// What a browser gets when its login, or the second factor of it, has come to an end.
    pub(super) async fn after_login(
        &mut self,
        visit: &Visit,
        filled: &Filled<'_>,
        device: Option<Device>,
        outcome: Outcome<LoggedIn>,
    ) -> Result<Answer, Refusal> {
        let again = |status, message| self.login_form(visit, status, filled, Some(message));
        match outcome {
            Outcome::LoggedIn { name, session, node, opened } => {
                let shared = self.is_shared(visit, filled);
                let session = Arc::new(session.keeping(opened.kept.clone()).at(shared));
                self.finish.session(&session);
                self.log_out_former(visit).await;
                let mut answer = self.hand_over(visit, filled, &session, &opened, &node);
                if !shared {
                    self.remember_device(&mut answer, visit, device, &name);
                }
                Ok(answer)
            }
            Outcome::SecondFactor(waiting) => self.ask_for_code(visit, filled, waiting),
            Outcome::Refused(Denial::Account(problem), _) => Ok(self.account_page(visit, filled, problem)),
            Outcome::Refused(denial, _) => Ok(again(StatusCode::FORBIDDEN, &denial.message())),
            Outcome::Throttled { retry_after, .. } => Ok(self.throttled(visit, filled.next, retry_after)),
            // An outage is told on the login page too: the name is kept, and the next try is one click away.
            Outcome::Unavailable(refusal) => {
                let look = self.tell(&refusal);
                let mut answer = again(look.status, &look.detail);
                own::retry_after(&mut answer, &look);
                Ok(answer)
            }
        }
    }

    /// Whether others use this computer too: the person says so where the login page asks, and else the site.
    fn is_shared(&self, visit: &Visit, filled: &Filled<'_>) -> bool {
        match visit.site.branding.shared_computer {
            SharedComputer::Never => false,
            SharedComputer::Ask => filled.shared,
            SharedComputer::Always => true,
        }
    }

    /// Whether the form with this token is one that we showed to this browser: it fits the browser's cookie, and the browser
    /// does not say that another site sent it.
    pub(super) fn is_our_form(&self, visit: &Visit, token: &str) -> bool {
        !self.is_from_elsewhere(visit) && self.snapshot.sessions.form_token_fits(token, self.form_cookie(visit))
    }

    /// A form that does not fit this browser: another tab has logged in meanwhile, the browser keeps no cookies, or the page
    /// is too old. One of another site's is told no more than that.
    async fn not_our_form(&mut self, visit: &Visit, form: &Form, device: Option<&Device>) -> Answer {
        let elsewhere = self.is_from_elsewhere(visit);
        let session = self.session(visit).filter(|_| !elsewhere);
        // Somebody else at this browser must not find himself in the mailbox of whoever was here before.
        if let Some((session, _)) = session
            && self.is_name_of(&session, &form.name).await
        {
            return redirect(&form.next);
        }
        login::turn_away(self.neighbours(), &self.attempt(visit, device), &form.name, Reason::FormToken);
        let no_cookies = !elsewhere && self.form_cookie(visit).is_empty();
        let is_known = no_cookies && self.snapshot.sessions.is_form_token(&form.token);
        let message = if is_known { &NO_COOKIES } else { &STALE };
        self.login_form(visit, StatusCode::FORBIDDEN, &form.filled(), Some(message))
    }

    /// Whether what was typed names the user of a session.
    async fn is_name_of(&self, session: &Session, typed: &str) -> bool {
        let directory = &self.snapshot.directory;
        let Some(name) = directory.canonical(typed) else { return false };
        let found = if name == session.user() { None } else { self.neighbours().look_up(&name).await.ok().flatten() };
        let name = found.and_then(|user| directory.name_of(&user)).unwrap_or(name);
        name == session.user()
    }

    /// A login with the right password and an account that has a problem: what it is, the link that the operator has for it,
    /// and the form to try again.
    fn account_page(&self, visit: &Visit, filled: &Filled<'_>, problem: Problem) -> Answer {
        let link = self.snapshot.directory.help(problem).map(ToString::to_string);
        let message = Denial::Account(problem).message();
        self.form_page(visit, StatusCode::FORBIDDEN, Page::Account, filled, Some(&message), link)
    }

    /// The device of a browser that has logged in before.
    pub(super) fn device(&self, visit: &Visit) -> Option<Device> {
        self.snapshot.sessions.device(&visit.head.headers, self.scheme(), self.snapshot.throttle.device_lifetime)
    }

    /// Too many logins failed: the time to wait.
    fn throttled(&self, visit: &Visit, next: &str, wait: Duration) -> Answer {
        let mut answer = self.page(visit, StatusCode::TOO_MANY_REQUESTS, Page::Throttled, next, |content, language| {
            content.message = Some(language.text("throttled").to_owned());
            content.retry_after = Some(wait.as_secs());
            content.wait = Some(language.say(&Message::wait(wait)));
        });
        append(&mut answer, header::RETRY_AFTER, &wait.as_secs().to_string());
        answer
    }

    /// The browser is known from now on for this name.
    fn remember_device(&self, answer: &mut Answer, visit: &Visit, device: Option<Device>, user: &str) {
        let lifetime = self.snapshot.throttle.device_lifetime;
        let cookie = self.snapshot.sessions.device_cookie(device, &visit.site.name, user, self.scheme(), lifetime);
        append(answer, header::SET_COOKIE, &cookie);
    }

    /// The cookie that binds forms to this browser.
    pub(super) fn form_cookie<'a>(&self, visit: &'a Visit) -> &'a str {
        Cookie::Form.values(&visit.head.headers, self.scheme()).next().unwrap_or("")
    }

    /// The browser gets the node's cookies, then ours, and goes where it wanted to.
    fn hand_over(
        &self,
        visit: &Visit,
        filled: &Filled<'_>,
        session: &Session,
        logged_in: &LoggedIn,
        node: &Node,
    ) -> Answer {
        let scheme = self.scheme();
        let landing = node.fitting(scheme.as_str(), visit.authority()).to_public(logged_in.landing.as_bytes());
        let landing = landing.as_deref().unwrap_or(&logged_in.landing);
        let landing = local_path(landing).unwrap_or("/");
        let next = local_path(filled.next).filter(|next| *next != "/").unwrap_or(landing);
        let mut answer = match self.held_for(session, filled.held, visit) {
            Some(held) => self.held_page(visit, held, next),
            None => redirect(next),
        };
        self.end_former(&mut answer, visit, node, &logged_in.cookies);
        for cookie in &logged_in.cookies {
            if let Some(fitted) = headers::fit_cookie(cookie.as_bytes(), node.base_path(), scheme, session::is_ours) {
                answer.headers_mut().append(header::SET_COOKIE, fitted);
            }
        }
        self.worker.shared.state.counters.sessions_opened.mine().add(1);
        append(&mut answer, header::SET_COOKIE, &self.snapshot.sessions.cookie(session, scheme));
        append(&mut answer, header::SET_COOKIE, &Cookie::Form.clear(scheme));
        answer
    }
}

/// The language that the browser asks for first, as a recipe may pass it on; English when it asks for none.
fn language(visit: &Visit) -> &str {
    let asked = visit.head.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let first = asked.and_then(|asked| asked.split([',', ';']).next()).unwrap_or("").trim();
    let right =
        (2..=16).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if right { first } else { "en" }
}

impl Form {
    /// What the next login form is filled with if this one does not lead in.
    fn filled(&self) -> Filled<'_> {
        Filled { username: &self.name, next: &self.next, held: &self.held, shared: self.shared }
    }

    fn read(body: &[u8]) -> Self {
        let mut form = Self {
            name: String::new(),
            credentials: Credentials::Password(Secret::new(String::new())),
            token: String::new(),
            next: String::new(),
            held: String::new(),
            shared: false,
        };
        let mut typed = false;
        for (name, value) in form::read(body) {
            match name.as_str() {
                "username" => form.name = value,
                // Two passwords, one of them perhaps empty: neither is believed.
                "password" if !std::mem::replace(&mut typed, true) => {
                    form.credentials = Credentials::Password(Secret::new(value))
                }
                "password" => form.credentials = Credentials::Password(Secret::new(String::new())),
                "token" => form.token = value,
                "next" => form.next = value,
                "held" => form.held = value,
                "shared" => form.shared = true,
                _ => {}
            }
        }
        if local_path(&form.next).is_none() {
            form.next = "/".to_owned();
        }
        form
    }
}
