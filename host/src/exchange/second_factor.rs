//! The login at the node with all that a recipe may know, and the code that some nodes ask for after the password.
//!
//! Invariants: nothing of a login that waits for its code is kept here. It goes to the browser and back, sealed: for
//! this purpose, this site, this browser and a few minutes. Each sealed state is good for one try.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header;
use serde::{Deserialize, Serialize};

use super::login::{FORM_SIZE, Form};
use super::{Answer, Exchange, Visit, own};
use crate::auth::{Identity, Problem};
use crate::back::{self, LoggedIn, LoginError, Node, Pending, Person};
use crate::directory::User;
use crate::limits::Holder;
use crate::pages::Page;
use crate::reply::{Message, Refusal};
use crate::secret::Secret;
use crate::session::{self, Purpose, Session};
use crate::text;
use crate::upload::{Incoming, Upload};

/// Where a user logs out without the node's own button.
pub(super) const LOGOUT: &str = "/.doorward/logout";

/// How long the code may take: long enough to find the telephone.
const LIFETIME: Duration = Duration::from_secs(300);
/// Wrong codes for one password. Then it is asked for again, and that is counted as any login is.
const TRIES: u8 = 5;
/// A sealed state, with the node's cookies in it, may be so long.
const STATE_SIZE: usize = 24 << 10;
/// Codes have six or eight digits; words of recovery are longer.
const CODE_SIZE: usize = 64;

const WRONG_CODE: Message = Message::known("wrong_code");
const TOO_LATE: Message = Message::known("code_too_late");

/// A login that waits for its code.
#[derive(Serialize, Deserialize)]
struct Waiting {
    /// Tells this state from all others.
    id: String,
    /// The form cookie of the browser.
    browser: String,
    /// What the user will have: the password was right, so it was proved who this is.
    session: Session,
    pending: Pending,
    next: String,
    held: String,
    tries: u8,
}

/// What the page sends.
struct CodeForm {
    code: Secret,
    state: String,
    /// Its token.
    form: Form,
}

impl Exchange {
    /// Logs in at a node, under the one name that later requests tell it too.
    pub(super) async fn log_in_to(
        &self,
        visit: &Visit,
        form: &Form,
        node: &Arc<Node>,
        (identity, user): (&Identity, &User),
    ) -> Result<LoggedIn, LoginError> {
        let headers = self.headers_for_node(visit, node);
        let attributes = self.snapshot.directory.exposed(user);
        let origin = format!("{}://{}", self.peer.scheme(), visit.authority());
        let person = Person {
            user: identity.user(),
            secret: &form.secret,
            attributes: &attributes,
            lang: language(visit),
            target: &form.next,
            origin: &origin,
            device: visit.form.name(),
            template: &visit.look,
        };
        let name = self.snapshot.directory.canonical(&form.name).unwrap_or_default();
        let allowance = self.allowance(Holder::login(&name));
        back::log_in(self.hop(node, &allowance), &headers, &person, &|_| {}).await
    }

    /// The page that asks for the code.
    pub(super) fn ask_for_second_factor(
        &self,
        visit: &Visit,
        form: &Form,
        session: Session,
        pending: Pending,
    ) -> Result<Answer, Refusal> {
        let browser = self.form_cookie(visit).to_owned();
        let (next, held) = (form.next.clone(), form.held.clone());
        let id = session::new_form_cookie();
        self.code_page(visit, StatusCode::OK, &Waiting { id, browser, session, pending, next, held, tries: 0 }, None)
    }

    fn code_page(
        &self,
        visit: &Visit,
        status: StatusCode,
        waiting: &Waiting,
        message: Option<&Message>,
    ) -> Result<Answer, Refusal> {
        let sessions = &self.snapshot.sessions;
        let state = sessions.seal(Purpose::SecondFactor, waiting);
        if state.len() > self.most_state() {
            let backend = waiting.session.backend();
            tracing::error!(backend, "the node's cookies are too large to wait for a second factor");
            return Err(Refusal::NodeBroken);
        }
        Ok(self.page(visit, status, Page::SecondFactor, &waiting.next, |content, language| {
            waiting.session.user().clone_into(&mut content.username);
            content.message = message.map(|message| language.say(message));
            content.token = sessions.form_token(&waiting.browser);
            content.state = state;
        }))
    }

    /// What is held for the user is in the state too.
    fn most_state(&self) -> usize {
        STATE_SIZE + usize::try_from(2 * self.snapshot.hold_max_size).unwrap_or(0)
    }

