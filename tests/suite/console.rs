//! The operator's page: in a real browser at each width and in each scheme, with a keyboard alone and without script, and as
//! strangers and bad components meet it.

use std::path::Path;

use harness::{Browser, Client, Device, ENTER, Guest, Request, artifacts};
use serde_json::Value as Json;

use crate::admin::{ADMIN, Desk, form, password_of, token_of};
use crate::support::{post_login, setup};
use doorward_vectors::Question;

/// What strangers write, to be seen as it is.
const EVIL: &str = "<img src=x onerror=document.title=1>\u{1b}[31m";

/// A policy of devices, and the state folder that uploads go to.
const POLICY: &str = "state-directory = \"state\"\n[[policy]]\nname = \"device-detection\"\nasks = \"device\"\n";

/// A desk with a policy, decisions, logins that went well and others that did not.
fn desk() -> Desk {
    let desk = Desk::start_in(setup(), &format!("{POLICY}{ADMIN}"));
    // Somebody looks, so that what happens is kept.
    desk.person("admin").get("/decisions").expect(200);
    for (name, password) in [("alice", "alice-secret"), ("alice", "wrong"), (EVIL, "wrong")] {
        post_login(&mut desk.proxy.client().header("User-Agent", "<b>evil</b>"), "/", name, password);
    }
    desk
}

fn log_in(browser: &Browser, desk: &Desk, role: &str) -> String {
    let base = format!("http://{}", desk.address);
    browser.goto(&format!("{base}/"));
    browser.fill("input[name=name]", role);
    browser.fill("input[name=password]", &password_of(role));
    browser.press("input[name=password]", ENTER);
    browser.wait_for("body[data-page=overview]");
    base
}

/// All pages: what is in their list.
const PAGES: [&str; 11] = [
    "overview",
    "nodes",
    "policies",
    "decisions",
    "request",
    "logins",
    "sessions",
    "audit",
    "ask",
    "try",
    "configuration",
];

/// What axe and a ruler find on each page.
fn look_at_all(desk: &Desk, device: Device, scheme: &str, axe: &str) -> Vec<String> {
    let flag = format!("--blink-settings=preferredColorScheme={}", u8::from(scheme == "light"));
    let browser = Browser::start(device, &[&flag]);
    let base = log_in(&browser, desk, "admin");
    let mut found = Vec::new();
    let decided = desk.person("admin").get("/decisions").expect(200).text();
    let request = decided.split("/request?id=").nth(1).and_then(|rest| rest.split('"').next()).expect("a decision");
    for page in PAGES {
        let query = match page {
            "request" => format!("?id={request}"),
            "ask" => "?facts=header.user-agent%3Dcurl%0Aheader.sec-ch-ua-mobile%3D".to_owned(),
            _ => String::new(),
        };
        browser.goto(&format!("{base}/{page}{query}"));
        browser.wait_for(&format!("body[data-page={page}]"));
        let listed = browser.count(&format!("nav a[href='/{page}'][aria-current=page]"));
        if listed != 1 {
            found.push(format!("{page} is not in the list of pages"));
        }
        browser.script("document.querySelectorAll('details').forEach(one => one.open = true)");
        browser.script(axe);
        let faults = browser.script(
            "return axe.run({ resultTypes: ['violations'] }).then(r => r.violations.flatMap(v => \
             v.nodes.map(n => v.id + ': ' + n.html + ' ' + n.any.map(a => a.message).join(' '))))",
        );
        let name = format!("{page}-{device:?}-{scheme}").to_lowercase();
        let faults = faults.as_array().unwrap_or_else(|| panic!("{name}: axe says {faults}"));
        found.extend(faults.iter().map(|fault| format!("{name}: {fault}")));
        let wide = browser.script("return document.documentElement.scrollWidth - innerWidth");
        if wide.as_i64().is_none_or(|more| more > 0) {
            found.push(format!("{name}: {wide} pixels too wide"));
        }
        browser.screenshot(artifacts().join(format!("console-{name}.png")));
    }
    found
}

