//! Events reach who watches, and cost nobody anything else.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Feed, Kind, QUEUE, Show, VIEWERS};

struct Happened(&'static str, u64);

impl Show for Happened {
    fn request(&self) -> Option<Arc<str>> {
        Some(self.0.into())
    }

    fn show(&self) -> Json {
        json!({"number": self.1, "text": "x".repeat(2000)})
    }
}

fn tell(feed: &Feed, request: &'static str, number: u64) -> bool {
    let takes = feed.takes();
    if takes {
        feed.tell(Kind::Decision, Box::new(Happened(request, number)));
    }
    takes
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn nothing_is_taken_while_nobody_watches() {
    let feed = Feed::start().unwrap();
    assert!(!feed.takes());
    assert_eq!(feed.skipped(), 0);
}

#[test]
fn a_viewer_sees_what_it_asked_for_and_texts_are_cut() {
    let feed = Feed::start().unwrap();
    let mut viewer = feed.view(Box::new(|event| event.request.as_deref() == Some("b"))).unwrap();
    assert!(tell(&feed, "a", 1) && tell(&feed, "b", 2));
    let (events, lost) = runtime().block_on(viewer.next()).unwrap();
    assert_eq!((events.len(), lost), (1, 0));
    assert_eq!(events[0].shown["number"], 2);
    assert!(events[0].shown["text"].as_str().unwrap().len() < 600);
    // All are kept, the newest first.
    let recent = feed.recent(Kind::Decision, &|_| true, 9);
    assert_eq!(recent.iter().map(|event| event.shown["number"].clone()).collect::<Vec<_>>(), [json!(2), json!(1)]);
    assert!(feed.recent(Kind::Login, &|_| true, 9).is_empty());
}

#[test]
fn a_slow_viewer_loses_events_and_is_told_how_many() {
    let feed = Feed::start().unwrap();
    let mut slow = feed.view(Box::new(|event| event.request.as_deref() == Some("a"))).unwrap();
    let mut quick = feed.view(Box::new(|_| true)).unwrap();
    let runtime = runtime();
    let (mut told, mut seen) = (0, 0);
    // The quick one sees each event before the next one is told, so that nothing is lost on the way.
    while told < QUEUE as u64 + 10 {
        if tell(&feed, "a", told) {
            let (events, _) = runtime.block_on(quick.next()).unwrap();
            seen += events.len() as u64;
            told += 1;
        }
    }
    assert_eq!(seen, told);
    // What was skipped between slots was told by nobody else.
    let skipped = feed.skipped();
    let (events, lost) = runtime.block_on(slow.next()).unwrap();
    assert_eq!((events.len(), lost), (QUEUE, 10 + skipped));
    assert_eq!(events[0].shown["number"], 10);
}

#[test]
fn so_many_may_watch_and_a_place_comes_free() {
    let feed = Feed::start().unwrap();
    let mut viewers: Vec<_> = (0..VIEWERS).map(|_| feed.view(Box::new(|_| true)).unwrap()).collect();
    assert!(feed.view(Box::new(|_| true)).is_none());
    viewers.pop();
    assert!(feed.view(Box::new(|_| true)).is_some());
    assert_eq!(feed.watch().viewers.len(), VIEWERS - 1);
}

#[test]
fn when_the_process_ends_nobody_watches_any_more() {
    let feed = Feed::start().unwrap();
    let mut viewer = feed.view(Box::new(|_| true)).unwrap();
    let end = runtime().block_on(async {
        let close = async { feed.close() };
        tokio::join!(viewer.next(), close).0
    });
    assert!(end.is_none());
    assert!(feed.view(Box::new(|_| true)).is_none());
}
