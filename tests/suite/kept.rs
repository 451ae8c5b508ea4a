//! Each file that Doorward keeps under each fault: what is broken is told with its place, and what runs keeps what it has.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Answer, Backend, Guest, Proxy};

use crate::support::{config, log_in, setup, wait_for_file, webmail};

const LONG: Duration = Duration::from_secs(30);

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Cut,
    Emptied,
    Garbage,
    Removed,
    Replaced,
    NoFile,
}

const FAULTS: [Fault; 6] = [Fault::Cut, Fault::Emptied, Fault::Garbage, Fault::Removed, Fault::Replaced, Fault::NoFile];

impl Fault {
    fn happens_to(self, path: &Path) {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let other = path.with_extension("other");
        let done = match self {
            Self::Cut => std::fs::write(path, &bytes[..bytes.len() - bytes.len() / 3 - 1]),
            Self::Emptied => std::fs::write(path, ""),
            Self::Garbage => std::fs::write(path, [0xff, b'x', 0, b'\n'].repeat(bytes.len() / 4 + 100)),
            Self::Removed => std::fs::remove_file(path),
            Self::Replaced => {
                std::fs::write(&other, "what nobody expects here\n").and_then(|()| std::fs::rename(other, path))
            }
            Self::NoFile => std::fs::remove_file(path).and_then(|()| std::fs::create_dir(path)),
        };
        done.unwrap_or_else(|error| panic!("{self:?} {}: {error}", path.display()));
    }
}

/// A front door whose files are in a folder that outlives it.
struct House {
    node: Backend,
    folder: PathBuf,
}

impl House {
    fn new(folder: &Path) -> Self {
        std::fs::DirBuilder::new().create(folder.join("state")).expect("a folder");
        std::fs::set_permissions(folder.join("state"), std::fs::Permissions::from_mode(0o700)).expect("a mode");
        std::fs::write(folder.join("state/quarantine.json"), "{\"00ff\": \"went bad\"}").expect("a file");
        Self { node: webmail(|_| Answer::text("inbox")), folder: folder.to_owned() }
    }

    fn text(&self) -> String {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let text = format!(
            "state-directory = \"{}\"\n[admin]\nsocket = \"admin.sock\"\n[tls]\nticket-key-file = \"{}\"\n\
             [session]\nkey-file = \"{}\"\nrevocations-file = \"{}\"\n[[log.to]]\nwhat = [\"access\"]\ntarget = \"{}\"\n\
             [[log.to]]\nwhat = [\"decision\"]\nformat = \"json\"\ntarget = \"{}\"\n\
             [[policy]]\nname = \"look\"\nasks = \"template\"\nfile = \"look.wasm\"\ndecisions = \"full\"\nmemo = \"0B\"\n",
            at("state"),
            at("ticket.keys"),
            at("session.keys"),
            at("revoked"),
            at("access.log"),
            at("decisions.jsonl"),
        );
        config(&text, &[("node-a", &self.node, "")])
    }

    fn setup(&self) -> harness::Setup {
        setup().file("look.wasm", Guest::template("green").build())
    }

    fn start(&self) -> Proxy {
        self.setup().serve(&self.text())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The entry of compiled code.
    fn code(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.path("state/compiled")).expect("a folder");
        let mut entries = entries.map(|entry| entry.expect("an entry").path());
        entries.find(|path| path.extension().is_some_and(|end| end == "code")).expect("compiled code")
    }
}

fn revoke(proxy: &Proxy, number: u8) {
    let (status, body) = proxy.admin("POST", &format!("/revoke?session={number:032x}"));
    assert_eq!((status, body.trim()), (200, "{\"revoked\":true}"));
}

fn lives(proxy: &Proxy, cookie: &str) -> bool {
    proxy.client().header("Cookie", cookie).get("/x").expect(200).text() == "inbox"
}

fn cookie(proxy: &Proxy) -> String {
    format!("doorward={}", log_in(proxy, "alice").cookie("doorward").expect("a session"))
}

