//! Policies asked of facts that somebody types: what each says and reads, live beside its candidate. Nothing is counted,
//! remembered or recorded by it.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tokio::task::spawn_blocking;

use super::call::{Answer, Call};
use crate::policy::{Given, PolicySpec, Trial};
use crate::workbench::{how_to_give, outcome_json, put_fact, reads_json};

/// So many facts may be typed.
const MOST: usize = 64;

pub(super) async fn ask(call: Call) -> Answer {
    let snapshot = call.control.generations().proxy().shared().live.load().snapshot.clone();
    let policies: Vec<String> = snapshot.policies.all().iter().map(|policy| policy.name.clone()).collect();
    let name = call.parameter("policy").unwrap_or_default().to_owned();
    let facts = call.parameter("facts").unwrap_or_default().to_owned();
    let lines = facts.lines().map(str::trim).filter(|line| !line.is_empty()).take(MOST);
    let (mut given, mut problems) = (Given::default(), Vec::new());
    for line in lines {
        if let Err(problem) = put_fact(&mut given, line) {
            problems.push(format!("{line}: {problem}"));
        }
    }
    let is_asked = !facts.trim().is_empty() && problems.is_empty();
    let meant: Vec<Arc<PolicySpec>> =
        snapshot.policies.all().iter().filter(|policy| name.is_empty() || policy.name == name).cloned().collect();
    let answers = if is_asked {
        let given = Arc::new(given);
        // A policy may take its time.
        let asked = spawn_blocking(move || meant.iter().map(|policy| of_policy(policy, &given)).collect::<Vec<_>>());
        asked.await.unwrap_or_default()
    } else {
        Vec::new()
    };
    Answer::told(json!({
        "answers": answers, "facts": facts, "filter": {"policy": name}, "policies": policies, "problems": problems,
    }))
}

/// What a policy says, and what its candidate would.
fn of_policy(policy: &Arc<PolicySpec>, given: &Arc<Given>) -> Json {
    let live = told("live", policy, given);
    let candidate = policy.candidate().map(|shadow| told("candidate", shadow, given));
    let differs = candidate.as_ref().is_some_and(|candidate| candidate["verdict"] != live["verdict"]);
    let told: Vec<Json> = [Some(live), candidate].into_iter().flatten().collect();
    json!({"policy": policy.name, "asks": policy.question.name(), "told": told, "differs": differs})
}

fn told(who: &str, policy: &Arc<PolicySpec>, given: &Arc<Given>) -> Json {
    match Trial::new(policy.clone()).ask(given) {
        Err(error) => json!({"who": who, "error": error.to_string(), "reads": []}),
        Ok(told) => {
            let mut json = outcome_json(&told.answer);
            json["who"] = json!(who);
            json["reads"] = reads_json(&told.trace);
            json["us"] = json!(u64::try_from(told.took.as_micros()).unwrap_or(u64::MAX));
            json["hint"] = json!(
                told.answer.as_ref().err().and_then(how_to_give).map(|hint| hint.replace("add --fact ", "add a line "))
            );
            json
        }
    }
}
