//! Generations that are kept over a restart.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use harness::{Answer, Backend, Guest, Proxy};

use crate::support::{body_attribute, config, setup, wait_for_file, webmail};

const SOON: Duration = Duration::from_secs(60);

/// With a policy that is through its probation at once.
fn text(node: &Backend, more: &str) -> String {
    let text = format!(
        "state-directory = \"state\"\n{more}[admin]\nsocket = \"admin.sock\"\n\
         [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"inner\"\naddress = \"unix:inner.sock\"\n[[policy]]\nname = \"look\"\n\
         asks = \"template\"\nfile = \"look.wasm\"\n[policy.breaker]\nwatch = \"1ms\"\n"
    );
    config(&text, &[("node-a", node, "")])
}

/// Two generations, which both went well: the look is blue in the first one, and green in the second.
fn two() -> (Backend, Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = setup().file("look.wasm", Guest::template("blue").build()).serve(&text(&node, ""));
    wait_until_it_went_well(&proxy, 1);
    proxy.write("look.wasm", Guest::template("green").build());
    let (status, body) = proxy.admin("POST", "/reload");
    assert_eq!(status, 200, "{body}");
    wait_until_it_went_well(&proxy, 2);
    (node, proxy)
}

fn wait_until_it_went_well(proxy: &Proxy, generation: u64) {
    let manifest = proxy.dir().join(format!("state/generations/{generation}/manifest.json"));
    wait_for_file(&manifest, |text| text.contains("\"went-well\": true"));
}

fn look(proxy: &Proxy) -> String {
    body_attribute(&proxy.client().get("/").expect(200).text(), "data-look")
}

#[test]
fn a_start_whose_files_are_refused_serves_the_last_good_generation_until_they_are_mended() {
    type Fault = fn(&Path, &str);
    let faults: [(&str, Fault); 4] = [
        ("half-written configuration", |folder, text| {
            std::fs::write(folder.join("doorward.toml"), &text[..text.len() / 2]).expect("a file");
        }),
        ("no component", |folder, _| std::fs::remove_file(folder.join("look.wasm")).expect("a file")),
        ("half a component", |folder, _| {
            let whole = std::fs::read(folder.join("look.wasm")).expect("a file");
            std::fs::write(folder.join("look.wasm"), &whole[..whole.len() / 2]).expect("a file");
        }),
        ("no recipe", |folder, _| std::fs::remove_file(folder.join("test.toml")).expect("a file")),
    ];
    for (what, fault) in faults {
        let (node, proxy) = two();
        let setup = proxy.stop();
        let (whole, recipe) = (text(&node, ""), std::fs::read(setup.dir().join("test.toml")).expect("a file"));
        fault(setup.dir(), &whole);
        let strict = setup.run(&["serve", "--config", "doorward.toml", "--strict"]);
        assert!(!strict.status.success(), "{what}: {strict:?}");
        let proxy = setup.serve_again();
        proxy.wait_for_log("the files are refused, and the last good generation serves", SOON);
        assert_eq!((look(&proxy).as_str(), proxy.generation()), ("green", 2), "{what}");
        let status = proxy.status();
        assert_eq!(status["fallback"]["generation"], 2, "{what}: {status:#}");
        assert_eq!(status["last-reload"]["good"], false, "{what}");
        assert!(proxy.admin("GET", "/metrics").1.contains("\ndoorward_fallback 1\n"), "{what}");
        // It goes on trying the files: when asked to, and when one of them changes.
        assert_eq!(proxy.admin("POST", "/reload").0, 422, "{what}");
        proxy.write("test.toml", &recipe);
        proxy.write("look.wasm", Guest::template("blue").build());
        proxy.write("doorward.toml", text(&node, "drain-timeout = \"7s\"\n"));
        proxy.wait_for_status("the files", |status| status["generation"] != 2 && status["last-reload"]["good"] == true);
        assert!(proxy.status()["fallback"].is_null(), "{what}");
        assert_eq!(look(&proxy), "blue", "{what}");
        assert!(proxy.admin("GET", "/metrics").1.contains("\ndoorward_fallback 0\n"), "{what}");
    }
}

