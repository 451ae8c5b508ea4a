//! The protocol of registries (OCI distribution 1.1): manifests, blobs, referrers, and how they want to be asked.

use std::future::Future;

use bytes::Bytes;
use doorward_wire::challenge::Challenge;
use hyper::{Method, StatusCode};
use serde_json::Value as Json;
use url::Url;
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::error::{Error, Result};
use crate::http::{Answer, Ask, Transport, authority, shown};
use crate::manifest::{INDEX_TYPES, MANIFEST_TYPES};
use crate::{Digest, Reference};

/// No registry takes a larger manifest (OCI distribution, "Pushing manifests").
pub(crate) const MANIFEST_SIZE: usize = 4 << 20;
const TOKEN_SIZE: usize = 64 << 10;
/// So often a registry may lead elsewhere for a blob.
const REDIRECTS: usize = 3;

/// Asks registries, with these credentials.
#[derive(Debug)]
pub struct Client {
    /// How they are spoken to.
    pub transport: Transport,
    /// Who we are there.
    pub credentials: Credentials,
}

/// What was sent for a manifest.
pub(crate) struct Sent {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
}

impl Client {
    /// Does all of one command with a repository, within its time, on a thread of its own.
    ///
    /// # Errors
    /// Those of the command, or that the time is over.
    pub(crate) fn run<'a, T: Send, F: Future<Output = Result<T>>>(
        &'a self,
        reference: &'a Reference,
        scope: &'static str,
        command: impl FnOnce(Repository<'a>) -> F + Send,
    ) -> Result<T> {
        let repository = Repository { client: self, reference, scope, authorization: None };
        let timeout = self.transport.timeout;
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
            let runtime = runtime.map_err(|error| Error::Away(error.to_string()))?;
            let done = runtime.block_on(async { tokio::time::timeout(timeout, command(repository)).await });
            // A name that is still looked up is nobody's concern any more.
            runtime.shutdown_background();
            done.unwrap_or_else(|_| Err(Error::Away(format!("{reference}: it is not done within {timeout:?}"))))
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("registry".to_owned()).spawn_scoped(scope, run);
            let thread = thread.map_err(|error| Error::Away(error.to_string()))?;
            thread.join().unwrap_or_else(|_| Err(Error::Wrong(format!("{reference}: what it sent is not understood"))))
        })
    }
}

/// A repository, while a command is done with it.
pub(crate) struct Repository<'a> {
    client: &'a Client,
    pub(crate) reference: &'a Reference,
    /// `pull`, or `pull,push`.
    scope: &'static str,
    /// What the registry wanted to hear.
    authorization: Option<Zeroizing<String>>,
}

