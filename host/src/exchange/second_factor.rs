//! The page that asks for the code after the password, and what it sends back.
//!
//! Invariants: a login that waits for its code is not kept here. It goes to the browser and back, sealed: for this
//! purpose, this browser and a few minutes.

use std::borrow::Cow;

use doorward_wire::form;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::login::FORM_SIZE;
use super::own::Filled;
use super::{Answer, Exchange, Visit};
use crate::login::{self, CODE_LIFETIME, Denial, Reason, Waiting};
use crate::pages::Page;
use crate::reply::Refusal;
use crate::secret::Secret;
use crate::session::Purpose;
use crate::upload::Incoming;

/// A sealed state, with the node's cookies in it, may be so long.
const STATE_SIZE: usize = 24 << 10;

/// What the page of the code brings back, sealed.
#[derive(Serialize, Deserialize)]
struct CodeState<'a> {
    /// The form cookie of the browser.
    browser: Cow<'a, str>,
    next: Cow<'a, str>,
    held: Cow<'a, str>,
    #[serde(default)]
    shared: bool,
    waiting: Box<Waiting>,
}

/// What the page sends.
struct CodeForm {
    code: Secret,
    state: String,
    token: String,
}

impl Exchange {
    /// The page that asks for the code.
    pub(super) fn ask_for_code(
        &self,
        visit: &Visit,
        filled: &Filled<'_>,
        waiting: Box<Waiting>,
    ) -> Result<Answer, Refusal> {
        let wrong = waiting.is_again().then(|| Denial::WrongCode.message());
        let status = if wrong.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
        let user = waiting.user().to_owned();
        let (sessions, browser) = (&self.snapshot.sessions, self.form_cookie(visit));
        let (browser_, next, held) = (browser.into(), filled.next.into(), filled.held.into());
        let state = CodeState { browser: browser_, next, held, shared: filled.shared, waiting };
        let sealed = sessions.seal(Purpose::SecondFactor, &state);
        if sealed.len() > self.most_state() {
            let backend = state.waiting.backend();
            tracing::error!(backend, "the node's cookies are too large to wait for a second factor");
            return Err(Refusal::NodeBroken);
        }
        Ok(self.page(visit, status, Page::SecondFactor, filled.next, |content, language| {
            content.username = user;
            content.message = wrong.map(|message| language.say(&message));
            content.token = sessions.form_token(browser);
            content.state = sealed;
        }))
    }

    /// What is held for the user is in the state too.
    fn most_state(&self) -> usize {
        STATE_SIZE + usize::try_from(2 * self.snapshot.hold_max_size).unwrap_or(0)
    }

    /// Takes a code, and goes on with the login that waited for it.
    pub(super) async fn take_second_factor(&mut self, visit: &Visit, body: Incoming) -> Result<Answer, Refusal> {
        let (name, size) = self.snapshot.http.login_form(FORM_SIZE);
        let limit = (name, size.saturating_add(2 * self.most_state() as u64));
        let sent = CodeForm::read(&self.incoming(body, limit).whole().await?);
        let state = self.snapshot.sessions.unseal(Purpose::SecondFactor, &sent.state, CODE_LIFETIME);
        let ours =
            |state: &CodeState<'_>| self.is_our_form(visit, &sent.token) && state.browser == self.form_cookie(visit);
        let device = self.device(visit);
        let Some(CodeState { next, held, shared, waiting, .. }) = state.filter(ours) else {
            let reason = Reason::CodeTooLate;
            login::turn_away(self.neighbours(), &self.attempt(visit, device.as_ref()), "", reason);
            let message = Denial::TooLate.message();
            return Ok(self.login_form(
                visit,
                StatusCode::FORBIDDEN,
                &Filled { username: "", next: "/", held: "", shared: false },
                Some(&message),
            ));
        };
        let user = waiting.user().to_owned();
        let outcome = {
            let (attempt, dialogue) = (self.attempt(visit, device.as_ref()), self.dialogue(visit, &next));
            login::resume(self.neighbours(), &attempt, (*waiting, &sent.code), &dialogue).await
        };
        self.after_login(visit, &Filled { username: &user, next: &next, held: &held, shared }, device, outcome).await
    }
}

impl CodeForm {
    fn read(body: &[u8]) -> Self {
        let (mut code, mut state) = (Secret::new(String::new()), String::new());
        let mut token = String::new();
        for (name, value) in form::read(body) {
            match name.as_str() {
                "code" => code = Secret::new(value),
                "state" => state = value,
                "token" => token = value,
                _ => {}
            }
        }
        Self { code, state, token }
    }
}
