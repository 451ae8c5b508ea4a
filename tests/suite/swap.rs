//! Replacing policies, settings and templates while it runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use harness::{Answer, Guest, Proxy, Question, Setup};

use crate::support::{body_attribute, config, log_in, setup, webmail};

const SOON: Duration = Duration::from_secs(15);
const POLICY: &str = "[[policy]]\nname = \"look\"\nasks = \"template\"\nfile = \"look.wasm\"\n";

fn start(setup: Setup, policies: &str) -> (harness::Backend, Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let text = config(policies, &[("node-a", &node, "")]);
    (node, setup.serve(&text))
}

fn look(proxy: &Proxy) -> String {
    body_attribute(&proxy.client().get("/").expect(200).text(), "data-look")
}

fn replace(proxy: &Proxy, file: &str, bytes: &[u8]) {
    proxy.write("next", bytes);
    std::fs::rename(proxy.dir().join("next"), proxy.dir().join(file)).expect("a rename");
}

#[test]
fn a_new_policy_is_live_after_each_way_of_writing_it() {
    let (_node, proxy) = start(setup().file("look.wasm", Guest::template("blue").build()), POLICY);
    assert_eq!(look(&proxy), "blue");
    let after = |from: usize| proxy.wait_for_log_after(from, "reloaded", SOON);
    let path = proxy.dir().join("look.wasm");
    let lines = || proxy.log().len();

    let from = lines();
    replace(&proxy, "look.wasm", &Guest::template("green").build());
    after(from);
    assert_eq!(look(&proxy), "green", "rename over");

    let from = lines();
    std::fs::write(&path, Guest::template("blue").build()).expect("a write");
    after(from);
    assert_eq!(look(&proxy), "blue", "written in place");

    let from = lines();
    std::fs::write(proxy.dir().join("v2.wasm"), Guest::template("green").build()).expect("a write");
    std::os::unix::fs::symlink("v2.wasm", proxy.dir().join("link")).expect("a link");
    std::fs::rename(proxy.dir().join("link"), &path).expect("a rename");
    after(from);
    assert_eq!(look(&proxy), "green", "symlink");

    let from = lines();
    std::fs::write(proxy.dir().join("v2.wasm"), Guest::template("blue").build()).expect("a write");
    after(from);
    assert_eq!(look(&proxy), "blue", "behind the symlink");
}

#[test]
fn a_slow_write_ends_in_one_clean_reload() {
    let (_node, proxy) = start(setup().file("look.wasm", Guest::template("blue").build()), POLICY);
    let from = proxy.log().len();
    let bytes = Guest::template("green").build();
    let mut file = std::fs::File::create(proxy.dir().join("look.wasm")).expect("a file");
    // Sixteen pieces, 50 ms apart: the pace of a slow copy is what is under test here.
    for piece in bytes.chunks(bytes.len().div_ceil(16)) {
        std::io::Write::write_all(&mut file, piece).expect("a write");
        thread::sleep(Duration::from_millis(50));
    }
    proxy.wait_for_log_after(from, "reloaded", SOON);
    assert_eq!(look(&proxy), "green");
    let told = proxy.log().split_off(from);
    assert!(!told.iter().any(|line| line.contains("refused")), "{told:?}");
}

#[test]
fn a_changed_setting_is_live_and_a_wrong_one_is_refused_whole() {
    let node = webmail(|_| Answer::text("inbox"));
    let text = |look: &str, limit: &str| {
        let policy = format!(
            "[http]\nbody-max-size = \"{limit}\"\n[[policy]]\nname = \"virtual-hosts\"\nasks = \"template\"\n[policy.settings]\ndefault = {look}\n"
        );
        config(&policy, &[("node-a", &node, "")])
    };
    let proxy = setup().serve(&text("\"blue\"", "1KiB"));
    let file = "doorward.toml".to_owned();
    let from = proxy.log().len();
    replace(&proxy, &file, text("\"green\"", "1KiB").as_bytes());
    proxy.wait_for_log_after(from, "reloaded", SOON);
    assert_eq!(look(&proxy), "green");
    let from = proxy.log().len();
    replace(&proxy, &file, text("[1]", "2 lightyears").as_bytes());
    let told = proxy.wait_for_log_after(from, "http.body-max-size", SOON);
    assert!(told.contains("2 lightyears") && told.contains("expected"), "{told}");
    assert_eq!(look(&proxy), "green");
    let from = proxy.log().len();
    replace(&proxy, &file, text("[1]", "1KiB").as_bytes());
    proxy.wait_for_log_after(from, "policy\\[0\\].settings.default", SOON);
    assert_eq!(look(&proxy), "green");
}