impl Repository<'_> {
    fn registry(&self) -> &str {
        &self.reference.registry
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url> {
        self.client.transport.url(self.registry(), &format!("/v2/{}/{path}", self.reference.name))
    }

    /// A manifest by its tag or digest.
    pub(crate) async fn manifest(&mut self, which: &str) -> Result<Sent> {
        let accept = MANIFEST_TYPES.iter().chain(&INDEX_TYPES).copied().collect::<Vec<_>>().join(", ");
        let answer = self.get(&format!("manifests/{which}"), &accept, MANIFEST_SIZE).await?;
        let digest = Digest::of(&answer.body);
        let place = format!("{}: the manifest {which}", self.reference.repository());
        let told = answer.header("Docker-Content-Digest").and_then(Digest::parse);
        if let Some(expected) = Digest::parse(which).iter().chain(&told).find(|expected| **expected != digest) {
            return Err(Error::Wrong(format!("{place} is {digest}, not {expected} as it should be")));
        }
        Ok(Sent { digest, bytes: answer.body })
    }

    /// A blob, which must be what it is called by.
    pub(crate) async fn blob(&mut self, digest: &Digest, size: usize) -> Result<Bytes> {
        let answer = self.get(&format!("blobs/{digest}"), "*/*", size).await?;
        let place = format!("{}: the blob {digest}", self.reference.repository());
        if answer.body.len() != size {
            return Err(Error::Wrong(format!("{place} has {} bytes, and its manifest says {size}", answer.body.len())));
        }
        match Digest::of(&answer.body) {
            found if found == *digest => Ok(answer.body),
            found => Err(Error::Wrong(format!("{place} is {found}"))),
        }
    }

    /// What refers to a manifest: the answer of the API, or of a registry without it the index below the fallback's tag.
    pub(crate) async fn referrers(&mut self, digest: &Digest) -> Result<Option<Json>> {
        let accept = INDEX_TYPES.join(", ");
        let by_api = self.get(&format!("referrers/{digest}"), &accept, MANIFEST_SIZE).await;
        let sent = match by_api {
            Ok(sent) if is_index(&sent) => sent,
            // Registries without it say so in many ways: another status, a page that leads elsewhere, or one of their own.
            Ok(_) | Err(Error::NotFound(_) | Error::Wrong(_)) => {
                match self.get(&format!("manifests/sha256-{}", digest.hex()), &accept, MANIFEST_SIZE).await {
                    Err(Error::NotFound(_)) => return Ok(None),
                    other => other?,
                }
            }
            other => other?,
        };
        let place = self.reference.repository();
        let index = serde_json::from_slice(&sent.body);
        index.map(Some).map_err(|error| Error::Wrong(format!("{place}: what refers to {digest} is no JSON: {error}")))
    }

    async fn get(&mut self, path: &str, accept: &str, largest: usize) -> Result<Answer> {
        let answer =
            self.request(Method::GET, self.url(path)?, vec![("Accept", accept.to_owned())], Bytes::new(), largest);
        let (mut answer, mut url) = (answer.await?, self.url(path)?);
        for _ in 0..REDIRECTS {
            let leads = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) && path.starts_with("blobs/");
            let Some(next) = answer.header("Location").filter(|_| leads) else { break };
            url = url
                .join(next)
                .map_err(|error| Error::Wrong(format!("{}: a Location that is no URL: {error}", shown(&url))))?;
            // Who we are is told to nobody else.
            let is_its_own = authority(&url) == self.registry();
            let authorization = self.authorization.as_ref().filter(|_| is_its_own);
            let headers = authorization.map(|text| ("Authorization", text.to_string())).into_iter().collect();
            let ask = Ask { method: Method::GET, url: url.clone(), headers, body: Bytes::new(), largest };
            answer = self.client.transport.ask(self.registry(), ask).await?;
        }
        let place = shown(&url);
        match answer.status {
            StatusCode::OK => Ok(answer),
            status => Err(refusal(status, &place)),
        }
    }

    /// Asks, and once more as the registry wants to be asked.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        url: Url,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
        largest: usize,
    ) -> Result<Answer> {
        let answer = self.request_once(&method, &url, &headers, &body, largest).await?;
        if answer.status != StatusCode::UNAUTHORIZED || authority(&url) != self.registry() {
            return Ok(answer);
        }
        let place = shown(&url);
        let challenge = answer.header("WWW-Authenticate").and_then(Challenge::parse);
        let challenge =
            challenge.ok_or_else(|| Error::Denied(format!("{place}: it lets nobody in, and says not how")))?;
        self.authorization = Some(self.answer_to(&challenge, &place).await?);
        self.request_once(&method, &url, &headers, &body, largest).await
    }

    async fn request_once(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(&'static str, String)],
        body: &Bytes,
        largest: usize,
    ) -> Result<Answer> {
        let mut headers = headers.to_vec();
        // Who we are is told to nobody else: an upload may lead elsewhere.
        let authorization = self.authorization.as_ref().filter(|_| authority(url) == self.registry());
        headers.extend(authorization.map(|text| ("Authorization", text.to_string())));
        let ask = Ask { method: method.clone(), url: url.clone(), headers, body: body.clone(), largest };
        self.client.transport.ask(self.registry(), ask).await
    }

    /// What a challenge wants to hear.
    async fn answer_to(&self, challenge: &Challenge, place: &str) -> Result<Zeroizing<String>> {
        let basic = self.client.credentials.of(self.registry()).map(|basic| Zeroizing::new(format!("Basic {basic}")));
        match challenge.scheme.as_str() {
            "basic" => basic.ok_or_else(|| {
                Error::Denied(format!("{place}: it wants a name and a password, and there are no credentials for it"))
            }),
            "bearer" => self.token(challenge, basic, place).await,
            other => Err(Error::Denied(format!("{place}: it wants \"{other}\", which is not known here"))),
        }
    }

    /// A token of the server that the registry names.
    async fn token(
        &self,
        challenge: &Challenge,
        basic: Option<Zeroizing<String>>,
        place: &str,
    ) -> Result<Zeroizing<String>> {
        let realm = challenge.get("realm").and_then(|realm| Url::parse(realm).ok());
        let mut url =
            realm.ok_or_else(|| Error::Wrong(format!("{place}: a challenge without the URL of a token server")))?;
        let scope = format!("repository:{}:{}", self.reference.name, self.scope);
        for (name, value) in [("service", challenge.get("service")), ("scope", Some(scope.as_str()))] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let headers = basic.map(|basic| ("Authorization", basic.to_string())).into_iter().collect();
        let place = shown(&url);
        let ask = Ask { method: Method::GET, url, headers, body: Bytes::new(), largest: TOKEN_SIZE };
        let answer = self.client.transport.ask(self.registry(), ask).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(answer.status, &place));
        }
        let json: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = json["token"].as_str().or_else(|| json["access_token"].as_str());
        let token = token.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        let token = token.ok_or_else(|| Error::Wrong(format!("{place}: an answer without a token")))?;
        Ok(Zeroizing::new(format!("Bearer {token}")))
    }
}

/// Whether an answer says that it is an index.
fn is_index(answer: &Answer) -> bool {
    let said = answer.header("Content-Type").and_then(|kind| kind.split(';').next()).map(str::trim);
    said.is_some_and(|said| INDEX_TYPES.iter().any(|kind| kind.eq_ignore_ascii_case(said)))
}

/// What a status that is no success means.
pub(crate) fn refusal(status: StatusCode, place: &str) -> Error {
    match status.as_u16() {
        404 => Error::NotFound(format!("{place}: there is nothing of that name")),
        401 | 403 => Error::Denied(format!("{place}: it refuses ({status})")),
        429 | 500..=599 => Error::Away(format!("{place}: it answers {status}")),
        300..=399 => Error::Wrong(format!("{place}: it leads elsewhere ({status}), and that is not followed")),
        _ => Error::Wrong(format!("{place}: it answers {status}")),
    }
}
