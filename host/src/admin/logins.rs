//! The last attempts to log in, who is shut out, and why.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::call::{Answer, Call};
use super::privacy;
use crate::feed::Show as _;
use crate::limits::network_text;
use crate::live::Live;
use crate::state::Shared;
use crate::times::seconds_now;
use crate::tries::{Reason, Record};

/// So many attempts are shown.
const MOST: usize = 100;
/// Of so many names that were turned away of late it is told whether they still are: each look holds up logins for a moment.
const LOOKED_AT: usize = 50;

pub(super) async fn logins(call: Call) -> Answer {
    let shared = call.control.generations().proxy().shared();
    let live = shared.live.load();
    let said = |name: &str| call.parameter(name).map(str::trim).filter(|value| !value.is_empty());
    let (user, outcome) = (said("user"), said("outcome"));
    if user.is_some() && !call.caller.sees_people() {
        return Answer::refused(hyper::StatusCode::FORBIDDEN, "operators look for one user");
    }
    let all = match user {
        Some(typed) => {
            let name = live.directory.canonical(typed).unwrap_or_else(|| typed.to_lowercase());
            shared.state.tries.of_user(&name)
        }
        None => shared.state.tries.find(|_| true),
    };
    let is_meant = |record: &Record| {
        outcome.is_none_or(|outcome| record.outcome == outcome || record.reason_word() == Some(outcome))
    };
    let tries: Vec<Json> =
        all.iter().filter(|record| is_meant(record)).take(MOST).map(|record| told(record, &call)).collect();
    Answer::told(json!({
        "outcomes": shared.state.logins.by_outcome(), "entries": shared.state.throttle.size(), "tries": tries,
        "shut-out": shut_out(shared, &live, &all, &call),
        "filter": {"user": user.unwrap_or_default(), "outcome": outcome.unwrap_or_default()},
    }))
}

/// An attempt as the caller may see it, with what it means.
fn told(record: &Arc<Record>, call: &Call) -> Json {
    let mut told = privacy::seen(&record.show(), &call.caller);
    (told["what"], told["to-do"]) = (json!(record.told()), json!(record.advice()));
    told
}

/// Names of late, and all networks, that the throttle turns away now.
fn shut_out(shared: &Shared, live: &Live, all: &[Arc<Record>], call: &Call) -> Json {
    let (throttle, settings, caller) = (&shared.state.throttle, &live.throttle, &call.caller);
    let mut rows = Vec::new();
    let mut row = |what: &str, site: Option<&str>, name: Option<&str>, network: Option<IpAddr>, left: Duration| {
        rows.push(json!({
            "what": what, "site": site, "name": name.map(|name| caller.name_of(name)), "network": network.map(network_text),
            "until": seconds_now().saturating_add(left.as_secs()),
        }));
    };
    for (network, left) in throttle.networks(settings) {
        row("a network, with all names", None, None, Some(network), left);
    }
    let turned_away = all.iter().filter(|record| record.reason == Some(Reason::Throttled)).filter_map(|record| {
        let name = record.user.clone().or_else(|| live.directory.canonical(&record.typed))?;
        Some((record.site.clone(), name))
    });
    let names: BTreeSet<(Arc<str>, String)> = turned_away.take(MOST).collect();
    // Each look holds up logins: only for those who may release somebody.
    for (site, name) in names.iter().take(LOOKED_AT).filter(|_| caller.sees_people()) {
        let shut = throttle.shut_out(site, name, settings);
        for (network, left) in shut.networks {
            row("a name from a network", Some(site), Some(name), Some(network), left);
        }
        if let Some(left) = shut.device {
            row("a name from browsers that it knows", Some(site), Some(name), None, left);
        }
        if let Some(left) = shut.slow {
            row("a name, from everywhere else", Some(site), Some(name), None, left);
        }
    }
    json!(rows)
}