    /// Takes a code, and tries it at the node.
    pub(super) async fn take_second_factor(&mut self, visit: &Visit, body: Incoming) -> Result<Answer, Refusal> {
        let (name, size) = self.snapshot.http.own_form("the login form", FORM_SIZE);
        let limit = (name, size.saturating_add(2 * self.most_state() as u64));
        let mut sent = CodeForm::read(&Upload::new(body, self.rules(limit)).whole().await?);
        let waiting: Option<Waiting> =
            self.snapshot.sessions.unseal(Purpose::SecondFactor, &sent.state, LIFETIME).filter(|waiting: &Waiting| {
                self.is_our_form(visit, &sent.form)
                    && waiting.browser == self.form_cookie(visit)
                    && waiting.session.site() == &*visit.site.name
            });
        let waiting = waiting.filter(|waiting| self.worker.shared.state.once.first(&waiting.id, LIFETIME));
        let stale = |form: &Form| self.login_form(visit, StatusCode::FORBIDDEN, &form.filled(), Some(&TOO_LATE));
        let Some(mut waiting) = waiting else { return Ok(stale(&sent.form)) };
        sent.form.name = waiting.session.user().to_owned();
        sent.form.next.clone_from(&waiting.next);
        sent.form.held.clone_from(&waiting.held);
        let Some(node) = self.snapshot.node(waiting.session.backend()).cloned() else { return Ok(stale(&sent.form)) };
        let device = self.device(visit);
        let permit = match self.admit_login(visit, &sent.form.name, device.as_ref()) {
            Ok(permit) => permit,
            Err(wait) => return Ok(self.throttled(visit, &sent.form.next, wait)),
        };
        tokio::time::sleep(permit.delay).await;
        let outcome = self.try_code(visit, &node, &waiting, &sent.code).await;
        self.tell_code(visit, &waiting.session, &outcome);
        match outcome {
            Ok(logged_in) => {
                permit.right();
                let session = Arc::new(waiting.session.keeping(logged_in.kept.clone()).begun_now());
                self.finish.session(&session);
                self.log_out_former(visit).await;
                let mut answer = self.hand_over(visit, &sent.form, &session, &logged_in, &node);
                self.remember_device(&mut answer, visit, device, session.user());
                Ok(answer)
            }
            Err(LoginError::Refusal(refusal)) => Err(refusal),
            Err(LoginError::PasswordExpired) => {
                Ok(self.account_problem(visit, &sent.form.filled(), Problem::PasswordExpired))
            }
            Err(LoginError::Throttled(wait)) => {
                Ok(self.throttled(visit, &sent.form.next, wait.unwrap_or(Duration::from_secs(60))))
            }
            Err(_) => {
                permit.wrong(sent.code.expose());
                waiting.tries += 1;
                if waiting.tries >= TRIES {
                    return Ok(self.login_form(visit, StatusCode::FORBIDDEN, &sent.form.filled(), Some(&WRONG_CODE)));
                }
                waiting.id = session::new_form_cookie();
                self.code_page(visit, StatusCode::FORBIDDEN, &waiting, Some(&WRONG_CODE))
            }
        }
    }

    async fn try_code(
        &self,
        visit: &Visit,
        node: &Arc<Node>,
        waiting: &Waiting,
        code: &Secret,
    ) -> Result<LoggedIn, LoginError> {
        if code.is_blank() || code.expose().len() > CODE_SIZE || code.expose().chars().any(char::is_control) {
            return Err(LoginError::Wrong);
        }
        let headers = self.headers_for_node(visit, node);
        let allowance = self.allowance(Holder::user(waiting.session.user()));
        back::second_factor(self.hop(node, &allowance), &headers, &waiting.pending, code, &|_| {}).await
    }

    /// The one security line of a code.
    fn tell_code(&self, visit: &Visit, session: &Session, outcome: &Result<LoggedIn, LoginError>) {
        let outcome = match outcome {
            Ok(_) => "in",
            Err(LoginError::Refusal(_)) => "failed",
            Err(LoginError::Throttled(_)) => "throttled",
            Err(LoginError::PasswordExpired) => Problem::PasswordExpired.name(),
            Err(_) => "wrong-code",
        };
        self.worker.shared.state.logins.count(outcome);
        let (id, user, session) = (self.finish.id(), session.user(), session.id());
        tracing::info!(
            id, user = ?user, client = %self.peer.address, host = %visit.host, outcome, mode = "second-factor", session, "login"
        );
    }

    /// The cookie that binds forms to this browser.
    pub(super) fn form_cookie<'a>(&self, visit: &'a Visit) -> &'a str {
        let name = session::form_cookie_name(self.secure());
        text::cookies_named(&visit.head.headers, name).next().unwrap_or("")
    }

    /// `/.doorward/logout`: ends the session here, and at the node where the recipe knows how.
    ///
    /// A node's cookies may have a path. Then it goes on to the same below that path, where the browser sends them.
    pub(super) async fn log_out(&mut self, visit: &Visit) -> Answer {
        // Another site must not be able to log a user out.
        let from_elsewhere = matches!(visit.fetch_site(), Some(b"cross-site" | b"same-site"));
        let Some((session, node)) = self.session(visit).filter(|_| !from_elsewhere) else {
            return self.login_page(visit, "/", "");
        };
        let below = node.recipe.session_path.trim_end_matches('/');
        if !below.is_empty() && visit.head.uri.path() == LOGOUT {
            return own::redirect(&format!("{below}{LOGOUT}"));
        }
        let headers = self.headers_for_node(visit, &node);
        let allowance = self.allowance(Holder::user(session.user()));
        let hop = self.hop(&node, &allowance);
        if let Err(refusal) = back::log_out(hop, &headers, session.user(), session.kept()).await {
            tracing::warn!(backend = node.name(), ?refusal, "the node was not told of a logout");
        }
        self.snapshot.sessions.end(&session, &self.worker.shared.state.revoked);
        tracing::info!(user = session.user(), client = %self.peer.address, "logged out");
        self.after_logout(own::Gone::LoggedOut, visit, &node)
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

impl CodeForm {
    fn read(body: &[u8]) -> Self {
        let (mut code, mut state) = (Secret::new(String::new()), String::new());
        let mut form = Form::read(&[]);
        for (name, value) in text::form_fields(body) {
            match name.as_str() {
                "code" => code = Secret::new(value),
                "state" => state = value,
                "token" => form.token = value,
                _ => {}
            }
        }
        Self { code, state, form }
    }
}
