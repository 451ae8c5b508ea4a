//! A request as its node gets it, and the node's answer as the browser should have it.

use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Body as _;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};

use super::upgrade::Terms;
use super::{Answer, Body, Ending, Exchange, Tunnel, Visit, client, renewal};
use crate::back::headers::{self, Fields};
use crate::back::{self, Hop, Node, NodeBody, Outbound, Outgoing, Owner, connection_auth};
use crate::http1::{Known, Present};
use crate::limits::{Allowance, Holder};
use crate::reply::Refusal;
use crate::session::{self, Session};
use crate::traces;
use crate::upload::{Incoming, Limit, Rules, Upload};

/// What the node is told of the client.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_DOORWARD_DEVICE: HeaderName = HeaderName::from_static("x-doorward-device");
const X_DOORWARD_TEMPLATE: HeaderName = HeaderName::from_static("x-doorward-template");
/// The context of a trace (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Room for these and for what is told of the client.
const OUR_HEADERS: usize = 10;

impl Exchange {
    /// What the client sends, if it is not too large.
    pub(super) async fn upload(&self, visit: &Visit, body: Incoming) -> Result<Outgoing, Refusal> {
        if body.is_end_stream() {
            return Ok(Outgoing::nothing());
        }
        let limit = self.snapshot.http.session_body();
        let body = self.incoming(body, limit);
        if content_length(&visit.head).is_some_and(|length| length > limit.1) {
            if self.snapshot.http.allow_large_incoming_data {
                // So that a browser which sends it all before it reads gets to see the answer.
                Box::pin(body.drain(self.snapshot.http.upload_max_size.saturating_mul(64))).await;
            }
            return Err(Refusal::BodyTooLarge(limit.0, limit.1));
        }
        Ok(Outgoing::Client(body))
    }

