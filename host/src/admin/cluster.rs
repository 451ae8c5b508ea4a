//! The front doors that are one: what each says of itself, in what they differ, and how the store is.

use serde_json::{Value as Json, json};

use super::call::{Answer, Call};
use crate::cluster::{Member, Order, Seen, Store};
use crate::control::{Generations, Handle};
use crate::times::seconds_now;

pub(super) async fn cluster(call: Call) -> Answer {
    let seen = of(call.control.generations());
    Answer::told(if seen.is_null() { json!({"name": null}) } else { seen })
}

/// The cluster as JSON; null without one.
pub(super) fn of(generations: &Generations) -> Json {
    generations.proxy().shared().state.cluster.seen().map_or(Json::Null, |seen| shown(&seen))
}

fn shown(seen: &Seen) -> Json {
    let trouble = if let Store::Away(why) = &seen.store { Some(why) } else { None };
    json!({
        "name": seen.name,
        "door": seen.door,
        "store": {
            "state": seen.store.word(), "since": seen.since, "server": seen.server, "trouble": trouble,
            "evicts": seen.evicts,
        },
        "clock": seen.clock,
        "doors": seen.doors.iter().map(|(member, is_here)| of_door(member, *is_here, &seen.door)).collect::<Json>(),
        "differs": seen.differs,
        "twin": seen.twin,
        "refused": seen.refused,
        "logins": seen.logins,
    })
}

fn of_door(member: &Member, is_here: bool, this: &str) -> Json {
    let ago = seconds_now().saturating_add_signed(-member.clock / 1000).saturating_sub(member.at / 1000);
    let own = &member.own;
    json!({
        "name": member.door,
        "here": is_here,
        "this": member.door == this,
        "seen": if member.door == this { 0 } else { ago },
        "version": own.version,
        "generation": own.generation,
        "faults": own.faults,
        "requests": own.requests,
        "sessions": own.sessions,
        "drains": own.drains,
        "draining": own.draining,
        "clock": member.clock,
    })
}

/// What somebody should look at.
pub(super) fn alarms(seen: &Json) -> Vec<(bool, String)> {
    let mut alarms = Vec::new();
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    match seen["store"]["state"].as_str() {
        Some("away") => {
            alarms.push((true, format!("The store of the cluster is away: {}", text(&seen["store"]["trouble"]))))
        }
        Some("clock") => {
            let clock = seen["clock"].as_i64().unwrap_or_default() / 1000;
            alarms.push((true, format!("This door is outside of its cluster: its clock differs by {clock} s.")));
        }
        _ => {}
    }
    if let Some(policy) = seen["store"]["evicts"].as_str() {
        alarms.push((
            true,
            format!("The store of the cluster may forget ended sessions: its maxmemory-policy is {policy}."),
        ));
    }
    for door in seen["doors"].as_array().into_iter().flatten() {
        let (name, clock) = (text(&door["name"]), door["clock"].as_i64().unwrap_or_default());
        if door["here"] == json!(false) {
            alarms.push((true, format!("The door {name} is away.")));
        } else if clock.unsigned_abs() > 1000 {
            alarms.push((false, format!("The clock of the door {name} differs by {clock} ms.")));
        }
    }
    if let Some(differs) = seen["differs"].as_array().filter(|differs| !differs.is_empty()) {
        let names: Vec<String> = differs.iter().map(text).collect();
        alarms.push((false, format!("Doors of the cluster differ in: {}.", names.join(", "))));
    }
    if seen["twin"] == json!(true) {
        alarms.push((true, "Another process has the name of this door.".to_owned()));
    }
    if seen["refused"].as_u64() > Some(0) {
        alarms
            .push((true, format!("{} entries of the store were written by no door of this cluster.", seen["refused"])));
    }
    alarms
}

/// Tells the other doors too, where there are any, and adds to the answer who has heard of it.
pub(super) async fn everywhere(control: &Handle, order: Order, mut answer: Answer) -> Answer {
    if !answer.is_done() {
        return answer;
    }
    let told = control.generations().proxy().shared().state.cluster.tell(order).await;
    if let (Some(told), super::call::Content::Json(content)) = (told, &mut answer.content) {
        content["doors"] = json!(told);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_an_alarm_and_a_door_alone_has_none() {
        assert!(alarms(&Json::Null).is_empty());
        let seen = json!({
            "store": {"state": "away", "trouble": "no route", "evicts": "allkeys-lru"}, "twin": true, "refused": 2,
            "doors": [{"name": "b", "here": false, "clock": 0}, {"name": "c", "here": true, "clock": -1200}],
            "differs": ["limits", "site a"],
        });
        let told: Vec<String> = alarms(&seen).into_iter().map(|(_, text)| text).collect();
        for part in [
            "no route",
            "allkeys-lru",
            "door b is away",
            "c differs by -1200 ms",
            "limits, site a",
            "Another process",
            "2 entries",
        ] {
            assert!(told.iter().any(|text| text.contains(part)), "{part} in {told:?}");
        }
    }
}
