//! What happens, for who watches: decisions, and all that is known of one request.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::call::{Answer, Call};
use super::caller::Caller;
use super::privacy;
use crate::feed::{Event, Filter, Kind};

/// So many decisions are shown at once.
const MOST: usize = 100;
/// The parameters that say which decisions are meant.
pub(super) const FILTER: &[&str] = &["policy", "verdict", "site", "request"];

pub(super) async fn decisions(call: Call) -> Answer {
    let shared = call.control.generations().proxy().shared();
    let feed = &shared.desk.feed;
    feed.attend();
    let filter = filter(&call.parameters);
    let events = shown(&feed.recent(Kind::Decision, &filter, MOST), &call.caller);
    let policies: Vec<String> = shared.live.load().policies.all().iter().map(|policy| policy.name.clone()).collect();
    let said: serde_json::Map<String, Json> =
        FILTER.iter().map(|name| ((*name).to_owned(), json!(call.parameter(name).unwrap_or_default()))).collect();
    Answer::told(json!({"events": events, "filter": said, "policies": policies, "skipped": feed.skipped()}))
}

pub(super) async fn request(call: Call) -> Answer {
    let shared = call.control.generations().proxy().shared();
    let feed = &shared.desk.feed;
    feed.attend();
    let id = call.parameter("id").unwrap_or_default().trim();
    let of = |kind| {
        let events = feed.recent(kind, &|event: &Event| !id.is_empty() && event.request.as_deref() == Some(id), MOST);
        shown(&events, &call.caller)
    };
    let (mut decisions, exchanges, logins) = (of(Kind::Decision), of(Kind::Exchange), of(Kind::Login));
    // In the order in which they were made.
    decisions.reverse();
    Answer::told(json!({"id": id, "decisions": decisions, "exchanges": exchanges, "logins": logins}))
}

/// Which decisions are meant.
pub(super) fn filter(parameters: &[(String, String)]) -> Filter {
    let said = |name: &str| {
        let value = parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim().to_owned());
        value.filter(|value| !value.is_empty())
    };
    let (policy, verdict, site, request) = (said("policy"), said("verdict"), said("site"), said("request"));
    Box::new(move |event: &Event| {
        let is = |wanted: &Option<String>, key: &str| {
            wanted.as_ref().is_none_or(|wanted| event.shown[key].as_str() == Some(wanted.as_str()))
        };
        event.kind == Kind::Decision
            && is(&policy, "policy")
            && is(&site, "site")
            && request.as_ref().is_none_or(|wanted| event.request.as_deref() == Some(wanted.as_str()))
            && verdict.as_ref().is_none_or(|wanted| word(&event.shown) == wanted.as_str())
    })
}

/// The word of a verdict, or "failed".
fn word(shown: &Json) -> &str {
    let verdict = &shown["verdict"];
    let word = verdict.as_str().or_else(|| verdict.as_object()?.keys().next().map(String::as_str));
    word.unwrap_or("failed")
}

/// Events as the caller may see them.
pub(super) fn shown(events: &[Arc<Event>], caller: &Caller) -> Vec<Json> {
    events.iter().map(|event| privacy::seen(&event.shown, caller)).collect()
}