#[test]
fn a_broken_policy_leaves_the_old_one_serving_and_says_why() {
    let (_node, proxy) = start(setup().file("look.wasm", Guest::template("blue").build()), POLICY);
    let broken = [
        (Guest::template("green").configure("unreachable").build(), "trapped"),
        (Guest::template("green").version("0.2.0").build(), "0.2.0"),
        (b"no wasm".to_vec(), "no WebAssembly"),
        (Guest::template("green").build().split_off(9), "no WebAssembly"),
        (
            {
                let whole = Guest::template("green").build();
                whole[..whole.len() / 2].to_vec()
            },
            "look.wasm",
        ),
        (Guest::new(Question::Device).build(), "device"),
    ];
    for (bytes, reason) in broken {
        let from = proxy.log().len();
        replace(&proxy, "look.wasm", &bytes);
        proxy.wait_for_log_after(from, "old generation serves on", SOON);
        let told = proxy.wait_for_log_after(from, reason, SOON);
        assert!(told.contains("look.wasm") && told.contains("expected"), "{told}");
        assert_eq!(look(&proxy), "blue");
    }
    let from = proxy.log().len();
    replace(&proxy, "look.wasm", &Guest::template("green").build());
    proxy.wait_for_log_after(from, "reloaded", SOON);
    assert_eq!(look(&proxy), "green");
}

#[test]
fn deleting_a_file_in_use_changes_nothing() {
    let (_node, proxy) = start(setup().file("look.wasm", Guest::template("green").build()), POLICY);
    let from = proxy.log().len();
    std::fs::remove_file(proxy.dir().join("look.wasm")).expect("a file");
    proxy.wait_for_log_after(from, "look.wasm", SOON);
    assert_eq!(look(&proxy), "green");
    // The operator says otherwise: the configuration does without it.
    let from = proxy.log().len();
    let file = "doorward.toml".to_owned();
    let text = std::fs::read_to_string(proxy.dir().join(&file)).expect("the configuration").replace(POLICY, "");
    replace(&proxy, &file, text.as_bytes());
    proxy.wait_for_log_after(from, "reloaded", SOON);
    assert_eq!(look(&proxy), "blue");
}

#[test]
fn a_template_is_replaced_and_a_broken_one_is_not() {
    let page = |text: &str| {
        format!(
            "<body data-look=\"own\">{text}<form method=post action=\"/.doorward/login\"><input name=password type=password></form>"
        )
    };
    let setup = setup()
        .file("templates/own/desktop/login.html", page("first {{ title }}"))
        .file("templates/own/desktop/error.html", page("{{ detail }}"));
    let policy = "templates = \"templates\"\n[[policy]]\nname = \"virtual-hosts\"\nasks = \"template\"\n[policy.settings]\ndefault = \"own\"\n";
    let (_node, proxy) = start(setup, policy);
    let shown = || proxy.client().get("/").expect(200).text();
    assert!(shown().contains("first Webmail"));
    let from = proxy.log().len();
    proxy.write("templates/own/desktop/login.html", page("{{ nothing_like_it }}"));
    proxy.wait_for_log_after(from, "own/desktop/login.html", SOON);
    assert!(shown().contains("first Webmail"));
    let from = proxy.log().len();
    proxy.write("templates/own/desktop/login.html", page("second {{ title }}"));
    proxy.wait_for_log_after(from, "reloaded", SOON);
    assert!(shown().contains("second Webmail"));
}

/// One of 64 connections that ask all the time. Half of them have a session, and are answered by the node, which says
/// what template it was told; the others get the login page of a template, which names only that template's files.
fn ask_all_the_time(proxy: &Proxy, number: usize, stop: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let mut client = if number.is_multiple_of(2) { proxy.client() } else { log_in(proxy, "alice") };
    let stop = stop.clone();
    thread::spawn(move || {
        let mut answers = 0;
        while !stop.load(Ordering::Relaxed) {
            let page = client.get("/").expect(200).text();
            if number.is_multiple_of(2) {
                let look = body_attribute(&page, "data-look");
                let other = if look == "blue" { "/assets/green/" } else { "/assets/blue/" };
                assert!(["blue", "green"].contains(&look.as_str()) && !page.contains(other), "{page}");
            } else {
                assert!(["blue", "green"].contains(&page.as_str()), "{page}");
            }
            answers += 1;
        }
        answers
    })
}

#[test]
fn under_load_fifty_swaps_and_ten_broken_ones_fail_no_request() {
    let node = webmail(|request| Answer::text(request.seen.header("x-doorward-template").unwrap_or("none").to_owned()));
    let limits = "[http]\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n[listener.limits]\n\
        max-interval-connections = 0\npeer-max-interval-connections = 0\n";
    let text = config(&format!("{limits}{POLICY}"), &[("node-a", &node, "queue-max-size = 1000")]);
    let proxy = setup().file("look.wasm", Guest::template("blue").build()).serve(&text);
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..64).map(|number| ask_all_the_time(&proxy, number, &stop)).collect();
    let versions = [Guest::template("green").build(), Guest::template("blue").build()];
    for round in 0..50 {
        if round % 5 == 4 {
            let broken = [b"broken".to_vec(), Guest::template("green").configure("unreachable").build()];
            let from = proxy.log().len();
            replace(&proxy, "look.wasm", &broken[round % 2]);
            proxy.wait_for_log_after(from, "old generation serves on", SOON);
        }
        let from = proxy.log().len();
        replace(&proxy, "look.wasm", &versions[round % 2]);
        proxy.wait_for_log_after(from, "reloaded", SOON);
    }
    stop.store(true, Ordering::Relaxed);
    let answers: Vec<usize> = loads.into_iter().map(|load| load.join().expect("no request failed")).collect();
    assert!(answers.iter().all(|answers| *answers > 0), "{answers:?}");
    println!("{} answers during 50 swaps and 10 refusals", answers.iter().sum::<usize>());
}

