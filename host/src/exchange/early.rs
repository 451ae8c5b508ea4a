//! What is answered before a site is known: health checks, certificate challenges, and refusals, which show the first site's
//! look.

use std::io::Read as _;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Version};

use super::own::append;
use super::{Answer, Body, Exchange, Visit, check, preferences};
use crate::http1::Present;
use crate::limits::Clients;
use crate::own_path::OwnPath;
use crate::policy::{Facts, Form, RequestFacts};
use crate::reply::Refusal;

/// Where certificate authorities look (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// An answer to a challenge is a token and a digest.
const CHALLENGE_SIZE: u64 = 4 << 10;

impl Exchange {
    /// The answer to what needs neither a site nor policies: whatever `Host` it has, or none.
    pub(super) fn early(&mut self, head: &Parts) -> Option<Answer> {
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return None;
        }
        self.health(head.uri.path()).or_else(|| self.challenge(head.uri.path()))
    }

    /// Counts the client that a trusted proxy names, as if it had connected itself: who names nobody is a proxy's own check.
    pub(super) fn count_client(&mut self, proxy: IpAddr, clients: &Clients) -> Result<(), Refusal> {
        let client = self.peer.address;
        if client == proxy || self.snapshot.forwarding.trusted.contain(client) {
            return Ok(());
        }
        let Some(limits) = self.snapshot.limits_of(&clients.scope) else { return Ok(()) };
        let state = &self.worker.shared.state;
        match clients.place(&state.flow, limits, &self.snapshot.flow, client) {
            Ok(place) => {
                self.finish.hold(place);
                Ok(())
            }
            Err((scope, limit)) => {
                let listener = &self.peer.listener;
                if let Some(before) = state.refused.count(listener, limit.name()) {
                    tracing::info!(%client, %proxy, listener, scope, %limit, before, "client over a limit");
                }
                Err(Refusal::TooManyConnections)
            }
        }
    }

    /// What a balancer is told: whether it should send more.
    fn health(&mut self, path: &str) -> Option<Answer> {
        let listener = self.snapshot.listeners.get(&self.peer.listener)?;
        listener.config.health_path.as_deref().filter(|health| *health == path)?;
        if !listener.config.health_log {
            self.finish.quiet();
        }
        let (status, word) = match self.worker.shared.state.is_draining() {
            false => (StatusCode::OK, "serving\n"),
            true => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        };
        Some(text(status, word.as_bytes().to_vec()))
    }

    /// A file of the folder of challenges. What names it has letters, digits, `-` and `_` only (RFC 8555, section 8.3), so
    /// it leads nowhere else.
    fn challenge(&self, path: &str) -> Option<Answer> {
        let folder = self.snapshot.http.acme_challenge_directory.as_ref()?;
        let token = path.strip_prefix(CHALLENGES)?;
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let named = !token.is_empty() && token.len() <= 128 && token.bytes().all(right);
        let read = || {
            let file = std::fs::File::open(folder.join(token)).ok()?;
            file.metadata().ok().filter(std::fs::Metadata::is_file)?;
            let mut bytes = Vec::new();
            file.take(CHALLENGE_SIZE).read_to_end(&mut bytes).ok()?;
            Some(bytes)
        };
        Some(match named.then(read).flatten() {
            Some(bytes) => text(StatusCode::OK, bytes),
            None => text(StatusCode::NOT_FOUND, b"no such challenge\n".to_vec()),
        })
    }

    /// An encoded slash in a path, which a node may decode, is passed on only where the configuration or the recipe of the
    /// session's node says that it stands in a name there.
    pub(super) fn check_slashes(&mut self, visit: &Visit) -> Result<(), Refusal> {
        let path = visit.head.uri.path();
        let is_below = |paths: &[String]| paths.iter().any(|beginning| path.starts_with(beginning.as_str()));
        if !check::has_encoded_slash(path) || is_below(&self.snapshot.http.encoded_slashes) {
            return Ok(());
        }
        let named = self.session(visit).is_some_and(|(_, node)| is_below(&node.recipe.encoded_slashes));
        if named { Ok(()) } else { Err(check::AMBIGUOUS) }
    }

    /// A refusal of a request whose site is not known, or that could not be read: what is known of it decides about the
    /// language, the first site about the look.
    pub(super) fn refuse_stranger(&self, head: &Arc<Parts>, refusal: &Refusal) -> Answer {
        let visit = self.stranger(head, *refusal == Refusal::UnknownSite);
        if let Some(answer) = self.for_page_of_stranger(&visit, refusal) {
            return answer;
        }
        let mut answer = self.refuse(&visit, refusal);
        // Whoever sends such a request may mean something else by what follows it.
        let ends = *refusal != Refusal::TooManyConnections && head.version != Version::HTTP_2;
        if ends {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    /// A refusal of a request that cannot be read.
    pub(super) fn refuse_unreadable(&self, refusal: &Refusal) -> Answer {
        let (nothing, ()) = Request::new(()).into_parts();
        self.refuse_stranger(&Arc::new(nothing), refusal)
    }

    /// What the page of such a refusal refers to.
    fn for_page_of_stranger(&self, visit: &Visit, refusal: &Refusal) -> Option<Answer> {
        if *refusal != Refusal::UnknownSite || !visit.reads() {
            return None;
        }
        let own = OwnPath::of(visit.head.uri.path())?;
        match own {
            OwnPath::Preferences => self.prefer(visit).ok(),
            OwnPath::Asset(file) => self.asset(visit, file).ok(),
            OwnPath::SiteLogo | OwnPath::SiteStyle => self.site_asset(visit, own).ok(),
            OwnPath::Login | OwnPath::SecondFactor | OwnPath::LoggedOut | OwnPath::Logout | OwnPath::Nothing => None,
        }
    }

    /// A visit at the first site. The device policy is asked about a request that is sound, and has no site only.
    fn stranger(&self, head: &Arc<Parts>, sound: bool) -> Visit {
        let site = self.snapshot.first_site().clone();
        let host: Arc<str> = if site.name.contains('*') { "".into() } else { site.name.clone() };
        let mut facts = Facts::of_connection(self.peer.clone());
        facts.request = Some(RequestFacts {
            head: Arc::clone(head),
            host: Arc::clone(&host),
            site: site.name.clone(),
            id: self.finish.request_id(),
            hidden_cookies: self.snapshot.hidden_cookies.clone(),
        });
        let detected = || match sound {
            true => self.snapshot.policies.device(&mut self.worker.guests.borrow_mut(), &facts),
            false => Form::Desktop,
        };
        let form = preferences::view(&head.headers, self.scheme()).unwrap_or_else(detected);
        let (authority, look) = (HeaderValue::from_static(""), site.template.clone());
        let present = Present::of(&head.headers);
        Visit {
            head: Arc::clone(head),
            present,
            authority,
            host,
            site,
            form,
            look,
            facts,
            set: Vec::new(),
            set_back: Vec::new(),
        }
    }
}

/// A few words for programs.
fn text(status: StatusCode, words: Vec<u8>) -> Answer {
    let mut answer = Response::new(Body::whole(words));
    *answer.status_mut() = status;
    append(&mut answer, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    append(&mut answer, header::CACHE_CONTROL, "no-store");
    append(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}
