//! What a login meets that may be a guess, and how a device comes to be known.

use std::time::Duration;

use hyper::{StatusCode, header};

use super::own::append;
use super::{Answer, Exchange, Visit};
use crate::limits::{Failures, LoginPermit, Who};
use crate::pages::Page;
use crate::reply::Message;
use crate::session::Device;

impl Exchange {
    /// The device of a browser that has logged in before.
    pub(super) fn device(&self, visit: &Visit) -> Option<Device> {
        self.snapshot.sessions.device(&visit.head.headers, self.secure(), self.snapshot.throttle.device_lifetime)
    }

    /// Lets a login be checked, or says how long it is refused.
    pub(super) fn admit_login(
        &self,
        visit: &Visit,
        name: &str,
        device: Option<&Device>,
    ) -> Result<LoginPermit, Duration> {
        let (throttle, settings) = (&self.worker.shared.state.throttle, &self.snapshot.throttle);
        throttle.admit(&self.who(visit, name, device), settings).inspect_err(|wait| {
            self.worker.shared.state.logins.count("throttled");
            let (client, wait) = (self.peer.address, wait.as_secs());
            tracing::warn!(user = ?name, %client, host = %visit.host, wait, outcome = "throttled", "login");
        })
    }

    /// Logins that failed of late, for policies.
    pub(super) fn failures(&self, visit: &Visit, name: &str, device: Option<&Device>) -> Failures {
        self.worker.shared.state.throttle.failures(&self.who(visit, name, device), &self.snapshot.throttle)
    }

    fn who<'a>(&self, visit: &'a Visit, name: &'a str, device: Option<&Device>) -> Who<'a> {
        let site = &visit.site.name;
        Who { address: self.peer.address, site, name, device: device.and_then(|device| device.known_for(site, name)) }
    }

    /// Too many logins failed: the time to wait.
    pub(super) fn throttled(&self, visit: &Visit, next: &str, wait: Duration) -> Answer {
        let mut answer = self.page(visit, StatusCode::TOO_MANY_REQUESTS, Page::Throttled, next, |content, language| {
            content.message = Some(language.text("throttled").to_owned());
            content.retry_after = Some(wait.as_secs());
            content.wait = Some(language.say(&Message::wait(wait)));
        });
        append(&mut answer, header::RETRY_AFTER, &wait.as_secs().to_string());
        answer
    }

    /// The browser is known from now on for this name.
    pub(super) fn remember_device(&self, answer: &mut Answer, visit: &Visit, device: Option<Device>, user: &str) {
        let lifetime = self.snapshot.throttle.device_lifetime;
        let cookie = self.snapshot.sessions.device_cookie(device, &visit.site.name, user, self.secure(), lifetime);
        append(answer, header::SET_COOKIE, &cookie);
    }
}