/// How many targets of the log cannot be written.
fn troubles(status: &serde_json::Value) -> usize {
    status["logs"].as_array().expect("a list").iter().filter(|log| log["trouble"].is_string()).count()
}

#[test]
fn every_file_under_every_fault() {
    for fault in FAULTS {
        let folder = harness::temp_dir();
        let house = House::new(folder.path());
        let proxy = house.start();
        let (alive, ended) = (cookie(&proxy), cookie(&proxy));
        let mut client = proxy.client().header("Cookie", &ended);
        client.get("/logout");
        revoke(&proxy, 1);
        wait_for_file(&house.path("revoked"), |text| text.lines().count() == 2);
        wait_for_file(&house.path("decisions.jsonl"), |text| text.lines().count() > 1);
        wait_for_file(&house.path("access.log"), |text| text.lines().count() > 3);
        let kept: Vec<(PathBuf, Vec<u8>)> = ["session.keys", "ticket.keys"]
            .map(|name| (house.path(name), std::fs::read(house.path(name)).expect("keys")))
            .into();
        for name in [
            "session.keys",
            "ticket.keys",
            "revoked",
            "state/quarantine.json",
            "state/compiled/key",
            "access.log",
            "decisions.jsonl",
        ] {
            let path = house.path(name);
            // A log that is a folder is one that cannot be made: tried below.
            if fault == Fault::NoFile && name.contains('.') && !name.contains("keys") && !name.contains("json") {
                continue;
            }
            fault.happens_to(&path);
        }
        fault.happens_to(&house.code());
        while_it_runs(&house, &proxy, fault, (&alive, &ended));
        after_a_restart(&house, proxy, fault, (&alive, &ended), &kept);
    }
}

fn while_it_runs(house: &House, proxy: &Proxy, fault: Fault, (alive, ended): (&str, &str)) {
    assert!(lives(proxy, alive) && !lives(proxy, ended), "{fault:?}");
    let (status, told) = proxy.admin("POST", "/reload");
    assert_eq!(status, 422, "{fault:?}: {told}");
    assert!(told.contains("session.keys") && told.contains("ticket.keys"), "{fault:?}: {told}");
    assert!(lives(proxy, alive) && !lives(proxy, ended), "{fault:?}");
    proxy.client().get("/after-the-fault").expect(200);
    if fault == Fault::NoFile {
        // It cannot be written: that is told, and what is known holds.
        assert_eq!(proxy.admin("POST", "/revoke?session=00000000000000000000000000000002").0, 500);
        let files = proxy.wait_for_status("troubles are told", |status| status["files"]["revocations"].is_string());
        assert!(troubles(&files) > 0, "{files}");
        std::fs::remove_dir(house.path("revoked")).expect("a folder");
        std::fs::remove_dir(house.path("decisions.jsonl")).expect("a folder");
        // The quarantine's is put aside. Compiled code does without its key, and that is told at the start.
        std::fs::remove_dir(house.path("state/compiled/key")).expect("a folder");
        std::fs::remove_dir(house.code()).expect("a folder");
    } else {
        revoke(proxy, 2);
    }
    wait_for_file(&house.path("revoked"), |text| {
        text.contains(&format!("{:032x}", 2)) && text.contains(&format!("{:032x}", 1))
    });
    wait_for_file(&house.path("access.log"), |text| {
        text.lines().any(|line| line.contains(" INFO access ") && line.contains("/after-the-fault"))
    });
    wait_for_file(&house.path("decisions.jsonl"), |text| {
        text.ends_with("}\n") && text.lines().any(|line| line.starts_with("{\"asks\""))
    });
    wait_for_file(&house.path("state/quarantine.json"), |text| text.contains("00ff") && text.ends_with('}'));
    let troubles = proxy.wait_for_status("all is well again", |status| {
        status["files"].as_object().expect("a table").values().all(serde_json::Value::is_null)
    });
    assert_eq!(troubles["quarantine"]["sha256:00ff"], "went bad", "{fault:?}");
}

