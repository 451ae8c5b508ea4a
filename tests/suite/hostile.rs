//! Raw requests from `hostile.txt`: each is read in one way by everybody, or refused. Nothing is ever smuggled.

use harness::{Answer, Backend, Client, Proxy, Seen};

use crate::support::{log_in, proxy, webmail};

const CASES: &str = include_str!("hostile.txt");

/// A node that says what it got.
fn recorder() -> Backend {
    webmail(|request| {
        let body = request.body().len();
        Answer::text(format!("{} {} {body}", request.seen.method, request.seen.target))
    })
}

/// The bytes of a case.
fn bytes(text: &str, head: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            // In a name of d3 and in targets of e22 and e23 it is itself.
            '$' if !rest.starts_with(['%', '&']) => out.extend_from_slice(b"\r\n"),
            '@' if text.contains("HTTP/1.") && out.ends_with(b"\n") => out.extend_from_slice(head.as_bytes()),
            '@' if out.ends_with(b"\r") => out.extend_from_slice(head.as_bytes()),
            '<' if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                let (count, inner) = rest.split_once('*').expect("a count");
                let mut depth = 1;
                let end = inner.find(|c| {
                    depth += i32::from(c == '<') - i32::from(c == '>');
                    depth == 0
                });
                let (inner, after) = inner.split_at(end.expect("an end"));
                out.extend(bytes(inner, head).repeat(count.parse().expect("a number")));
                rest = &after[1..];
            }
            '\\' => {
                let escape = rest.chars().next().expect("an escape");
                rest = &rest[1..];
                out.push(match escape {
                    'r' => b'\r',
                    'n' => b'\n',
                    't' => b'\t',
                    '0' => 0,
                    'x' => {
                        let (digits, after) = rest.split_at(2);
                        rest = after;
                        u8::from_str_radix(digits, 16).expect("two digits")
                    }
                    other => u8::try_from(other).expect("ASCII"),
                });
            }
            c => out.extend_from_slice(c.to_string().as_bytes()),
        }
    }
    out
}

struct Table {
    node: Backend,
    _proxy: Proxy,
    client: Client,
    head: String,
}

impl Table {
    fn new(extra: &str) -> Self {
        let node = recorder();
        let proxy = proxy(extra, &[("node-a", &node, "")]);
        let client = log_in(&proxy, "alice").host("a.test");
        let session = log_in(&proxy, "alice").cookie("doorward").expect("a session").to_owned();
        Self { node, _proxy: proxy, client, head: format!("Host: a.test\r\nCookie: doorward={session}; sid=alice\r\n") }
    }

    /// Sends a case, and a marker behind it on the same connection; says what is wrong with what came of it.
    fn check(&mut self, number: usize, expected: &str, text: &str) -> Result<(), String> {
        let before = self.node.hits().len();
        let request = bytes(text, &self.head);
        let marker = format!("/marker-{number}");
        let mut connection = self.client.connect();
        // A refusal may come before all of it was sent.
        let _ = connection
            .try_write(&[&request[..], format!("GET {marker} HTTP/1.1\r\n{}\r\n", self.head).as_bytes()].concat());
        let method = text.split(' ').next().unwrap_or_default();
        let first = connection.read_response(method);
        let second = first.as_ref().ok().and_then(|_| connection.read_response("GET").ok());
        // A request without its end is none; its head may show up late.
        let hits: Vec<Seen> = self.node.hits().drain(before..).filter(|hit| hit.complete).collect();
        let said = || format!("{first:?}\n{second:?}\n{:?}", hits.iter().map(of).collect::<Vec<_>>());
        let statuses: Option<Vec<u16>> = expected.split('/').map(|status| status.parse().ok()).collect();
        if let Some(statuses) = statuses {
            let refused = first
                .as_ref()
                .is_ok_and(|answer| statuses.contains(&answer.status) && answer.header("connection") == Some("close"));
            return if refused && second.is_none() && hits.is_empty() { Ok(()) } else { Err(said()) };
        }
        let (last, wanted) = expected.strip_prefix("last ").map_or((false, &expected[5..]), |wanted| (true, wanted));
        let mut wanted = wanted.splitn(3, ' ').map(|part| String::from_utf8(bytes(part, "")).expect("text"));
        let mut next = || wanted.next().unwrap_or_default();
        let mut all = vec![(next(), next(), next())];
        if !last {
            all.push(("GET".to_owned(), marker, String::new()));
        }
        let answered = first.as_ref().is_ok_and(|answer| answer.status == 200)
            && second.as_ref().map(|answer| answer.status) == (!last).then_some(200);
        if answered && hits.iter().map(of).collect::<Vec<_>>() == all { Ok(()) } else { Err(said()) }
    }
}

fn of(seen: &Seen) -> (String, String, String) {
    (seen.method.clone(), seen.target.clone(), seen.text())
}

#[test]
fn a_request_is_read_in_one_way_or_refused() {
    let mut table = Table::new("");
    let mut wrong = Vec::new();
    let cases = CASES.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut count = 0;
    for (number, line) in cases {
        count += 1;
        let (expected, text) =
            line.replace("\\|", "\\x7c").split_once('|').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("a bar");
        if let Err(said) = table.check(number, &expected, &text) {
            wrong.push(format!("line {}: {line:.150}\n{said:.600}\n", number + 1));
        }
    }
    assert!(count >= 150, "{count} cases");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
