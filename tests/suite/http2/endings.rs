//! How each stream ended, as its access line tells it.

use super::{END_HEADERS, END_STREAM, Front, HEADERS, RESET, frame};
use crate::endings::{ended, field, node};

/// SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;

fn setting(kind: u16, value: u32) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

fn get(front: &Front, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &front.request("GET", &[(":path", path)]))
}

#[test]
fn streams_say_how_they_ended() {
    let log = "[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"";
    let mut front = Front::in_front_of(node(), "1s", log, "rw-timeout = \"1s\"");
    let window = setting(WINDOW, 0x7fff_ffff);
    for (path, by) in [("/whole", "whole"), ("/half", "node"), ("/cut", "node"), ("/stalls", "timeout")] {
        let request = get(&front, path);
        let mut frames = front.send(&window, &request);
        let by_now = ended(&front.proxy, path);
        assert_eq!((by_now.0.as_str(), by_now.1.as_str()), (by, "200"), "{path}");
        frames.write(&[]);
    }
    let text = std::fs::read_to_string(front.proxy.dir().join("access.log")).expect("a log");
    for (name, value) in [("protocol", "HTTP/2"), ("tls", "TLSv1.3"), ("user", "alice"), ("sent", "5")] {
        assert_eq!(field(&text, "/whole", name), value, "{text}");
    }
    // A stream that is reset, a connection that is gone, and a window that never opens.
    let cancel = frame(RESET, 0, 1, &8_u32.to_be_bytes());
    for (by, then) in [("client", Some(cancel)), ("client", None)] {
        std::fs::write(front.proxy.dir().join("access.log"), "").expect("a file");
        let request = get(&front, "/big");
        let mut frames = front.send(&[], &request);
        frames.next(&[0]).expect("data");
        match then {
            Some(cancel) => frames.write(&cancel),
            None => frames.connection.reset(),
        }
        assert_eq!(ended(&front.proxy, "/big").0, by);
    }
    std::fs::write(front.proxy.dir().join("access.log"), "").expect("a file");
    let request = get(&front, "/big");
    let _frames = front.send(&setting(WINDOW, 0), &request);
    assert_eq!(ended(&front.proxy, "/big").0, "timeout");
}

#[test]
fn the_drain_deadline_ends_streams_and_says_so() {
    let settings = "drain-timeout = \"300ms\"\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"access.log\"\n\
        [[log.to]]\nwhat = [\"server\", \"protocol\"]\nlevel = \"debug\"\ntarget = \"stderr\"";
    let mut front = Front::in_front_of(node(), "1h", settings, "");
    let request = get(&front, "/stalls");
    let mut frames = front.send(&[], &request);
    frames.next(&[0]).expect("data");
    assert!(front.proxy.terminate().success());
    assert_eq!(ended(&front.proxy, "/stalls").0, "drain");
    // What is told for debugging is about connections and requests, and not a library's frames.
    let log = front.proxy.log();
    assert!(log.iter().any(|line| line.contains("DEBUG a connection to a node is open backend=\"node-a\"")), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("frame=") || line.contains("Frame")), "{log:?}");
}
