//! A real Active Directory: each of its kinds of account has its right outcome, over either kind of TLS.

use harness::{ActiveDirectory, Answer, Backend, Proxy, Setup};

use crate::support::{RECIPE, post_login};

const RIGHT: &str = "User-secret1";

/// The configuration of docs/config.md, in front of this node.
fn start(node: &Backend, url: &str, how: &str, mode: &str) -> Proxy {
    let ad = ActiveDirectory::start();
    let shown = include_str!("../../docs/config.md");
    let (_, shown) = shown.split_once("<!-- an Active Directory -->\n```toml\n").expect("a configuration in the docs");
    let (shown, _) = shown.split_once("```").expect("its end");
    let shown = shown
        .replace("\"ldaps://dc1.example.test\", \"ldaps://dc2.example.test\"", &format!("\"{url}\""))
        .replace("/etc/doorward/ad-ca.pem", &ad.ca().display().to_string())
        .replace("/etc/doorward/bind.secret", "bind.secret");
    assert!(shown.contains(url) && shown.contains(ad.base_dn()), "{shown}");
    let config = format!(
        "{shown}{how}\n[authentication]\nmode = \"{mode}\"\n\
         [authentication.throttle]\nmax-delay = \"0s\"\nmax-failures = 50\nmax-names = 50\n\
         [[site]]\nhosts = [\"*\"]\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0\n\
         [[backend]]\nname = \"node-a\"\nurl = \"{}\"\nrecipe = \"test.toml\"\n",
        node.url()
    );
    Setup::new().file("bind.secret", "Doorward-secret1\n").file("test.toml", RECIPE).serve(&config)
}

/// A node that takes everybody: what is refused here is refused by the directory.
fn node() -> Backend {
    Backend::start(|request| match request.what() {
        ("POST", "/login") => Answer::redirect("/inbox").status(303).header("Set-Cookie", "sid=1; Path=/"),
        _ => Answer::text("mail"),
    })
}

fn say(proxy: &Proxy, name: &str, password: &str) -> (u16, String) {
    let answer = post_login(&mut proxy.client(), "/", name, password);
    (answer.status, answer.text())
}

#[test]
fn every_account_has_its_right_outcome_over_both_kinds_of_tls() {
    let (ad, node) = (ActiveDirectory::start(), node());
    for (url, how) in [(ad.ldaps(), ""), (ad.ldap(), "start-tls = true")] {
        let proxy = start(&node, url, how, "ldap-bind");
        for name in ["alice", "ALICE", " alice ", "alice@example.test", "EXAMPLE\\alice", "example\\Alice"] {
            assert_eq!(say(&proxy, name, "Alice-secret1").0, 303, "{url}, {name}");
        }
        for (name, text) in [
            ("old", "Your password has expired"),
            ("must", "You have to change your password"),
            ("disabled", "Your account is switched off"),
            ("expired", "Your account has expired"),
            ("not-now", "You cannot sign in at this time"),
        ] {
            let (status, page) = say(&proxy, name, RIGHT);
            assert!(status == 403 && page.contains(text), "{url}, {name}: {status} {page}");
            let (status, page) = say(&proxy, name, "not it");
            assert!(status == 403 && page.contains("is not right") && !page.contains(text), "{url}, {name}");
        }
        // The empty password is a bind as nobody, to which a directory says yes; a name with an asterisk finds nobody.
        for (name, password) in [("alice", "not it"), ("alice", ""), ("nobody", RIGHT), ("al*", "Alice-secret1")] {
            let (status, page) = say(&proxy, name, password);
            assert!(status == 403 && page.contains("is not right"), "{url}, {name}: {status} {page}");
        }
        // A user without an office has no node, and that is told after the right password only.
        assert_eq!(say(&proxy, "doorward", "Doorward-secret1").0, 503);
        assert_eq!(say(&proxy, "doorward", "not it").0, 403);
        let log = proxy.log().join("\n");
        for secret in ["Alice-secret1", RIGHT, "Doorward-secret1"] {
            assert!(!log.contains(secret), "{url}: a password in the log");
        }
    }
}

#[test]
fn an_account_that_the_directory_has_locked_is_told_as_a_wrong_password() {
    let (ad, node) = (ActiveDirectory::start(), node());
    let proxy = start(&node, ad.ldaps(), "", "ldap-bind");
    let seen = ["not it", "nor this", "nor that"].map(|wrong| say(&proxy, "locked", wrong).0);
    assert_eq!(seen, [403; 3]);
    let (status, page) = say(&proxy, "locked", RIGHT);
    assert!(status == 403 && page.contains("is not right"), "{status}: {page}");
}

#[test]
fn without_tls_or_with_another_authority_the_directory_is_away_and_nobody_is_wrong() {
    let (ad, node) = (ActiveDirectory::start(), node());
    // A domain controller takes no simple bind in clear text (result 8).
    let clear = start(&node, ad.ldap(), "insecure = true", "ldap-bind");
    assert_eq!(say(&clear, "alice", "Alice-secret1").0, 503);
    // It gives no passwords away, so there is nothing to compare with.
    let compared = start(&node, ad.ldaps(), "", "ldap-password");
    assert_eq!(say(&compared, "alice", "Alice-secret1").0, 403);
    assert_eq!(node.hits().len(), 0, "the node is not asked");
}