    /// The way to a node for requests of our own.
    pub(super) fn hop<'a>(&'a self, node: &'a Arc<Node>, allowance: &'a Rc<Allowance>) -> Hop<'a> {
        Hop { node, idle: &self.worker.idle, peer: &self.peer, owner: None, allowance, times: self.finish.times() }
    }

    /// What somebody may take of what all share.
    pub(super) fn allowance(&self, holder: Holder) -> Rc<Allowance> {
        let room = self.worker.shared.state.read_ahead.clone();
        Rc::new(Allowance { room, holder, bounds: self.snapshot.http.read_ahead })
    }

    /// Whose connection to the node may be authenticated. Over HTTP/2 nobody's: requests of one connection go on several.
    pub(super) fn owner(&self, visit: &Visit, session: &Session) -> Result<Option<Owner>, Refusal> {
        match &self.connection {
            Some(connection) => {
                Ok(Some(Owner::new(connection, session.id_bytes(), self.peer.address, session.holder())))
            }
            None if visit.present.has(Known::Credentials) && connection_auth::is_asked(&visit.head.headers) => {
                Err(Refusal::Http11Needed)
            }
            None => Ok(None),
        }
    }

    /// The request as the node gets it: written anew, with what is true about the client. With the protocol that it may
    /// change to.
    pub(super) fn outgoing(
        &self,
        visit: &Visit,
        (session, node): (&Session, &Node),
        body: Outgoing,
        protocol: Option<HeaderValue>,
    ) -> Result<Box<Outbound>, Refusal> {
        let target = visit.target();
        let uri = match node.base_path() {
            // Origin-form, as most requests have it, goes on as it is.
            "" if visit.head.uri.authority().is_none() => visit.head.uri.clone(),
            base => format!("{base}{target}").parse().map_err(|_| Refusal::BadRequest("its target is no path"))?,
        };
        let mut request = Request::new(body);
        *request.method_mut() = visit.head.method.clone();
        *request.uri_mut() = uri;
        let (has_urls, has_credentials) =
            (visit.present.has(Known::Destination), visit.present.has(Known::Credentials));
        // What credentials mean for the connection to the node is looked for in a map.
        let in_map = protocol.is_some() || !visit.set.is_empty() || has_urls || has_credentials;
        if node.takes_lines() && !in_map {
            let mut lines = headers::Lines::with_room();
            self.put_ours(visit, &mut lines);
            let reserved = |name: &str| self.is_reserved(visit, node, name);
            headers::onward((&visit.head.headers, visit.present), session::is_ours, reserved, &mut lines);
            return Ok(Box::new(Outbound { request, lines: Some(lines) }));
        }
        *request.headers_mut() = self.headers_for_node(visit, node);
        if has_urls {
            node.fitting(self.peer.scheme().as_str(), visit.authority()).fit_request(request.headers_mut());
        }
        if let Some(protocol) = protocol {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            request.headers_mut().insert(header::UPGRADE, protocol);
        }
        back::equip(node, session.user(), session.kept(), &mut request)?;
        back::narrow_encoding(&node.recipe, request.headers_mut());
        Ok(Box::new(request.into()))
    }

    /// Whether only Doorward sends a header to a node: the operator says so, the node's recipe has it, or it is the context
    /// of a trace, in which only trusted proxies are believed.
    fn is_reserved(&self, visit: &Visit, node: &Node, name: &str) -> bool {
        let is_context = || match (self.is_from_proxy, self.finish.context()) {
            (false, _) => traces::is_of_traces(name, true),
            (true, Some(_)) => traces::is_of_traces(name, false),
            (true, None) => false,
        };
        self.snapshot.forwarding.identity.has(name)
            || node.reserved().has(name)
            || visit.present.has(Known::Trace) && is_context()
    }

    /// The headers that a node gets with any request of this client, made of the browser's.
    pub(super) fn headers_for_node(&self, visit: &Visit, node: &Node) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(visit.head.headers.len() + OUR_HEADERS);
        let reserved = |name: &str| self.is_reserved(visit, node, name);
        headers::onward((&visit.head.headers, visit.present), session::is_ours, reserved, &mut map);
        for (name, value) in visit.set.iter().filter(|(name, _)| !reserved(name.as_str())) {
            map.insert(name, value.clone());
        }
        let mut ours = HeaderMap::with_capacity(OUR_HEADERS);
        self.put_ours(visit, &mut ours);
        if let Some(id) = ours.get_mut(X_REQUEST_ID) {
            // As in answers.
            id.set_sensitive(true);
        }
        // They replace whatever has their names.
        map.extend(ours);
        map
    }

    /// Puts what only Doorward writes.
    fn put_ours(&self, visit: &Visit, fields: &mut impl Fields) {
        fields.put(&header::HOST, &visit.authority);
        client::tell(fields, &self.peer, &visit.authority, &self.snapshot.forwarding);
        fields.put_text(&X_DOORWARD_DEVICE, visit.form.name());
        fields.put_text(&X_DOORWARD_TEMPLATE, &visit.look);
        fields.put_text(&X_REQUEST_ID, self.finish.id());
        if let Some(context) = self.finish.context() {
            fields.put_text(&TRACEPARENT, std::str::from_utf8(&context.header()).unwrap_or_default());
        }
    }

    /// A node's answer as the browser should have it.
    pub(super) fn fitted(&self, visit: &Visit, node: &Node, response: Response<NodeBody>) -> Answer {
        let mut answer = response.map(Body::node);
        *answer.version_mut() = Version::default();
        self.fit(visit, node, answer.headers_mut());
        answer
    }

    /// Makes the headers of an answer fit the browser.
    fn fit(&self, visit: &Visit, node: &Node, answer: &mut HeaderMap) {
        let present = Present::of(answer);
        if present.has(Known::AltSvc) {
            // It would lead browsers past Doorward (RFC 7838).
            answer.remove(header::ALT_SVC);
        }
        if present.has(Known::SetCookie) {
            headers::fit_cookies(answer, node.base_path(), self.scheme(), session::is_ours);
        }
        if present.has(Known::Urls) {
            node.fitting(self.peer.scheme().as_str(), visit.authority()).fit_answer(answer);
        }
    }

    /// The answer with which a node agrees to the protocol that it was asked for, and the tunnel behind it.
    pub(super) fn tunnel(
        &self,
        visit: &Visit,
        (session, node): (&Arc<Session>, &Node),
        mut head: Response<()>,
        tunnel: back::Tunnel,
    ) -> Ending {
        let answer = head.headers_mut();
        let protocol = answer.get(header::UPGRADE).cloned();
        headers::strip_hop_by_hop(answer);
        self.fit(visit, node, answer);
        let sessions = &self.snapshot.sessions;
        renewal::where_due(
            (StatusCode::SWITCHING_PROTOCOLS, answer),
            sessions,
            (session, visit.facts.now()),
            self.scheme(),
        );
        answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer.extend(protocol.map(|protocol| (header::UPGRADE, protocol)));
        *head.version_mut() = Version::default();
        let (shared, session) = (self.worker.shared.clone(), session.clone());
        let terms = Terms::new(shared, session, self.snapshot.http.tunnel_idle_timeout);
        Ending::Tunnel(head, Box::new(Tunnel { node: tunnel, terms, finish: None }))
    }

    /// A client's body, with what it must keep to.
    pub(super) fn incoming(&self, body: Incoming, limit: Limit) -> Upload {
        let http = &self.snapshot.http;
        let rules = Rules {
            limit,
            timeout: http.body_timeout,
            min_rate: http.body_min_rate,
            scarce_min_rate: http.scarce_min_rate,
        };
        let upload = Upload::new(body, rules);
        self.finish.receives(upload.flow());
        upload
    }
}

fn content_length(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
