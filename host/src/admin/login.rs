//! Who logs in at the page: name and password against the accounts, throttled by address and by name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER, SET_COOKIE};

use super::audit::Entry;
use super::console;
use super::people::Account;
use super::plane::{Connection, Plane};
use super::reply::{Reply, see_other};
use crate::config;
use crate::limits::Who;
use crate::secret::Secret;
use crate::session::Cookie;

/// Why somebody has not proved who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unproved {
    /// Name or password are wrong.
    Wrong,
    /// Too many were, and this one was not looked at.
    Throttled(Duration),
    /// Too many passwords are being checked.
    Busy,
}

impl Unproved {
    const fn words(self) -> &'static str {
        match self {
            Self::Wrong => "Name or password are wrong.",
            Self::Throttled(_) => "There were too many wrong passwords. Please wait a while.",
            Self::Busy => "Too many passwords are being checked. Please try again.",
        }
    }

    /// What the audit log calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Wrong => "wrong name or password",
            Self::Throttled(_) => "throttled",
            Self::Busy => "busy",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Whose name and password these are.
///
/// # Errors
/// Nobody's, or nobody looks at them now.
pub(super) async fn prove(
    plane: &Plane,
    admin: &config::Admin,
    connection: &Connection,
    (name, password): (&str, Secret),
) -> Result<Account, Unproved> {
    let who = Who { address: connection.address, site: "", name, device: None };
    let permit = plane.throttle.admit(&who, &config::Throttle::default()).map_err(Unproved::Throttled)?;
    tokio::time::sleep(permit.delay).await;
    let accounts = plane.people.accounts(admin);
    let account = accounts.iter().find(|account| account.name == name && account.password.is_some());
    // Who is not there costs what the others cost.
    let stored = account.or(accounts.iter().find(|account| account.password.is_some()));
    let stored: Vec<Secret> = stored.and_then(|account| account.password.clone()).into_iter().collect();
    let given = password.clone();
    let fits = !password.is_blank() & plane.hashing.any_fits(stored, given).await.map_err(|_| Unproved::Busy)?;
    match account.filter(|_| fits) {
        Some(account) => {
            permit.right();
            Ok(account.clone())
        }
        None => {
            permit.wrong(password.expose());
            Err(Unproved::Wrong)
        }
    }
}

/// Answers the form of the login.
pub(super) async fn log_in(
    plane: &Arc<Plane>,
    admin: &config::Admin,
    connection: &Connection,
    form: Vec<(String, String)>,
) -> Reply {
    let (mut name, mut password, mut next) = (String::new(), Secret::new(String::new()), String::new());
    for (field, value) in form {
        match field.as_str() {
            "name" => name = value,
            "password" => password = Secret::new(value),
            "next" => next = value,
            _ => drop(Secret::new(value)),
        }
    }
    let next = if is_own_path(&next) { next.as_str() } else { "/" };
    let entry = Entry::stranger(connection.address, "login").with("name", name.as_str());
    match prove(plane, admin, connection, (&name, password)).await {
        Ok(account) => {
            let (now, lifetimes) = (Instant::now(), Plane::lifetimes(admin));
            let cookie = plane.sessions.open(&account.name, account.fingerprint(), now, lifetimes);
            let entry = entry.of_friend().with("who", account.name.as_str()).with("role", account.role.name());
            plane.dispatcher.note(entry.with("outcome", "done")).await;
            let mut reply = see_other(next);
            let cookie = Cookie::Admin.set(cookie.expose(), connection.scheme);
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                reply.headers_mut().insert(SET_COOKIE, cookie);
            }
            reply
        }
        Err(why) => {
            let entry = if matches!(why, Unproved::Wrong) { entry.of_guess() } else { entry };
            plane.dispatcher.note(entry.with("outcome", "refused").with("error", why.name())).await;
            let mut reply = console::login(why.status(), &console::Login { failed: Some(why.words()), next });
            if let Unproved::Throttled(wait) = why {
                reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            }
            reply
        }
    }
}

/// Ends a session, and takes its cookie away.
pub(super) fn log_out(plane: &Plane, connection: &Connection, key: Option<&super::sessions::Key>) -> Reply {
    if let Some(key) = key {
        plane.sessions.end(key);
    }
    let mut reply = see_other("/");
    if let Ok(cookie) = HeaderValue::from_str(&Cookie::Admin.clear(connection.scheme)) {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}

/// Whether this is a path of this server, for browsers too: `//host` and `/\host` are none.
fn is_own_path(path: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    path.starts_with('/') && !path.starts_with("//") && path.len() <= 2048 && path.bytes().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_login_nobody_is_led_elsewhere() {
        for path in ["/", "/nodes?x=1", "/a//b"] {
            assert!(is_own_path(path), "{path}");
        }
        for path in ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/ä", "evil"] {
            assert!(!is_own_path(path), "{path}");
        }
    }
}
