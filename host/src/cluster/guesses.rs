//! Failed logins of all doors count as one: repeating is not counting.
//!
//! Invariants: a login waits for the store no longer than `timeout`, and not at all while that was too slow of late; a
//! login whose end the store did not hear of takes its place for a while only.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::crypt::Crypt;
use super::handle::Cluster;
use super::inner::{Ask, Inner, lock};
use super::settings::Settings;
use super::tried::{Login, Tried};
use crate::config::{Throttle, WhenAway};
use crate::limits::{Failures, Who, delay_after, network_text};
use crate::session::random;
use crate::text::hex;

/// So many logins in a row for which the store was too slow; then none waits for a while.
const SLOW: u32 = 3;
const REST: Duration = Duration::from_secs(1);

/// How a login stands with all doors.
pub enum LoginStanding {
    /// There is no cluster.
    Alone,
    /// Nobody knows: so many doors were here last, this one among them.
    Away(usize, Option<SharedPermit>),
    /// Nobody knows, and then nobody logs in.
    Closed,
    /// Refused for so long.
    Refused(Duration),
    /// Let in, after this delay.
    Admitted(Duration, SharedPermit),
}

/// A login's place at all doors. It is over when this is dropped; unless it was said to be wrong, it does not count.
pub struct SharedPermit {
    inner: Arc<Inner>,
    crypt: Arc<Settings>,
    tried: Tried,
    /// What failed of late, at all doors.
    failures: Failures,
    is_over: bool,
}

fn user_of(crypt: &Crypt, site: &str, name: &str) -> String {
    hex(&crypt.print(&[b"user", site.as_bytes(), name.trim().to_lowercase().as_bytes()]))
}

fn network_hash(crypt: &Crypt, network: &str) -> String {
    hex(&crypt.print(&[b"network", network.as_bytes()]))
}

impl Cluster {
    /// Asks all doors of a login before it is checked, which has `waited` for the store so long.
    pub async fn admit(&self, who: &Who<'_>, throttle: &Throttle, waited: Duration) -> LoginStanding {
        let Some(settings) = self.0.settings.load_full() else { return LoginStanding::Alone };
        let refuses = settings.when_away == WhenAway::RefuseLogins;
        if who.device.is_some() {
            // A device that has logged in before has an allowance at each door, which nobody who has the store takes away.
            let is_closed = refuses && !self.0.is_up.load(Ordering::Acquire);
            return if is_closed { LoginStanding::Closed } else { LoginStanding::Alone };
        }
        let user = user_of(&settings.crypt, who.site, who.name);
        let source = network_hash(&settings.crypt, &network_text(who.address));
        let (token, fingerprint) = (hex(&random::<8>()), String::new());
        let tried = Tried { user, source, token, fingerprint, at: Instant::now(), window: throttle.window };
        // Before the store is asked: a client that leaves meanwhile frees its place.
        let mut permit = SharedPermit {
            inner: self.0.clone(),
            crypt: settings.clone(),
            tried: tried.clone(),
            failures: Failures::default(),
            is_over: false,
        };
        let (most, max_names) = (throttle.max_failures, throttle.max_names);
        let patience = settings.timeout.saturating_sub(waited);
        let asked = self.ask(patience, |answer| Login::Admit { tried, most, max_names, answer }).await;
        let [answered, late, away] = &mut lock(&self.0.guesses).counts;
        *match &asked {
            Ok(_) => answered,
            Err(Unanswered::Late) => late,
            Err(Unanswered::Away) => away,
        } += 1;
        let Ok(answer) = asked else {
            if refuses {
                return LoginStanding::Closed;
            }
            let doors = self.0.standing().others(&settings.door).len() + 1;
            return LoginStanding::Away(doors, Some(permit));
        };
        if answer.verdict > 0 {
            // It has no place.
            permit.is_over = true;
            let left = Duration::from_millis(answer.left.unsigned_abs());
            return LoginStanding::Refused(
                left.clamp(Duration::from_secs(1), throttle.window.max(Duration::from_secs(1))),
            );
        }
        let is_tried = answer.of_user as usize >= throttle.user_failures;
        let delay = if is_tried { throttle.max_delay } else { Duration::ZERO };
        let delay = delay.max(delay_after(answer.wrong, throttle));
        permit.failures = Failures { from_network: answer.names, for_user: answer.of_user };
        LoginStanding::Admitted(delay, permit)
    }