fn after_a_restart(
    house: &House,
    mut proxy: Proxy,
    fault: Fault,
    (alive, ended): (&str, &str),
    kept: &[(PathBuf, Vec<u8>)],
) {
    assert!(proxy.terminate().success(), "{fault:?}");
    let mut log = String::new();
    if fault != Fault::Removed {
        let ran = house.setup().refused(&house.text());
        assert!(ran.stderr.contains("session.keys"), "{fault:?}: {}", ran.stderr);
        log = ran.stderr;
    }
    for (path, bytes) in kept {
        let _ = std::fs::remove_dir(path);
        std::fs::write(path, bytes).expect("keys");
    }
    let proxy = house.start();
    assert!(lives(&proxy, alive) && !lives(&proxy, ended), "{fault:?}");
    let status = proxy.status();
    assert_eq!(status["quarantine"]["sha256:00ff"], "went bad", "{fault:?}");
    // The code was not believed, and there is new one.
    if !log.contains("compiled a policy") {
        proxy.wait_for_log("compiled a policy", LONG);
    }
    let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    for name in ["revoked", "state/quarantine.json", "state/compiled/key", "decisions.jsonl"] {
        // Who replaces a log gives it the mode that it is to have.
        let whose = if name == "decisions.jsonl" && fault == Fault::Replaced { 0o644 } else { 0o600 };
        assert_eq!(mode(&house.path(name)), whose, "{fault:?} {name}");
    }
    assert_eq!(mode(&house.code()), 0o600);
}

/// A disk of 8 MiB; none where this user may not mount one.
struct Disk(harness::TempDir);

impl Disk {
    /// None where this user may not mount one, and `DOORWARD_TESTS_MAY_SKIP` says that the test may be passed over.
    fn new() -> Option<Self> {
        let folder = harness::temp_dir();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder.path()).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        assert!(is_mounted || std::env::var_os("DOORWARD_TESTS_MAY_SKIP").is_some(), "only root mounts a disk");
        is_mounted.then_some(Self(folder))
    }

    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.path().join("filler")).expect("a file");
        while file.write(&[b'x'; 4096]).is_ok_and(|written| written > 0) {}
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_and_room_again() {
    let Some(disk) = Disk::new() else { return };
    let house = House::new(disk.0.path());
    let proxy = house.start();
    let alive = cookie(&proxy);
    revoke(&proxy, 1);
    disk.fill();
    // Half a page may be left in each file.
    let long = "x".repeat(6000);
    let mut asked = 0;
    let failing = |status: &serde_json::Value| troubles(status) == 2;
    while !failing(&proxy.status()) {
        proxy.client().header("Cookie", &alive).get(&format!("/full-{asked}-{long}")).expect(200);
        asked += 1;
    }
    let refused: Vec<u8> =
        (2..200).filter(|number| proxy.admin("POST", &format!("/revoke?session={number:032x}")).0 == 500).collect();
    assert!(!refused.is_empty(), "{}", proxy.status());
    assert!(lives(&proxy, &alive), "it serves on");
    std::fs::remove_file(disk.0.path().join("filler")).expect("room");
    // Nothing is lost: all was within the bounds of what waits.
    let log = wait_for_file(&house.path("access.log"), |text| {
        (0..asked).all(|n| text.contains(&format!("path=/full-{n}-{long} status")))
    });
    assert!(log.lines().filter(|line| line.contains(" INFO access ")).count() >= asked, "{asked}");
    wait_for_file(&house.path("revoked"), |text| (1..200).all(|number| text.contains(&format!("{number:032x}"))));
    proxy.wait_for_status("all is well again", |status| {
        status["files"].as_object().expect("a table").values().all(serde_json::Value::is_null) && troubles(status) == 0
    });
    let lost = |log: &serde_json::Value| log["lost"].as_u64().expect("a number");
    assert_eq!(proxy.status()["logs"].as_array().expect("a list").iter().map(lost).sum::<u64>(), 0);
}

