//! Requests, and the devices they come from.

#![allow(clippy::unwrap_used, reason = "tests")]

use doorward_device_detection::DeviceDetection;
use doorward_policy::testing::{Given, configure};
use doorward_policy::{DevicePolicy, Form};

const PHONE: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36";
const DESKTOP: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

fn classify(settings: &str, headers: &[(&str, &str)]) -> Form {
    let policy: DeviceDetection = configure(settings).unwrap();
    policy.classify(&Given::new().headers(headers).request()).unwrap()
}

/// At least 98 of 100 must be right: bots that name neither themselves nor a reason are beyond any rule.
const MISSES_ALLOWED_IN_A_HUNDRED: usize = 2;

#[test]
fn real_user_agents_are_told_apart() {
    let policy: DeviceDetection = configure("{}").unwrap();
    let rows = include_str!("user-agents.tsv").lines().filter(|line| !line.starts_with('#'));
    let (mut count, mut misses) = (0, Vec::new());
    for row in rows {
        let [source, expected, agent] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let form = policy.classify(&Given::new().headers(&[("user-agent", agent)]).request()).unwrap();
        count += 1;
        if format!("{form:?}").to_lowercase() != expected.replace("form::", "") && !format!("{form:?}").to_lowercase().ends_with(expected) {
            misses.push(format!("{source}: {expected}, found {form:?}: {agent}"));
        }
    }
    println!("{} of {count} right; the others:\n{}", count - misses.len(), misses.join("\n"));
    assert!(count >= 400, "the table has only {count} rows");
    assert!(misses.len() * 100 <= count * MISSES_ALLOWED_IN_A_HUNDRED, "{} of {count} wrong", misses.len());
}