#[test]
fn a_configuration_that_is_missing_is_found_by_the_state_directory_of_systemd() {
    let (_node, proxy) = two();
    let setup = proxy.stop();
    std::fs::remove_file(setup.dir().join("doorward.toml")).expect("a file");
    let state = setup.dir().join("state").display().to_string();
    let proxy = setup.env("STATE_DIRECTORY", &state).serve_again();
    assert_eq!((look(&proxy).as_str(), proxy.generation()), ("green", 2));
}

#[test]
fn a_component_under_quarantine_is_not_started_with_where_there_is_a_good_generation_without_it() {
    let (_node, proxy) = two();
    let status = proxy.status();
    let digest = status["policies"][0]["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
    let quarantine = format!("{{{:?}: \"went bad\"}}", digest.expect("a digest"));
    let setup = proxy.stop();
    let proxy = setup.file("state/quarantine.json", quarantine).serve_again();
    proxy.wait_for_log("the files are refused, and the last good generation serves", SOON);
    assert_eq!((look(&proxy).as_str(), proxy.generation()), ("blue", 1), "the last one has the component too");
    // Strictly, as the files say: without it.
    let setup = proxy.stop().arg("--strict");
    let proxy = setup.serve_again();
    proxy.wait_for_log("a policy is under quarantine: it is not asked", SOON);
    assert!(proxy.status()["fallback"].is_null());
}

#[test]
fn what_was_tampered_with_is_passed_over_and_so_is_what_is_not_there_yet() {
    let (_node, proxy) = two();
    let status = proxy.status();
    let digest = status["policies"][0]["digest"].as_str().expect("a digest").replace("sha256:", "");
    let setup = proxy.stop();
    let component = format!("state/generations/policies/{digest}.wasm");
    let setup = setup.file(&component, Guest::template("own").build()).file("look.wasm", "no component");
    let proxy = setup.serve_again();
    proxy.wait_for_log("a kept generation cannot be used.*digest", SOON);
    assert_eq!((look(&proxy).as_str(), proxy.generation()), ("blue", 1));
    let setup = proxy.stop();
    std::fs::remove_dir_all(setup.dir().join("state/generations/policies")).expect("a folder");
    let refused = setup.run(&["serve", "--config", "doorward.toml"]);
    assert!(!refused.status.success() && refused.stderr.contains("look.wasm"), "{refused:?}");
}

#[test]
fn a_rollback_reaches_generations_from_before_a_restart() {
    let (_node, proxy) = two();
    let proxy = proxy.stop().serve_again();
    let status = proxy.status();
    assert_eq!((proxy.generation(), &status["past"]), (2, &serde_json::json!([1])), "{status:#}");
    assert_eq!(status["history"][0]["generation"], 1, "{status:#}");
    let (status, body) = proxy.admin("POST", "/rollback");
    assert_eq!((status, body.trim()), (200, "{\"generation\":1}"));
    assert_eq!(look(&proxy), "blue");
    // And back, to the one in memory.
    assert_eq!(proxy.admin("POST", "/rollback").1.trim(), "{\"generation\":2}");
    assert_eq!(look(&proxy), "green");
    // A number is not given twice.
    proxy.write("look.wasm", Guest::template("own").build());
    assert_eq!(proxy.admin("POST", "/rollback?generation=3").0, 409);
}

#[test]
fn an_upgrade_does_not_take_over_with_an_old_generation() {
    let (node, proxy) = two();
    proxy.write("doorward.toml", &text(&node, "")[..200]);
    let (status, body) = proxy.admin("POST", "/upgrade");
    assert_eq!(status, 409, "{body}");
    assert_eq!((look(&proxy).as_str(), proxy.status()["generation"].as_u64()), ("green", Some(2)));
}

#[test]
fn a_state_folder_that_cannot_be_written_is_told_and_hinders_nothing() {
    let node = webmail(|_| Answer::text("inbox"));
    let setup = setup().file("look.wasm", Guest::template("blue").build()).file("state/x", "");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(setup.dir().join("state"), mode).expect("a mode");
    let proxy = setup.serve(&text(&node, ""));
    proxy.wait_for_log("generations are not kept over a restart", SOON);
    let status = proxy.status();
    assert!(status["files"]["generations"].as_str().is_some_and(|why| why.contains("0700")), "{status:#}");
    assert_eq!(look(&proxy), "blue");
}
