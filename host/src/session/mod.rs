//! Sessions: one sealed cookie that holds who, where and since when, and a list of those that were ended early.
//!
//! Invariants: what is in a cookie was sealed by a key of ours; a session ended is dead wherever its cookie turns up.

mod cookie;
mod device;
mod find;
mod keys;
mod once;
mod opened;
mod revoked;
mod sighting;
mod watched;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

pub use cookie::{Cookie, clear as clear_cookie, is_ours};
pub use device::Device;
pub use find::Search;
pub use keys::{Keys, Purpose, RawKey, random};
pub use once::Once;
pub use opened::Opened;
pub use revoked::{Learned, Past, Revocation, Revoked, parse_id};
pub use sighting::{Sighting, Sightings};
pub use watched::Watched;

use crate::auth::Identity;
use crate::config;
use crate::limits::Holder;
use crate::peer::Scheme;
use crate::secret::Values;
use crate::text::hex;
use crate::times::seconds_now;

/// Who is logged in, where, and since when. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(from = "Written")]
pub struct Session {
    id: [u8; 16],
    site: String,
    user: String,
    backend: String,
    started: u64,
    seen: u64,
    /// What requests to the node need; most often nothing.
    #[serde(skip_serializing_if = "Values::is_empty")]
    kept: Values,
    /// Whether others use the computer too: then it ends sooner when it is not used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    /// Whose shares it takes. Of the user's name, so that not each request has to hash that.
    #[serde(skip_serializing)]
    holder: Holder,
}

/// A session as a cookie has it.
#[derive(serde::Deserialize)]
struct Written {
    id: [u8; 16],
    site: String,
    user: String,
    backend: String,
    started: u64,
    seen: u64,
    #[serde(default)]
    kept: Values,
    #[serde(default)]
    shared: bool,
}

impl From<Written> for Session {
    fn from(written: Written) -> Self {
        let Written { id, site, user, backend, started, seen, kept, shared } = written;
        let holder = Holder::user(&user);
        Self { id, site, user, backend, started, seen, kept, shared, holder }
    }
}

impl Session {
    /// A new session; the id is random.
    pub fn open(identity: &Identity, site: &str, backend: &str) -> Self {
        let mut id = [0; 16];
        keys::fill_random(&mut id);
        let now = seconds_now();
        let (site, user, backend) = (site.to_owned(), identity.user().to_owned(), backend.to_owned());
        Written { id, site, user, backend, started: now, seen: now, kept: Values::default(), shared: false }.into()
    }

    /// What the log calls it, and what `ctl revoke` takes. It opens nothing.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// The same as it is.
    pub fn id_bytes(&self) -> [u8; 16] {
        self.id
    }

    /// The same session, which keeps what requests to the node need.
    #[must_use]
    pub fn keeping(self, kept: Values) -> Self {
        Self { kept, ..self }
    }

    /// The same session at a computer that others use too, or at one that they do not.
    #[must_use]
    pub fn at(self, shared: bool) -> Self {
        Self { shared, ..self }
    }

    /// The same session, which begins only now.
    #[must_use]
    pub fn begun_now(self) -> Self {
        Self { started: seconds_now(), seen: seconds_now(), ..self }
    }

    /// What requests to the node need. It was sealed into the cookie, and may hold the password.
    pub fn kept(&self) -> &Values {
        &self.kept
    }

    /// The virtual host's first name.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The user's name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// When it began, in seconds since 1970.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Who takes places and memory for its requests.
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// The name of the back-end that has the mailbox.
    pub fn backend(&self) -> &str {
        &self.backend
    }
}

/// What opens and seals cookies, by the settings of a Snapshot.
#[derive(Debug)]
pub struct Sessions {
    keys: Keys,
    idle: u64,
    /// The same at computers that others use too.
    shared_idle: u64,
    absolute: u64,
}

impl Sessions {
    /// Sessions sealed with these keys.
    pub fn new(keys: Keys, config: &config::Session) -> Self {
        let idle = config.idle_timeout.as_secs();
        let shared_idle = config.shared_idle_timeout.as_secs().min(idle);
        Self { keys, idle, shared_idle, absolute: config.absolute_timeout.as_secs() }
    }

    /// Seconds after which a session ends that is not used.
    fn idle(&self, session: &Session) -> u64 {
        if session.shared { self.shared_idle } else { self.idle }
    }