#[test]
fn axe_finds_nothing_on_any_page_and_none_is_too_wide() {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("axe/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe).unwrap_or_else(|e| panic!("{}: {e}: tests/run packages", axe.display()));
    let desk = desk();
    let found: Vec<String> = std::thread::scope(|scope| {
        let combinations = [Device::Desktop, Device::Narrow].map(|device| [(device, "light"), (device, "dark")]);
        let lookers = combinations.as_flattened().iter().map(|&(device, scheme)| {
            let (desk, axe) = (&desk, axe.as_str());
            scope.spawn(move || look_at_all(desk, device, scheme, axe))
        });
        let lookers: Vec<_> = lookers.collect();
        lookers.into_iter().flat_map(|looker| looker.join().expect("a looker")).collect()
    });
    assert!(found.is_empty(), "{}\n{}", found.len(), found.join("\n"));
}

#[test]
fn what_strangers_write_is_shown_as_text_and_a_viewer_sees_nobody_whole() {
    let desk = desk();
    for page in ["decisions", "logins", "audit"] {
        let html = desk.person("admin").get(&format!("/{page}")).expect(200).text();
        assert!(
            !html.contains("<img src=x") && !html.contains("<b>evil") && !html.contains('\u{1b}'),
            "{page}: {html}"
        );
    }
    let logins = desk.person("operator").get("/logins").expect(200).text();
    assert!(logins.contains("&lt;img src=x onerror") && logins.contains("\u{241b}[31m"), "{logins}");
    assert!(logins.contains("alice") && logins.contains("127.0.0.1"), "{logins}");
    for path in ["/logins", "/decisions", "/overview"] {
        let html = desk.person("viewer").get(path).expect(200).text();
        let content = html.split("<section").skip(1).collect::<String>();
        assert!(!content.contains("alice") && !content.contains("127.0.0.1<"), "{path}: {html}");
        let json = desk.program("viewer").get(&format!("/api{path}")).expect(200).text();
        assert!(!json.contains("\"alice\""), "{path}: {json}");
    }
    // Who looks for a name knows it, and would learn all that is told of it.
    desk.person("viewer").get("/logins?user=alice").expect(403);
    desk.program("viewer").get("/api/logins?user=alice").expect(403);
    desk.person("viewer").get("/ask").expect(403);
    // A verb would take one of two, and the audit log could have the other.
    desk.program("operator").get("/api/logins?user=alice&user=bob").expect(400);
    let browser = Browser::desktop();
    let base = log_in(&browser, &desk, "admin");
    browser.goto(&format!("{base}/logins"));
    browser.wait_for("body[data-page=logins]");
    assert_eq!(browser.count("img[src=x]"), 0);
    assert!(browser.title().starts_with("Logins"), "{}", browser.title());
}

#[test]
fn decisions_are_seen_as_they_are_made() {
    let desk = desk();
    let browser = Browser::desktop();
    let base = log_in(&browser, &desk, "operator");
    browser.goto(&format!("{base}/decisions?policy=device-detection"));
    browser.wait_for("[data-live-button]:not([hidden])");
    browser.script("document.querySelector('[data-live]').replaceChildren()");
    while browser.count("[data-live] li") == 0 {
        desk.proxy.client().header("User-Agent", EVIL_AGENT).get("/");
    }
    assert!(browser.text("[data-live] li").contains("device-detection"));
    assert_eq!(browser.count("[data-live] b"), 0);
    assert_eq!(browser.text("[data-live-state]"), "live");
}

/// A User-Agent made of HTML.
const EVIL_AGENT: &str = "<b>evil</b>";

/// One who watches and reads nothing: the connection.
fn watch(client: &mut Client) -> harness::Connection {
    let cookies = client.cookie("doorward-admin").map(|value| format!("doorward-admin={value}"));
    let mut connection = client.connect();
    connection.write(format!(
        "GET /decisions/live HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
        client.address(),
        cookies.expect("a session")
    ));
    connection
}

#[test]
fn who_reads_nothing_holds_up_nobody_and_is_told_what_was_lost() {
    let desk = desk();
    let mut person = desk.person("operator");
    let mut slow = watch(&mut person);
    let head = String::from_utf8_lossy(&slow.read_some().expect("a head")).into_owned();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut client = desk.proxy.client();
    for _ in 0..3000 {
        client.get("/").expect(200);
    }
    let mut text = String::new();
    while !text.contains("event: lost") {
        text.push_str(&String::from_utf8_lossy(&slow.read_some().expect("more")));
    }
    let lost = text.split("event: lost\ndata: ").nth(1).and_then(|rest| rest.lines().next());
    assert!(lost.is_some_and(|lost| lost.parse::<u64>().is_ok_and(|lost| lost > 0)), "{lost:?}");
}

/// A form with a file, as a browser would send it.
fn upload(client: &mut Client, fields: &[(&str, &str)], file: (&str, &[u8])) -> harness::Response {
    let token = token_of(client);
    let mut body = Vec::new();
    for (name, value) in fields.iter().chain([&("token", token.as_str())]) {
        body.extend(format!("--cut\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    body.extend(
        format!("--cut\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"c.wasm\"\r\n\r\n", file.0).bytes(),
    );
    body.extend(file.1);
    body.extend(b"\r\n--cut--\r\n");
    let origin = format!("http://{}", client.address());
    client.send(
        Request::new("POST", "/do/try")
            .header("Origin", &origin)
            .header("Content-Type", "multipart/form-data; boundary=cut")
            .body(body),
    )
}

/// What came of a trial, when it has come to its end.
fn trial(desk: &Desk) -> Json {
    let mut program = desk.program("admin");
    loop {
        let trial = program.get("/api/trial?policy=device-detection").expect(200).json();
        if trial["under_way"] == false && !trial["last"].is_null() {
            return trial["last"].clone();
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_bad_component_is_refused_with_the_words_of_check_and_nothing_changes() {
    let desk = desk();
    let before = desk.proxy.status()["policies"].clone();
    let mut person = desk.person("admin");
    let looping = Guest::new(Question::Device).answer("(loop $l (br $l)) i32.const 16").build();
    let impure = Guest::new(Question::Device)
        .extra("(global $n (mut i32) (i32.const 0))")
        .answer(
            "(global.set $n (i32.add (global.get $n) (i32.const 1))) \
             (i32.store (i32.const 16) (i32.and (global.get $n) (i32.const 1))) i32.const 16",
        )
        .build();
    let other = Guest::new(Question::Access).build();
    for (what, bytes, words) in [
        ("none", b"no component".to_vec(), "no WebAssembly"),
        ("other", other, "a component that answers access"),
        ("looping", looping, "took longer"),
        ("impure", impure, "not pure"),
    ] {
        upload(&mut person, &[("policy", "device-detection")], ("component", &bytes)).expect(200);
        let last = trial(&desk);
        let refused = last["refused"]["error"].as_str().unwrap_or_else(|| panic!("{what}: {last}"));
        assert!(refused.contains(words), "{what}: {refused}");
        // The command line says the same of the same file.
        let file = desk.proxy.dir().join("c.wasm");
        std::fs::write(&file, &bytes).expect("a file");
        let ran = std::process::Command::new(harness::binary())
            .args(["policy", "check", "--asks", "device"])
            .arg(&file)
            .output()
            .expect("the program");
        let told = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(told.contains(words), "{what}: {told}");
        let page = person.get("/try").expect(200).text();
        assert!(page.contains("nothing live has changed") && page.contains(words), "{what}: {page}");
        person.send(form(&person, "/do/promote", &[("token", &token_of(&mut desk.person("admin")))]));
    }
    assert_eq!(desk.proxy.status()["policies"][0]["digest"], before[0]["digest"]);
    let large = vec![0_u8; 25 << 20];
    let answer = upload(&mut person, &[("policy", "device-detection")], ("component", &large));
    assert!(answer.status >= 400, "{}", answer.status);
}

#[test]
fn from_upload_to_rollback_with_a_keyboard_and_without_script() {
    let desk = desk();
    for _ in 0..5 {
        desk.proxy.client().header("User-Agent", "curl/8").get("/").expect(200);
    }
    let browser = Browser::start(Device::Desktop, &["--blink-settings=scriptEnabled=false"]);
    let base = log_in(&browser, &desk, "admin");
    let live = || desk.proxy.status()["policies"][0]["digest"].as_str().unwrap_or_default().to_owned();
    let before = live();
    let folder = harness::temp_dir();
    let component = folder.path().join("candidate.wasm");
    std::fs::write(&component, Guest::new(Question::Device).build()).expect("a file");
    browser.goto(&format!("{base}/try"));
    browser.upload("input[name=component]", &component);
    browser.press("form[action='/do/try'] button", ENTER);
    browser.wait_for("body[data-page=outcome]");
    // The page loads itself again until all is done.
    browser.press("main a.button", ENTER);
    browser.wait_for("form[action='/do/promote'], form[action='/do/shadow']");
    browser.screenshot(artifacts().join("console-tried.png"));
    let text = browser.text("main");
    assert!(text.contains("Would have changed"), "{text}");
    let changed = browser.text("#replay ~ dl .tile:nth-child(3) dd");
    assert!(changed.trim().parse::<u64>().is_ok_and(|changed| changed > 0), "{changed}: {text}");
    assert_eq!(live(), before, "nothing changed before something was said to");
    browser.press("form[action='/do/shadow'] button", ENTER);
    browser.wait_for("body[data-page=outcome]");
    assert!(desk.proxy.status()["policies"][0]["shadow"]["digest"].is_string());
    browser.press("main a.button", ENTER);
    browser.press("details:has(form[action='/do/promote']) summary", ENTER);
    browser.fill("form[action='/do/promote'] input[name=reason]", "it was tried");
    browser.press("form[action='/do/promote'] button", ENTER);
    browser.wait_for("body[data-page=outcome]");
    let promoted = live();
    assert_ne!(promoted, before);
    browser.goto(&format!("{base}/try"));
    browser.press("form[action='/do/rollback'] button", ENTER);
    browser.wait_for("body[data-page=outcome]");
    assert_eq!(live(), before);
    for verb in ["try", "shadow", "promote", "rollback"] {
        desk.assert_audited(&[("verb", verb), ("outcome", "done"), ("who", "admin")]);
    }
    desk.assert_audited(&[("verb", "promote"), ("reason", "it was tried")]);
}

#[test]
fn a_configuration_is_tried_without_a_change_and_applied_with_the_old_one_kept() {
    let desk = desk();
    let mut person = desk.person("admin");
    let file = desk.proxy.dir().join("doorward.toml");
    let old = std::fs::read_to_string(&file).expect("the configuration");
    let generation = || desk.proxy.status()["generation"].as_u64();
    let before = generation();
    let send = |person: &mut Client, does: &str, text: &str, more: &[(&str, &str)]| {
        let token = token_of(person);
        let fields = [("token", token.as_str()), ("do", does), ("text", text)];
        let fields: Vec<(&str, &str)> = fields.into_iter().chain(more.iter().copied()).collect();
        person.send(form(person, "/configuration", &fields))
    };
    let broken = old.replace("[[site]]", "[[sight]]");
    let page = send(&mut person, "try", &broken, &[]).expect(200).text();
    assert!(page.contains("would be refused") && page.contains("sight"), "{page}");
    let next = old.replace("name = \"node-a\"", "name = \"node-a\"\nmax-connections = 7");
    let page = send(&mut person, "try", &next, &[]).expect(200).text();
    assert!(page.contains("It has no fault") && page.contains("+ max-connections = 7"), "{page}");
    assert_eq!(generation(), before);
    assert_eq!(std::fs::read_to_string(&file).expect("the configuration"), old);
    // Without a reason it is not applied, and with a fault neither.
    send(&mut person, "apply", &next, &[]).expect(400);
    send(&mut person, "apply", &broken, &[("reason", "a try")]).expect(422);
    assert_eq!(std::fs::read_to_string(&file).expect("the configuration"), old);
    send(&mut person, "apply", &next, &[("reason", "more room")]).expect(200);
    assert_eq!(std::fs::read_to_string(&file).expect("the configuration"), next);
    assert_eq!(std::fs::read_to_string(file.with_added_extension("previous")).expect("the old one"), old);
    assert!(generation() > before);
    let nodes = desk.program("viewer").get("/api/nodes").expect(200).json();
    assert_eq!(nodes["nodes"][0]["max-connections"], 7);
    desk.assert_audited(&[("verb", "apply-configuration"), ("reason", "more room"), ("outcome", "done")]);
}

#[test]
fn a_node_is_drained_on_the_page_and_nobody_new_is_sent_there() {
    let desk = desk();
    let mut person = desk.person("operator");
    let token = token_of(&mut person);
    let press = |person: &mut Client, verb: &str, more: &[(&str, &str)]| {
        let page = person.get("/nodes").expect(200).text();
        let button = harness::forms(&page).into_iter().find(|form| form.action == format!("/do/{verb}"));
        assert!(button.is_some(), "{verb} is not on {page}");
        let fields = [("token", token.as_str()), ("backend", "node-a")];
        let fields: Vec<(&str, &str)> = fields.into_iter().chain(more.iter().copied()).collect();
        person.send(form(person, &format!("/do/{verb}"), &fields)).expect(200)
    };
    press(&mut person, "drain", &[("for", "1h")]);
    assert_eq!(desk.proxy.status()["backends"][0]["draining"], true);
    let refused = post_login(&mut desk.proxy.client(), "/", "alice", "alice-secret");
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(person.get("/nodes").expect(200).text().contains("Drains until"));
    press(&mut person, "undrain", &[]);
    assert_eq!(post_login(&mut desk.proxy.client(), "/", "alice", "alice-secret").status, 303);
    desk.assert_audited(&[("verb", "drain"), ("outcome", "done"), ("who", "operator")]);
}
