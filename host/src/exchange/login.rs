//! A login: form → directory → auth-mode policy → proof → the node's own login → session.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header;

use super::own::{self, Filled, append, redirect};
use super::{Answer, Exchange, Visit};
use crate::auth::{self, Claim, Identity, Problem, Verdict};
use crate::back::{self, LoggedIn, LoginError, Node, Pending, headers};
use crate::config::Mode;
use crate::directory::User;
use crate::limits::Holder;
use crate::policy::{LeftAlone, LoginFacts};
use crate::reply::{Message, Refusal};
use crate::secret::Secret;
use crate::session::{self, Device, Session};
use crate::text;
use crate::upload::{Incoming, Upload};

/// A login form has a name, a password, a token and a path: this is plenty. What is held comes on top.
pub(super) const FORM_SIZE: u64 = 16 << 10;
/// So long a login waits for the logout of who was here before. A node that is well answers in a tenth of it.
const FORMER_LOGOUT: Duration = Duration::from_secs(3);

/// The one message for every login that failed, so that nobody learns which names exist.
const WRONG: Message = Message::known("wrong");
const STALE: Message = Message::known("stale");
const NO_COOKIES: Message = Message::known("no_cookies");

/// What the login page sends.
pub(super) struct Form {
    pub(super) name: String,
    pub(super) secret: Secret,
    pub(super) token: String,
    pub(super) next: String,
    /// What was kept for the user until the login, sealed.
    pub(super) held: String,
}

impl Exchange {
    pub(super) async fn log_in(&mut self, visit: &Visit, body: Incoming) -> Result<Answer, Refusal> {
        // Sealed, written in base64 and encoded for a form, what is held is less than twice as long.
        let (name, size) = self.snapshot.http.own_form("the login form", FORM_SIZE);
        let limit = (name, size.saturating_add(self.snapshot.hold_max_size.saturating_mul(2)));
        let form = Form::read(&Upload::new(body, self.rules(limit)).whole().await?);
        if !self.is_our_form(visit, &form) {
            return Ok(Box::pin(self.not_our_form(visit, &form)).await);
        }
        let device = self.device(visit);
        // However a name is typed, it is one name that is guessed at.
        let name = self.snapshot.directory.canonical(&form.name).unwrap_or_default();
        let permit = match self.admit_login(visit, &name, device.as_ref()) {
            Ok(permit) => permit,
            Err(wait) => return Ok(self.throttled(visit, &form.next, wait)),
        };
        // Before anybody is asked, so that right and wrong take the same time.
        tokio::time::sleep(permit.delay).await;
        let outcome = self.try_log_in(visit, &form, device.as_ref()).await;
        self.tell_login(visit, &form, &outcome);
        match &outcome {
            Ok(LoginOutcome::Wrong) => permit.wrong(form.secret.expose()),
            Ok(LoginOutcome::In { .. }) => permit.right(),
            _ => drop(permit),
        }
        let again = |status, message| self.login_form(visit, status, &form.filled(), Some(message));
        match outcome {
            Ok(LoginOutcome::Wrong) => Ok(again(StatusCode::FORBIDDEN, &WRONG)),
            Ok(LoginOutcome::Account(problem)) => Ok(self.account_problem(visit, &form.filled(), problem)),
            Ok(LoginOutcome::Refused(text)) => Ok(again(StatusCode::FORBIDDEN, &Message::Given(text))),
            Ok(LoginOutcome::SecondFactor(session, pending)) => {
                self.ask_for_second_factor(visit, &form, *session, *pending)
            }
            // A node that does not say how long is asked again in a minute.
            Ok(LoginOutcome::Throttled(wait)) => {
                Ok(self.throttled(visit, &form.next, wait.unwrap_or(Duration::from_secs(60))))
            }
            // An outage is told on the login page too: the name is kept, and the next try is one click away.
            Err(refusal) => {
                let look = self.tell(&refusal);
                let mut answer = again(look.status, &look.detail);
                own::retry_after(&mut answer, &look);
                Ok(answer)
            }
            Ok(LoginOutcome::In { session, logged_in, node, .. }) => {
                self.finish.session(&session);
                self.log_out_former(visit).await;
                let mut answer = self.hand_over(visit, &form, &session, &logged_in, &node);
                self.remember_device(&mut answer, visit, device, &name);
                Ok(answer)
            }
        }
    }

