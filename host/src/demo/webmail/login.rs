//! Signing in and signing out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use minijinja::context;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::body::Body;
use super::form::{self, Form};
use super::{Account, Node, Session, is_bodyless, reply, session};

/// The longest form, in bytes: a name, a password and a place to go to fit many times over.
const MAX_FORM: usize = 16 * 1024;

/// How long a client may take to send a form.
const FORM_TIMEOUT: Duration = Duration::from_secs(15);

/// What the login form shows besides its fields.
struct Prompt<'a> {
    status: StatusCode,
    message: &'a str,
    user: &'a str,
    then: &'a str,
}

impl Node {
    /// The login form. A visitor who has a live token keeps it, so that two tabs can be open.
    pub(super) fn login_form(&self, request: &Request<Incoming>) -> Response<Body> {
        if self.session(request.headers()).is_some() {
            return reply::see_other("/inbox");
        }
        let query = Form::parse(request.uri().query().unwrap_or_default().as_bytes());
        let message = match query.field("expired") {
            "1" => "Your session has ended. Please sign in again.",
            _ => "",
        };
        let prompt = Prompt { status: StatusCode::OK, message, user: "", then: query.field("then") };
        if let Some(token) = super::cookie(request.headers()).and_then(|id| self.visitors.find(&id, Instant::now())) {
            return self.prompt(&prompt, &token);
        }
        let opened = session::random_hex()
            .and_then(|token| Ok((self.visitors.open(token.as_str().into(), Instant::now())?, token)));
        match opened {
            Ok((id, token)) => reply::with_cookie(self.prompt(&prompt, &token), &id),
            Err(error) => self.failed(&error),
        }
    }

    /// The filled-in form. A right login gets a new session id, so that an id known before is worth nothing after.
    pub(super) async fn login(&self, request: Request<Incoming>) -> Response<Body> {
        let now = Instant::now();
        let visitor = super::cookie(request.headers());
        let Some(form) = read(request).await else {
            return self.problem(StatusCode::BAD_REQUEST, "The form did not arrive whole.");
        };
        let token = visitor.as_ref().and_then(|id| self.visitors.find(id, now));
        let (Some(visitor), Some(token)) = (visitor, token) else {
            return self.problem(StatusCode::BAD_REQUEST, "This login form is too old. Please open it again.");
        };
        if !same(form.field("token"), &token) {
            return self.problem(StatusCode::BAD_REQUEST, "This login form is too old. Please open it again.");
        }
        let then = form.field("then");
        let Some(account) = self.check(form.field("user"), form.field("password")) else {
            let message = "The user name or the password is wrong.";
            let prompt = Prompt { status: StatusCode::UNAUTHORIZED, message, user: form.field("user"), then };
            return self.prompt(&prompt, &token);
        };
        self.visitors.close(&visitor);
        let opened = session::random_hex()
            .map(|token| Session { account: Arc::clone(account), token: token.into() })
            .and_then(|session| self.sessions.open(session, now));
        match opened {
            Ok(id) => {
                let target = if form::is_local(then) { then } else { "/inbox" };
                reply::with_cookie(reply::see_other(target), &id)
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The end of a session, which takes the token in the form or in the query.
    pub(super) async fn logout(&self, id: &str, session: &Session, request: Request<Incoming>) -> Response<Body> {
        let form = if is_bodyless(request.method()) {
            Some(Form::parse(request.uri().query().unwrap_or_default().as_bytes()))
        } else {
            read(request).await
        };
        if !form.is_some_and(|form| same(form.field("token"), &session.token)) {
            return self.problem(StatusCode::FORBIDDEN, "This logout did not come from one of our pages.");
        }
        self.sessions.close(id);
        reply::with_cookie(reply::see_other("/login"), "")
    }

    fn prompt(&self, prompt: &Prompt<'_>, token: &str) -> Response<Body> {
        let Prompt { status, message, user, then } = prompt;
        self.pages.show(*status, "login.html", context! { message, typed => user, then, token })
    }

    /// The account of that name and password. An unknown name takes the same work as a wrong password.
    fn check(&self, user: &str, password: &str) -> Option<&Arc<Account>> {
        let account = self.accounts.iter().find(|account| account.user == user);
        let right = same(password, account.map_or("", |account| &account.password));
        account.filter(|account| right && !account.password.is_empty())
    }

    fn failed(&self, error: &session::Error) -> Response<Body> {
        tracing::error!(node = self.name, %error, "no session could be opened");
        self.problem(StatusCode::INTERNAL_SERVER_ERROR, "No session could be opened.")
    }
}

/// Compares two secrets in a time that tells nothing of either, their lengths included.
fn same(left: &str, right: &str) -> bool {
    Sha256::digest(left).ct_eq(&Sha256::digest(right)).into()
}

/// Reads a form, unless it is too long, too slow or cut short.
async fn read(request: Request<Incoming>) -> Option<Form> {
    let body = Limited::new(request.into_body(), MAX_FORM).collect();
    let bytes: Bytes = tokio::time::timeout(FORM_TIMEOUT, body).await.ok()?.ok()?.to_bytes();
    Some(Form::parse(&bytes))
}
