//! Sample facts: what a front door sees on an ordinary day, and a little of what it sees on a bad one.
//!
//! Pure.

use std::sync::Arc;

use serde_json::json;

use crate::policy::Given;

/// Addresses, user names and hosts, from networks and domains for documentation.
const ADDRESSES: [&str; 6] = ["192.0.2.7", "10.1.2.3", "203.0.113.200", "127.0.0.1", "2001:db8::7", "::1"];
const HOSTS: [&str; 5] = ["mail.example.com", "webmail.example.org", "a.b.example.net", "203.0.113.1", ""];
const LOGINS: [&str; 6] = ["alice", "bob@example.com", "Carol@Example.ORG", "dora@mail.example.net", "", "x@y@z\u{e9}"];
const TARGETS: [(&str, &str); 6] = [
    ("GET", "/"),
    ("GET", "/?_task=mail&_mbox=INBOX"),
    ("POST", "/?_task=login"),
    ("GET", "/skins/elastic/styles/styles.min.css?s=1715602020"),
    ("GET", "/.git/config"),
    ("GET", "/%2e%2e/admin//x.php?q=%00"),
];

/// What browsers and programs call themselves, and how they are named.
const USER_AGENTS: [&str; 14] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
    "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.14.1",
    "python-requests/2.32.4",
    "",
];

/// So many samples: enough to go once through all of the tables above, in ever other company.
const SAMPLES: usize = 32;

/// The sample facts: each says whatever a policy may ask.
pub fn all() -> Vec<Arc<Given>> {
    (0..SAMPLES).filter_map(sample).collect()
}

/// The facts that are measured: a desktop, without client hints.
pub fn usual() -> Option<Arc<Given>> {
    sample(0)
}

fn sample(index: usize) -> Option<Arc<Given>> {
    let of = |table: &[&'static str]| table[index % table.len()];
    let (method, target) = TARGETS[index % TARGETS.len()];
    let path = target.split('?').next().unwrap_or(target);
    let agent = of(&USER_AGENTS);
    let mut header = json!({"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "accept-language": "en"});
    if !agent.is_empty() {
        header["user-agent"] = json!(agent);
    }
    // Chromium gives hints over HTTPS; here every third time.
    if agent.contains("Chrome/") && index % 3 == 1 {
        header["sec-ch-ua-mobile"] = json!(if agent.contains("Mobile") { "?1" } else { "?0" });
        header["sec-ch-ua-platform"] = json!(if agent.contains("Android") { "\"Android\"" } else { "\"Windows\"" });
    }
    let login = of(&LOGINS);
    let facts = json!({
        "client-address": of(&ADDRESSES), "client-port": 50_000 + index, "listener": of(&["public", "inner"]),
        "local-address": "192.0.2.1", "tls-server-name": null, "tls-client-subject": null,
        "method": method, "scheme": of(&["https", "http", "https"]), "host": of(&HOSTS), "path": path, "target": target,
        "http-version": of(&["2", "1.1", "1.1"]), "query": {"_task": "mail"}, "header": header, "cookie": {"language": "en_GB"},
        "username": login, "known": index.is_multiple_of(2), "attribute": {"mail": [format!("{login}@example.com")]},
        "directory-hosts": of(&["node-a", "node-b"]).split(',').collect::<Vec<_>>(), "usual-node": of(&["node-a", "node-b"]),
        "session-user": login, "session-node": "node-a", "session-site": of(&HOSTS),
        "session-age": {"3600 86400": of(&["0", "3600"]).parse::<u32>().unwrap_or_default()},
        "requests-of-session": {"minute 60": 0}, "requests-of-address": {"minute 60": 60 * (index % 2)},
        "requests-for-path": {"minute 60": 0},
        "date": {"Z": "2026-06-01"}, "weekday": {"Z": 1 + index % 7}, "hour": {"Z": index % 24},
        "list-contains": {"blocked 203.0.113.200": true},
        "node-state": {"node-a": of(&["up", "up", "drained", "down"]), "node-b": "up"},
        "node-load": {"node-a": of(&["free", "busy", "full"]), "node-b": "free"},
        "recent-failures-from-address": index % 4, "recent-failures-for-user": 0,
        "form": of(&["desktop", "desktop", "mobile", "tablet", "bot"]), "now": 1_780_000_000 + 3_600 * index, "random": index,
    });
    Given::from_json(&facts).ok().map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_taken_and_the_first_is_a_desktop() {
        assert_eq!(all().len(), SAMPLES);
        for fact in doorward_vectors::FACTS {
            let name = fact.is_named.then_some("name");
            let fact = crate::policy::Fact::named(fact.function, name).unwrap();
            assert!(all()[0].read(&fact).is_some(), "the samples say nothing of {fact}");
        }
        let agent = crate::policy::Fact::parse("header(user-agent)").unwrap();
        let first = usual().unwrap().read(&agent).unwrap();
        assert_eq!(first.size(), 111);
    }
}