    /// The one security line of a login; what is typed is escaped by the log.
    fn tell_login(&self, visit: &Visit, form: &Form, outcome: &Result<LoginOutcome, Refusal>) {
        let (outcome, mode, session) = match outcome {
            Ok(LoginOutcome::In { mode, session, .. }) => ("in", *mode, session.id()),
            Ok(LoginOutcome::Wrong) => ("wrong", "-", String::new()),
            Ok(LoginOutcome::Account(problem)) => (problem.name(), "-", String::new()),
            Ok(LoginOutcome::Refused(_)) => ("refused", "-", String::new()),
            Ok(LoginOutcome::SecondFactor(..)) => ("second-factor", "-", String::new()),
            Ok(LoginOutcome::Throttled(_)) => ("throttled", "-", String::new()),
            Err(_) => ("failed", "-", String::new()),
        };
        self.worker.shared.state.logins.count(outcome);
        let id = self.finish.id();
        tracing::info!(id, user = ?form.name, client = %self.peer.address, host = %visit.host, outcome, mode, session, "login");
    }

    /// Whether the form is one that we showed to this browser: its token fits the browser's cookie, and the browser
    /// does not say that another site sent it.
    pub(super) fn is_our_form(&self, visit: &Visit, form: &Form) -> bool {
        !self.is_from_elsewhere(visit) && self.snapshot.sessions.form_token_fits(&form.token, self.form_cookie(visit))
    }

    /// A form that does not fit this browser: another tab has logged in meanwhile, the browser keeps no cookies, or the page
    /// is too old. One of another site's is told no more than that.
    async fn not_our_form(&mut self, visit: &Visit, form: &Form) -> Answer {
        let elsewhere = self.is_from_elsewhere(visit);
        let session = self.session(visit).filter(|_| !elsewhere);
        // Somebody else at this browser must not find himself in the mailbox of whoever was here before.
        if let Some((session, _)) = session
            && self.is_name_of(&session, &form.name).await
        {
            return redirect(&form.next);
        }
        let no_cookies = !elsewhere && self.form_cookie(visit).is_empty();
        let is_known = no_cookies && self.snapshot.sessions.is_form_token(&form.token);
        let message = if is_known { &NO_COOKIES } else { &STALE };
        self.login_form(visit, StatusCode::FORBIDDEN, &form.filled(), Some(message))
    }

    /// Whether what was typed names the user of a session.
    async fn is_name_of(&self, session: &Session, typed: &str) -> bool {
        let directory = &self.snapshot.directory;
        let Some(name) = directory.canonical(typed) else { return false };
        let found = if name == session.user() { None } else { self.look_up(&name).await.ok().flatten() };
        let name = found.and_then(|user| directory.name_of(&user)).unwrap_or(name);
        name == session.user()
    }

    async fn try_log_in(&self, visit: &Visit, form: &Form, device: Option<&Device>) -> Result<LoginOutcome, Refusal> {
        let began = Instant::now();
        let (directory, connections) = (&self.snapshot.directory, &self.worker.directory);
        // A blank password is refused before anybody is asked, and so is a name that nobody can have.
        let name = directory.canonical(&form.name).filter(|_| !form.secret.is_blank());
        let Some(name) = name else { return Ok(LoginOutcome::Wrong) };
        let user = self.look_up(&name).await?;
        let mode = self.auth_mode(visit, &name, user.as_ref(), device)?;
        if let Mode::Refuse(text) = mode {
            return Ok(LoginOutcome::Refused(text));
        }
        let claim = Claim { name: &name, user: user.as_ref(), secret: &form.secret };
        let verdict = auth::authenticate(&claim, &mode, directory, connections)
            .await
            .map_err(|error| self.directory_down(&error))?;
        let pace = &self.worker.shared.state.pace;
        let (identity, user) = match (verdict, user) {
            (Verdict::Right(identity), Some(user)) => (identity, user),
            (Verdict::Account(problem), _) => return Ok(LoginOutcome::Account(problem)),
            (_, user) => {
                let real = mode != Mode::BackEnd && user.is_some_and(|user| user.has_entry());
                pace.wrong(mode.name(), began, real).await;
                return Ok(LoginOutcome::Wrong);
            }
        };
        let node = match self.node_of(&user) {
            Some(node) => node,
            // Nobody has checked the password yet, so nobody may learn that the name exists.
            None if mode == Mode::BackEnd => {
                pace.wrong(mode.name(), began, false).await;
                return Ok(LoginOutcome::Wrong);
            }
            None => return Err(Refusal::NoNode),
        };
        let who = (&mode, &identity, &user);
        let (mut node, mut outcome) = (node.clone(), self.log_in_at(visit, form, &node, who).await);
        if matches!(outcome, Err(LoginError::Wrong | LoginError::Refusal(_)))
            && let Some(other) = self.other_node(&name, began, &node).await
        {
            outcome = self.log_in_at(visit, form, &other, who).await;
            node = other;
        }
        let session = || Session::open(&identity, &visit.site.name, node.name());
        match outcome {
            Ok(logged_in) => {
                let session = Arc::new(session().keeping(logged_in.kept.clone()));
                Ok(LoginOutcome::In { session, logged_in, node, mode: identity.mode() })
            }
            Err(LoginError::Wrong) if mode == Mode::BackEnd => {
                pace.wrong(mode.name(), began, true).await;
                Ok(LoginOutcome::Wrong)
            }
            Err(LoginError::Wrong) => {
                tracing::warn!(user = ?name, backend = node.name(), "the node refuses a user whom the directory takes");
                Ok(LoginOutcome::Wrong)
            }
            Err(LoginError::SecondFactor(pending)) => Ok(LoginOutcome::SecondFactor(Box::new(session()), pending)),
            Err(LoginError::PasswordExpired) => Ok(LoginOutcome::Account(Problem::PasswordExpired)),
            Err(LoginError::Throttled(wait)) => Ok(LoginOutcome::Throttled(wait)),
            Err(LoginError::Refusal(refusal)) => Err(refusal),
        }
    }