    /// Whether a session that was last used at a time has been idle for too long by now, or is too old.
    fn is_over(&self, session: &Session, used: u64, now: u64) -> bool {
        now.saturating_sub(session.started) >= self.absolute || now.saturating_sub(used) >= self.idle(session)
    }

    fn open(&self, sealed: &str) -> Option<Session> {
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        serde_json::from_slice(&self.keys.open(Purpose::Session, &sealed)?).ok()
    }

    /// Seals something for a while: with the time, as text for a cookie or a form.
    pub fn seal<T: Serialize>(&self, purpose: Purpose, what: &T) -> String {
        let plain = Zeroizing::new(serde_json::to_vec(&(seconds_now(), what)).unwrap_or_default());
        URL_SAFE_NO_PAD.encode(self.keys.seal(purpose, &plain))
    }

    /// Opens what was sealed for this purpose, if that is less than `lifetime` ago.
    pub fn unseal<T: DeserializeOwned>(&self, purpose: Purpose, sealed: &str, lifetime: Duration) -> Option<T> {
        let plain = Zeroizing::new(self.keys.open(purpose, &URL_SAFE_NO_PAD.decode(sealed).ok()?)?);
        let (time, what): (u64, T) = serde_json::from_slice(&plain).ok()?;
        (seconds_now().saturating_sub(time) < lifetime.as_secs()).then_some(what)
    }

    /// The `Set-Cookie` that hands a session to the browser.
    pub fn cookie(&self, session: &Session, scheme: Scheme) -> String {
        let plain = serde_json::to_vec(session).unwrap_or_default();
        Cookie::Session.set(&URL_SAFE_NO_PAD.encode(self.keys.seal(Purpose::Session, &plain)), scheme)
    }

    /// The `Set-Cookie` that keeps a session in use alive; none while the old one is fresh enough. The step is a
    /// tenth of the idle time, so that a session ends at most that much early.
    pub fn touch(&self, session: &Session, scheme: Scheme) -> Option<String> {
        self.is_due(session, seconds_now())
            .then(|| self.cookie(&Session { seen: seconds_now(), ..session.clone() }, scheme))
    }

    /// Whether a session's cookie is old enough to be renewed; `now` is in seconds since 1970.
    pub fn is_due(&self, session: &Session, now: u64) -> bool {
        now.saturating_sub(session.seen) > self.idle(session) / 10
    }

    /// Ends a session for good.
    pub fn end(&self, session: &Session, revoked: &Revoked) {
        revoked.end(session, session.started.saturating_add(self.absolute));
    }

    /// A token that only a form shown to this browser has: it opens to the form cookie's value.
    pub fn form_token(&self, cookie: &str) -> String {
        self.seal(Purpose::Form, &cookie)
    }

    /// Whether a session that has a tunnel is still alive: it was not ended, and is neither idle nor too old.
    pub fn is_alive(&self, session: &Session, revoked: &Revoked, watched: &Watched) -> bool {
        !self.is_over(session, watched.seen(session), seconds_now()) && !revoked.has(session)
    }

    /// Seconds that a session lives at most.
    pub fn lifetime(&self) -> u64 {
        self.absolute
    }

    /// Whether a token is one of ours, whichever browser it was made for.
    pub fn is_form_token(&self, token: &str) -> bool {
        self.unseal::<String>(Purpose::Form, token, FORM_LIFETIME).is_some()
    }

    /// Whether a posted token belongs to the browser's form cookie and is not too old.
    pub fn form_token_fits(&self, token: &str, cookie: &str) -> bool {
        let of_cookie: Option<String> = self.unseal(Purpose::Form, token, FORM_LIFETIME);
        !cookie.is_empty() && of_cookie.as_deref() == Some(cookie)
    }
}

/// A login page may lie open for a day before it is sent.
const FORM_LIFETIME: Duration = Duration::from_secs(86_400);

