//! A list of users that was emptied or cut does not go live, unless the operator says that it is meant.

use std::time::Duration;

use harness::{Answer, Proxy};

use crate::support::{config, setup, webmail};

const SOON: Duration = Duration::from_secs(15);

fn people(count: usize) -> String {
    let one =
        |number| format!("dn: uid=u{number}\nuid: u{number}\nmailHost: node-a\nuserPassword: u{number}-secret\n\n");
    (0..count).map(one).collect()
}

fn map(count: usize) -> String {
    (0..count).map(|number| format!("u{number} node-a\n")).collect()
}

fn start() -> (harness::Backend, Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let text = config("[admin]\nsocket = \"admin.sock\"\n", &[("node-a", &node, "")]);
    let text = text.replace("file = \"people.ldif\"", "file = \"people.ldif\"\nmap = \"routes.map\"");
    let proxy = setup().file("people.ldif", people(10)).file("routes.map", map(10)).serve(&text);
    (node, proxy)
}

fn logs_in(proxy: &Proxy, name: &str) -> bool {
    let mut client = proxy.client();
    client.login(name, &format!("{name}-secret")).into_iter().any(|answer| answer.status == 303)
}

#[test]
fn a_list_that_was_emptied_or_cut_does_not_go_live() {
    let (_node, proxy) = start();
    for (file, text, told) in [
        ("people.ldif", String::new(), "0 entries where there were 10"),
        ("people.ldif", people(4), "4 entries where there were 10"),
        ("people.ldif", people(10).trim_end().to_owned(), "no line end behind the last line"),
        ("people.ldif", format!("{}dn: uid=u8\nuid: u8\n", people(8)), "has fewer attributes"),
        ("people.ldif", format!("{}dn: uid=u8\n", people(8)), "an entry without attributes"),
        ("routes.map", String::new(), "0 entries where there were 10"),
        ("routes.map", map(4), "4 entries where there were 10"),
        ("routes.map", map(10).trim_end().to_owned(), "no line end behind the last line"),
    ] {
        let from = proxy.log().len();
        proxy.write(file, &text);
        proxy.wait_for_log_after(from, &format!("{file}.*{told}"), SOON);
        let (status, answer) = proxy.admin("POST", "/reload");
        assert!(status == 422 && answer.contains(told), "{status} {answer}");
        assert!(logs_in(&proxy, "u9"), "{told}: what is live stays");
        proxy.write(file, if file == "people.ldif" { people(10) } else { map(10) });
        assert_eq!(proxy.admin("POST", "/reload").0, 200);
    }
}

#[test]
fn a_list_without_an_end_of_its_last_line_serves_after_a_restart() {
    let node = webmail(|_| Answer::text("inbox"));
    let text = config("[admin]\nsocket = \"admin.sock\"\n", &[("node-a", &node, "")]);
    let text = text.replace("file = \"people.ldif\"", "file = \"people.ldif\"\nmap = \"routes.map\"");
    let (people, map) = (people(10).trim_end().to_owned(), map(10).trim_end().to_owned());
    let proxy = setup().file("people.ldif", people.as_str()).file("routes.map", map.as_str()).serve(&text);
    assert!(logs_in(&proxy, "u9"));
    for file in ["people.ldif", "routes.map"] {
        proxy.wait_for_log(&format!("no line end behind its last line.*{file}"), SOON);
    }
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
}

#[test]
fn a_list_may_shrink_when_the_operator_says_so() {
    let (_node, proxy) = start();
    proxy.write("people.ldif", people(4));
    proxy.write("routes.map", map(4));
    assert_eq!(proxy.admin("POST", "/reload").0, 422);
    let ran = proxy.dir().join("doorward.toml");
    let ctl = std::process::Command::new(harness::binary())
        .args(["ctl", "--config"])
        .arg(ran)
        .args(["reload", "--accept-shrink"])
        .current_dir(proxy.dir())
        .output()
        .expect("doorward ctl");
    assert!(ctl.status.success(), "{ctl:?}");
    assert!(logs_in(&proxy, "u3") && !logs_in(&proxy, "u4"));
    // It is the one to compare with from now on.
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
}