    async fn log_in_at(
        &self,
        visit: &Visit,
        form: &Form,
        node: &Arc<Node>,
        (mode, identity, user): (&Mode, &Identity, &User),
    ) -> Result<LoggedIn, LoginError> {
        if self.snapshot.is_draining(node) {
            return Err(Refusal::NodeDraining.into());
        }
        if *mode == Mode::BackEnd && !node.recipe.checks_password() {
            tracing::error!(backend = node.name(), "its recipe checks no password, so mode back-end lets nobody in");
            return Err(Refusal::Internal.into());
        }
        self.log_in_to(visit, form, node, (identity, user)).await
    }

    /// Asks the policies how this attempt is checked.
    fn auth_mode(
        &self,
        visit: &Visit,
        name: &str,
        user: Option<&User>,
        device: Option<&Device>,
    ) -> Result<Mode, Refusal> {
        let mut facts = visit.facts.clone();
        let failures = self.failures(visit, name, device);
        facts.login = Some(Arc::new(LoginFacts {
            username: name.to_owned(),
            known: user.is_some_and(User::has_entry),
            attributes: user.map(|user| self.snapshot.directory.exposed(user)).unwrap_or_default(),
            failures_from_address: failures.from_network,
            failures_for_user: failures.for_user,
        }));
        let mode = self.snapshot.policies.auth_mode(&mut self.worker.guests.borrow_mut(), &facts);
        let mode = mode.map_err(|LeftAlone| Refusal::PolicyFailed)?;
        Ok(mode.unwrap_or_else(|| self.snapshot.mode.clone()))
    }

    /// Whoever was logged in here before with a session that no cookie holds is logged out at the node too. A node that
    /// does not answer soon keeps nobody waiting.
    pub(super) async fn log_out_former(&self, visit: &Visit) {
        let (secure, shared, headers) = (self.secure(), &self.worker.shared, &visit.head.headers);
        let former = {
            let opened = &mut self.worker.opened.borrow_mut();
            self.snapshot.sessions.find(headers, secure, &visit.site.name, &shared.state.revoked, opened)
        };
        let Some(former) = former else { return };
        let Some(node) = self.snapshot.node(former.backend()).filter(|node| node.recipe.ends_by_call()) else { return };
        let headers = self.headers_for_node(visit, node);
        let allowance = self.allowance(Holder::user(former.user()));
        let call = back::log_out(self.hop(node, &allowance), &headers, former.user(), former.kept());
        if !matches!(tokio::time::timeout(FORMER_LOGOUT, call).await, Ok(Ok(()))) {
            tracing::warn!(backend = node.name(), user = former.user(), "the node was not told of a logout");
        }
    }

