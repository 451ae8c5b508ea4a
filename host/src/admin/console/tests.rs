//! Every page is made from what its verb tells, for each role, and shows texts of strangers as text.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::view::{Console, PAGES, View, find};
use crate::admin::call::Answer;
use crate::admin::caller::{Caller, Proof, Role};
use crate::feed::Feed;

const EVIL: &str = "<img src=x onerror=alert(1)>\u{1b}[31m";

fn view(caller: &Caller) -> View<'_> {
    View { caller, token: "t0ken", generation: 7 }
}

fn caller(role: Role) -> Caller {
    Caller { proof: Proof::Session(EVIL.to_owned()), role, from: None }
}

#[test]
fn texts_of_strangers_are_text_on_every_page() {
    let console = Console::new();
    let caller = caller(Role::Admin);
    let event = json!({
        "policy": EVIL, "asks": "access", "time": 5.0, "generation": 1, "cached": false, "us": 3, "request": EVIL,
        "site": EVIL, "verdict": {"deny": EVIL}, "reads": [{"fact": "request.header(user-agent)", "value": EVIL}],
    });
    for (name, data) in [
        (
            "decisions",
            json!({"events": [event], "policies": [EVIL], "filter": {"policy": EVIL, "site": EVIL}, "query": "a"}),
        ),
        (
            "request",
            json!({"id": EVIL, "decisions": [event], "exchanges": [{"user-agent": EVIL, "status": 200}], "logins": [{"typed": EVIL}]}),
        ),
        ("nodes", json!({"nodes": [{"name": EVIL, "url": EVIL, "up": true, "requests": 1, "max-connections": 5}]})),
        (
            "policies",
            json!({"policies": [{"name": EVIL, "digest": EVIL, "breaker": {"open": true}, "memo": {"bytes": 5}}], "quarantine": {"sha256:1": EVIL}}),
        ),
        (
            "ask",
            json!({"policies": [EVIL], "facts": EVIL, "problems": [EVIL], "answers": [{"policy": EVIL, "told": [event]}]}),
        ),
    ] {
        let page = find(name).unwrap();
        let html = console.show(page, &view(&caller), &Answer::told(data), None);
        assert!(html.contains("</html>"), "{name}: {html}");
        assert!(!html.contains("<img src=x") && !html.contains('\u{1b}'), "{name}: {html}");
        assert!(html.contains("&lt;img src=x"), "{name}: {html}");
    }
    let refused = Answer::refused(hyper::StatusCode::CONFLICT, EVIL);
    let html = console.outcome("lift", &view(&caller), &refused);
    assert!(html.contains("&lt;img") && html.contains("href=\"/policies\""), "{html}");
}

#[test]
fn there_is_no_script_and_no_style_in_a_page() {
    let console = Console::new();
    let caller = caller(Role::Viewer);
    for page in PAGES {
        let html = console.show(
            page,
            &view(&caller),
            &Answer::told(json!({"status": {"backends": [], "logins": {}, "threads": {}}})),
            None,
        );
        assert!(html.contains("</html>"), "{}: {html}", page.name);
        for inline in ["<style", "style=", "<script>", "onclick", "javascript:"] {
            assert!(!html.contains(inline), "{} has {inline}", page.name);
        }
        // A viewer is shown nothing that he may not do.
        assert!(!html.contains("/do/"), "{}", page.name);
    }
}

#[test]
fn a_browser_gets_decisions_as_they_are_made() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (feed, console) = (Feed::start().unwrap(), Box::leak(Box::new(Console::new())));
        let filter = crate::admin::watching::filter(&[("policy".to_owned(), "p".to_owned())]);
        let mut live = console.live(&feed, filter, caller(Role::Operator), || true).unwrap();
        struct Decided(&'static str);
        impl crate::feed::Show for Decided {
            fn request(&self) -> Option<Arc<str>> {
                None
            }
            fn show(&self) -> Json {
                json!({"policy": self.0, "verdict": "mobile", "reads": []})
            }
        }
        for name in ["other", "p"] {
            assert!(feed.takes());
            feed.tell(crate::feed::Kind::Decision, Box::new(Decided(name)));
        }
        let piece = std::future::poll_fn(|cx| hyper::body::Body::poll_frame(std::pin::Pin::new(&mut live), cx)).await;
        let piece = piece.unwrap().unwrap().into_data().unwrap();
        let text = std::str::from_utf8(&piece).unwrap();
        assert!(text.starts_with("event: more\ndata: <li>") && text.ends_with("\n\n"), "{text}");
        assert!(text.contains("mobile") && !text.contains("other"), "{text}");
        drop(live);
    });
}