/// A random text that nobody guesses: the value of a form cookie, or the name of what is good once.
pub fn random_text() -> String {
    let mut bytes = [0; 16];
    keys::fill_random(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use hyper::HeaderMap;
    use hyper::header::{COOKIE, HeaderValue};

    use super::*;

    pub(crate) fn sessions(idle: u64, absolute: u64) -> Sessions {
        Sessions { keys: Keys::random(), idle, shared_idle: idle / 3, absolute }
    }

    fn session() -> Session {
        let now = seconds_now();
        let (site, user, backend) = ("a.test".to_owned(), "zoë".to_owned(), "node-a".to_owned());
        Written { id: [7; 16], site, user, backend, started: now, seen: now, kept: Values::default(), shared: false }
            .into()
    }

    pub(crate) fn session_of(user: &str, number: u32) -> Session {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_le_bytes());
        let now = seconds_now();
        let (site, user, backend) = ("a.test".to_owned(), user.to_owned(), "node-a".to_owned());
        Written { id, site, user, backend, started: now, seen: now, kept: Values::default(), shared: false }.into()
    }

    fn search<'a>(revoked: &'a Revoked, sightings: &'a Sightings, opened: &'a mut Opened) -> Search<'a> {
        Search { revoked, sightings, opened, client: [192, 0, 2, 1].into() }
    }

    fn headers(cookies: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            let pair = cookie.split(';').next().unwrap();
            headers.append(COOKIE, HeaderValue::from_str(pair).unwrap());
        }
        headers
    }

    #[test]
    fn a_cookie_opens_to_its_session_here_and_nowhere_else() {
        let (ours, theirs, ended) = (sessions(900, 9000), sessions(900, 9000), Revoked::default());
        let cookie = ours.cookie(&session(), Scheme::Https);
        assert!(cookie.starts_with("__Host-doorward=") && cookie.contains("Secure") && cookie.contains("HttpOnly"));
        let sent = headers(&[&cookie]);
        let (mut opened, seen) = (Opened::default(), Sightings::default());
        let mut find = |sessions: &Sessions, sent: &HeaderMap, scheme, site| {
            let first = sessions.find(sent, scheme, site, search(&ended, &seen, &mut Opened::default()));
            // What was opened before says the same.
            assert_eq!(
                sessions.find(sent, scheme, site, search(&ended, &seen, &mut opened)).is_some(),
                first.is_some()
            );
            first.as_deref().cloned()
        };
        assert_eq!(find(&ours, &sent, Scheme::Https, "a.test"), Some(session()));
        assert_eq!(find(&ours, &sent, Scheme::Https, "b.test"), None);
        assert_eq!(find(&ours, &sent, Scheme::Http, "a.test"), None);
        assert_eq!(find(&ours, &headers(&[&cookie, &cookie]), Scheme::Https, "a.test"), None);
        let (half, _) = cookie.split_at(40);
        assert_eq!(find(&ours, &headers(&[half]), Scheme::Https, "a.test"), None);
        let mut opened = Opened::default();
        assert_eq!(theirs.find(&sent, Scheme::Https, "a.test", search(&ended, &seen, &mut opened)), None);
        assert_eq!(ours.seen(&seen, &ended).count(), 1, "it was seen, and what was refused was not");
    }

    #[test]
    fn sessions_end_by_idleness_age_and_word() {
        let (all, ended) = (sessions(900, 9000), Revoked::default());
        let (mut opened, seen) = (Opened::default(), Sightings::default());
        let mut find = |session: &Session| {
            let sent = headers(&[&all.cookie(session, Scheme::Http)]);
            all.find(&sent, Scheme::Http, "a.test", search(&ended, &seen, &mut opened))
        };
        let ago = |seen, started| Session { seen: seconds_now() - seen, started: seconds_now() - started, ..session() };
        assert!(find(&ago(899, 899)).is_some());
        assert!(find(&ago(901, 901)).is_none());
        assert!(find(&ago(10, 9001)).is_none());
        assert!(find(&ago(299, 299).at(true)).is_some() && find(&ago(301, 301).at(true)).is_none());
        assert!(all.touch(&ago(40, 40).at(true), Scheme::Http).is_some());
        assert!(all.touch(&ago(10, 10), Scheme::Http).is_none() && all.touch(&ago(100, 100), Scheme::Http).is_some());
        all.end(&session(), &ended);
        assert!(find(&session()).is_none());
    }

    #[test]
    fn a_form_token_belongs_to_one_browser() {
        let all = sessions(900, 9000);
        let token = all.form_token("abc");
        assert!(all.form_token_fits(&token, "abc"));
        assert!(!all.form_token_fits(&token, "abd") && !all.form_token_fits("", "abc"));
        assert!(!all.form_token_fits(&all.form_token(""), ""));
    }
}