#[test]
fn a_start_with_a_component_under_quarantine_serves_without_it() {
    let folder = harness::temp_dir();
    let house = House::new(folder.path());
    let proxy = house.start();
    let digest = proxy.status()["policies"][0]["digest"].as_str().expect("a digest").to_owned();
    let bare = digest.trim_start_matches("sha256:");
    drop(proxy);
    std::fs::write(house.path("state/quarantine.json"), format!("{{\"{bare}\": \"went bad\"}}")).expect("a file");
    // `check` knows it, and the start does not die of it.
    let setup = house.setup().file("doorward.toml", house.text());
    let ran = setup.run(&["check", "--config", "doorward.toml"]);
    assert!(!ran.status.success() && ran.stdout.contains("under quarantine"), "{ran:?}");
    let proxy = house.start();
    proxy.wait_for_log("a policy is under quarantine: it is not asked", LONG);
    let look = |proxy: &Proxy| crate::support::body_attribute(&proxy.client().get("/").expect(200).text(), "data-look");
    assert_eq!(look(&proxy), "blue", "the site's own look: on-error holds");
    assert_eq!(proxy.status()["policies"][0]["breaker"]["open"], true);
    assert_eq!(proxy.admin("POST", "/reload").0, 422);
    assert_eq!(proxy.admin("POST", &format!("/lift?digest={digest}")).0, 200);
    assert_eq!(proxy.admin("POST", "/reload").0, 200);
    assert_eq!(look(&proxy), "green");
}

/// Nobody.
const USER: u32 = 65534;

#[test]
fn files_of_another_user_are_told_and_what_mends_them_is_seen() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let own = |path: &Path, user: u32| std::os::unix::fs::chown(path, Some(user), Some(user)).expect("root may");
    let set = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("root may");
    };
    let folder = harness::temp_dir();
    own(folder.path(), USER);
    // Where this user gets at it, wherever it was built.
    let program = folder.path().join("doorward");
    std::fs::copy(harness::binary(), &program).expect("a copy");
    let house = House::new(folder.path());
    own(&house.path("state"), USER);
    own(&house.path("state/quarantine.json"), USER);
    let setup = || {
        let setup = crate::support::setup_with(&program).file("look.wasm", Guest::template("green").build());
        setup.user(USER)
    };
    let proxy = setup().serve(&house.text());
    let alive = cookie(&proxy);
    revoke(&proxy, 1);
    // While it runs: a file of the configuration that another user has, and another mode, mended by nothing else.
    let people = proxy.dir().join("people.ldif");
    let refused = |proxy: &Proxy| {
        let (status, told) = proxy.admin("POST", "/reload");
        assert!(status == 422 && told.contains("people.ldif"), "{told}");
    };
    let mended = |proxy: &Proxy| {
        proxy.wait_for_status("it is mended", |status| status["last-reload"]["good"] == true);
    };
    set(&people, 0o600);
    refused(&proxy);
    set(&people, 0o644);
    mended(&proxy);
    set(&people, 0o600);
    refused(&proxy);
    own(&people, USER);
    mended(&proxy);
    assert!(lives(&proxy, &alive));
    let mut proxy = proxy;
    assert!(proxy.terminate().success());
    // At a start: each is told by its name. Root's tools leave files to whom they belong.
    for name in ["session.keys", "ticket.keys", "revoked", "access.log", "decisions.jsonl"] {
        let path = house.path(name);
        own(&path, 0);
        set(&path, 0o600);
        let ran = setup().refused(&house.text());
        assert!(ran.stderr.contains(name) && ran.stderr.contains("Permission denied"), "{name}: {}", ran.stderr);
        own(&path, USER);
    }
    let keys = house.path("session.keys");
    let ran = harness::Setup::new().run(&["keys", "rotate", &keys.display().to_string()]);
    assert!(ran.status.success(), "{ran:?}");
    own(&house.path("state/quarantine.json"), 0);
    set(&house.path("state/quarantine.json"), 0o600);
    let proxy = setup().serve(&house.text());
    assert!(lives(&proxy, &alive), "with the keys that root rotated");
    proxy.wait_for_log("quarantine.json: Permission denied", LONG);
    assert!(
        folder.path().join("state/quarantine.json.broken").exists()
            || proxy.status()["files"]["quarantine"].is_string()
    );
}
