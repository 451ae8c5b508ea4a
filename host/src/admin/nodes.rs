//! The nodes one by one.

use serde_json::{Value as Json, json};

use super::call::{Answer, Call};
use super::status;

pub(super) async fn nodes(call: Call) -> Answer {
    let shared = call.control.generations().proxy().shared();
    let sessions = shared.sessions_by_node();
    let nodes: Vec<Json> = shared
        .live
        .load()
        .nodes()
        .iter()
        .map(|node| {
            let mut json = status::of_node(node, &sessions);
            json["url"] = json!(node.written().url);
            json["recipe"] = json!(node.written().recipe);
            json["max-connections"] = json!(node.written().max_connections);
            json
        })
        .collect();
    Answer::told(json!({"nodes": nodes}))
}