/// A device policy that always says this form, by its number in the WIT.
fn device(form: u8) -> Vec<u8> {
    let code = format!(
        "(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 17) (i32.const {form})) i32.const 16"
    );
    Guest::new(Question::Device).answer(&code).build()
}

/// A good template policy that takes the compiler a second or so.
fn slow(name: &str) -> Vec<u8> {
    let steps: String = (0..20_000)
        .map(|n| format!("(local.set 0 (i32.xor (i32.mul (local.get 0) (i32.const {n})) (local.get 1)))"))
        .collect();
    let function = format!("(func (export \"slow\") (local i32 i32) {steps})");
    Guest::template(name).extra(&format!("(data (i32.const 1024) \"{name}\") {function}")).build()
}

#[test]
fn two_hundred_swaps_of_good_bad_and_slow_policies_fail_no_request_and_none_sees_two_generations() {
    let node = webmail(|request| {
        let told = ["x-doorward-device", "x-doorward-template"]
            .map(|name| request.seen.header(name).unwrap_or("-").to_owned());
        Answer::text(told.join(" "))
    });
    let text = |pair: &str| {
        let policies = format!(
            "[admin]\nsocket = \"admin.sock\"\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n[listener.limits]\n\
             max-interval-connections = 0\npeer-max-interval-connections = 0\n\
             [[policy]]\nname = \"device\"\nasks = \"device\"\nfile = \"device-{pair}.wasm\"\n\
             [[policy]]\nname = \"look\"\nasks = \"template\"\nfile = \"look-{pair}.wasm\"\n"
        );
        config(&policies, &[("node-a", &node, "queue-max-size = 1000")])
    };
    let files = [("a", device(1), Guest::template("green").build()), ("b", device(3), Guest::template("blue").build())]
        .into_iter()
        .chain([
            ("slow", device(2), slow("green")),
            ("trap", device(1), Guest::template("x").configure("unreachable").build()),
        ])
        .chain([("broken", b"broken".to_vec(), Guest::template("blue").build())]);
    let setup = files.fold(setup(), |setup, (name, device, look)| {
        setup.file(&format!("device-{name}.wasm"), device).file(&format!("look-{name}.wasm"), look)
    });
    let proxy = setup.serve(&text("a"));
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = (0..64)
        .map(|_| {
            let (mut client, stop) = (log_in(&proxy, "alice"), stop.clone());
            thread::spawn(move || {
                let mut answers = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    let seen = client.get("/").expect(200).text();
                    assert!(["mobile green", "bot blue", "tablet green"].contains(&seen.as_str()), "{seen}");
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for round in 0..200 {
        let (pair, status) = match round % 20 {
            4 | 14 => ("broken", 422),
            9 => ("trap", 422),
            19 => ("slow", 200),
            even if even % 2 == 0 => ("b", 200),
            _ => ("a", 200),
        };
        replace(&proxy, "doorward.toml", text(pair).as_bytes());
        let (found, told) = proxy.admin("POST", "/reload");
        assert_eq!(found, status, "{round} {pair}: {told}");
    }
    stop.store(true, Ordering::Relaxed);
    let answers: Vec<usize> = loads.into_iter().map(|load| load.join().expect("no request failed")).collect();
    assert!(answers.iter().all(|answers| *answers > 0), "{answers:?}");
    println!("{} answers during 200 swaps", answers.iter().sum::<usize>());
}

#[test]
fn a_listener_comes_and_goes_without_touching_the_others() {
    let node = webmail(|_| Answer::text("inbox"));
    let listener = |name: &str| format!("[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n");
    let both = config(&format!("{}{}", listener("one"), listener("two")), &[("node-a", &node, "")]);
    let proxy = setup().serve(&both);
    let (mut one, mut two) = (proxy.client_of("one"), proxy.client_of("two"));
    one.get("/").expect(200);
    two.get("/").expect(200);
    let from = proxy.log().len();
    let file = "doorward.toml".to_owned();
    replace(&proxy, &file, config(&listener("one"), &[("node-a", &node, "")]).as_bytes());
    proxy.wait_for_log_after(from, "reloaded", SOON);
    one.get("/").expect(200);
    assert_eq!(one.opened(), 1, "the connection of the other listener was closed");
    assert!(Path::new(proxy.dir()).exists() && two.try_connect().is_err() || refused(&mut two));
}

/// A closed socket's backlog may still take a connection for a moment; nobody answers there.
fn refused(client: &mut harness::Client) -> bool {
    client.close();
    client.try_send(harness::Request::new("GET", "/")).is_err()
}