    /// Whoever was logged in here before is not any more, wherever copies of the cookie are; and what the former node
    /// set must not reach the new one.
    fn end_former(&self, answer: &mut Answer, visit: &Visit, node: &Node, new: &[String]) {
        let (secure, shared, sessions) = (self.secure(), &self.worker.shared, &self.snapshot.sessions);
        let opened = &mut self.worker.opened.borrow_mut();
        let headers = &visit.head.headers;
        if let Some(former) = sessions.find(headers, secure, &visit.site.name, &shared.state.revoked, opened) {
            sessions.end(&former, &shared.state.revoked);
            tracing::info!(user = former.user(), session = former.id(), "a new login ends the former session");
        }
        let stale = self.snapshot.nodes().iter().flat_map(|node| &node.recipe.session_cookies);
        let stale: BTreeSet<&str> = stale.chain(&node.recipe.session_cookies).map(String::as_str).collect();
        let sent: BTreeSet<&str> = text::cookies(headers).map(|(name, _)| name).collect();
        for name in stale.intersection(&sent).filter(|name| !new.iter().any(|cookie| cookie_name_of(cookie) == **name))
        {
            append(answer, header::SET_COOKIE, &session::delete_cookie(name, secure));
        }
    }

    /// The browser gets the node's cookies, then ours, and goes where it wanted to.
    pub(super) fn hand_over(
        &self,
        visit: &Visit,
        form: &Form,
        session: &Session,
        logged_in: &LoggedIn,
        node: &Node,
    ) -> Answer {
        let secure = self.secure();
        let landing = node.fitting(self.peer.scheme(), visit.authority()).to_public(logged_in.landing.as_bytes());
        let landing = landing.as_deref().unwrap_or(&logged_in.landing);
        let landing = text::local_path(landing).unwrap_or("/");
        let next = text::local_path(&form.next).filter(|next| *next != "/").unwrap_or(landing);
        let mut answer = match self.held_for(session, &form.held, visit) {
            Some(held) => self.held_page(visit, held, next),
            None => redirect(next),
        };
        self.end_former(&mut answer, visit, node, &logged_in.cookies);
        for cookie in &logged_in.cookies {
            if let Some(fitted) = headers::fit_cookie(cookie.as_bytes(), node.base_path(), secure, session::is_ours) {
                answer.headers_mut().append(header::SET_COOKIE, fitted);
            }
        }
        append(&mut answer, header::SET_COOKIE, &self.snapshot.sessions.cookie(session, secure));
        let form_cookie = session::delete_cookie(session::form_cookie_name(secure), secure);
        append(&mut answer, header::SET_COOKIE, &form_cookie);
        answer
    }
}

/// The name of the cookie that a `Set-Cookie` sets.
fn cookie_name_of(set_cookie: &str) -> &str {
    set_cookie.split(['=', ';']).next().unwrap_or_default().trim()
}

/// How an attempt ended.
enum LoginOutcome {
    /// Logged in at the node.
    In { session: Arc<Session>, logged_in: LoggedIn, node: Arc<Node>, mode: &'static str },
    /// Name or password is wrong, or one of many reasons that look the same.
    Wrong,
    /// The password is right, and the account has a problem.
    Account(Problem),
    /// A policy says no, with a text for the person.
    Refused(String),
    /// The node wants a code, and then this is the session.
    SecondFactor(Box<Session>, Box<Pending>),
    /// The node takes no more logins for a while.
    Throttled(Option<Duration>),
}

impl Form {
    /// What the next login form is filled with if this one does not lead in.
    pub(super) fn filled(&self) -> Filled<'_> {
        Filled { username: &self.name, next: &self.next, held: &self.held }
    }

    pub(super) fn read(body: &[u8]) -> Self {
        let mut form = Self {
            name: String::new(),
            secret: Secret::new(String::new()),
            token: String::new(),
            next: String::new(),
            held: String::new(),
        };
        let mut typed = false;
        for (name, value) in text::form_fields(body) {
            match name.as_str() {
                "username" => form.name = value,
                // Two passwords, one of them perhaps empty: neither is believed.
                "password" if !std::mem::replace(&mut typed, true) => form.secret = Secret::new(value),
                "password" => form.secret = Secret::new(String::new()),
                "token" => form.token = value,
                "next" => form.next = value,
                "held" => form.held = value,
                _ => {}
            }
        }
        if text::local_path(&form.next).is_none() {
            form.next = "/".to_owned();
        }
        form
    }
}