    /// Whether something is said for the first time at any door; `here` says the same of this one. Where nobody knows, the
    /// door that made it takes it, and no other does.
    pub async fn first(&self, name: &str, lifetime: Duration, made_by: &str, here: impl FnOnce() -> bool) -> bool {
        let Some(settings) = self.0.settings.load_full() else { return here() };
        if !here() {
            return false;
        }
        let hash = hex(&settings.crypt.print(&[b"once", name.as_bytes()]));
        let asked = self.ask(settings.timeout, |answer| Login::Once(hash, lifetime, answer)).await;
        asked.unwrap_or_else(|_| made_by == settings.door)
    }

    /// What this door is called in its cluster.
    pub fn door(&self) -> Option<String> {
        self.0.settings.load().as_ref().map(|settings| settings.door.clone())
    }

    /// Forgets what failed with a name of a site, in the store.
    pub fn release_name(&self, site: &str, name: &str) {
        let Some(settings) = self.0.settings.load_full() else { return };
        self.forget_name(site, name);
        self.0.ask(Ask::Login(Login::ReleaseName(user_of(&settings.crypt, site, name))));
    }

    /// The same here only: another door has told the store.
    pub fn forget_name(&self, site: &str, name: &str) {
        let Some(settings) = self.0.settings.load_full() else { return };
        let user = user_of(&settings.crypt, site, name);
        lock(&self.0.guesses).recent.retain(|tried| tried.user != user);
    }

    /// Forgets what failed from a network as it is written, in the store.
    pub fn release_network(&self, network: &str) {
        let Some(settings) = self.0.settings.load_full() else { return };
        self.forget_network(network);
        self.0.ask(Ask::Login(Login::ReleaseNetwork(network_hash(&settings.crypt, network))));
    }

    /// The same here only: another door has told the store.
    pub fn forget_network(&self, network: &str) {
        let Some(settings) = self.0.settings.load_full() else { return };
        let network = network_hash(&settings.crypt, network);
        lock(&self.0.guesses).recent.retain(|tried| tried.source != network);
    }

    /// Asks the store, and waits no longer than `patience`.
    async fn ask<T>(
        &self,
        patience: Duration,
        login: impl FnOnce(oneshot::Sender<T>) -> Login,
    ) -> Result<T, Unanswered> {
        let rests = lock(&self.0.guesses).rests.is_some_and(|until| until > Instant::now());
        if rests || !self.0.is_up.load(Ordering::Acquire) {
            return Err(Unanswered::Away);
        }
        let (answer, answered) = oneshot::channel();
        let asked = self.0.ask(Ask::Login(login(answer)));
        let answer = if asked { timeout(patience, answered).await.ok().and_then(Result::ok) } else { None };
        let mut guesses = lock(&self.0.guesses);
        if answer.is_some() {
            guesses.slow = 0;
        } else {
            guesses.slow += 1;
            if guesses.slow >= SLOW {
                guesses.rests = Some(Instant::now() + REST);
            }
        }
        answer.ok_or(Unanswered::Late)
    }
}

/// Why the store says nothing of a login.
enum Unanswered {
    /// It was too slow.
    Late,
    /// It is away, or was too slow of late.
    Away,
}

impl SharedPermit {
    /// What failed of late, at all doors.
    pub fn failures(&self) -> Failures {
        self.failures
    }

    /// The password was wrong.
    pub fn wrong(mut self, password: &str) {
        self.is_over = true;
        let print = self.crypt.crypt.print(&[b"password", self.tried.user.as_bytes(), password.as_bytes()]);
        // Enough to tell some apart, and too little to guess by.
        self.tried.fingerprint = hex(&print[..4]);
        lock(&self.inner.guesses).remember(self.tried.clone());
        self.tell(Login::Wrong(self.tried.clone()));
    }

    /// The password was right: its source begins anew with this name.
    pub fn right(mut self) {
        self.is_over = true;
        let Tried { user, source, .. } = &self.tried;
        lock(&self.inner.guesses).recent.retain(|tried| tried.user != *user || tried.source != *source);
        self.tell(Login::Right(self.tried.clone()));
    }

    fn tell(&self, login: Login) {
        if self.inner.is_up.load(Ordering::Acquire) {
            self.inner.ask(Ask::Login(login));
        }
    }
}

impl Drop for SharedPermit {
    fn drop(&mut self) {
        if !self.is_over {
            self.tell(Login::Over(self.tried.clone()));
        }
    }
}
