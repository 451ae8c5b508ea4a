//! `doorward init`: the configuration that it writes runs, asked for on a terminal or told by options; nothing is lost.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Answer, Backend, Setup};

use crate::support::{log_in, setup, wait_for_file, webmail};

const LISTEN: [&str; 6] = ["--host", "localhost", "--listen", "127.0.0.1:0", "--config", "doorward.toml"];

fn node() -> (Backend, String) {
    let node = webmail(|_| Answer::text("inbox"));
    let named = format!("node-a={}", node.url());
    (node, named)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o7777
}

#[test]
fn what_it_writes_runs_and_lets_somebody_in() {
    let (_node, named) = node();
    let alice = "dn: uid=alice,dc=test\nuid: alice\nmailHost: node-a\nuserPassword: alice-secret\n";
    let setup = setup().file("alice.ldif", alice);
    let options =
        ["init", "--host", "*", "--plain", "--ldif", "alice.ldif", "--backend", &named, "--recipe", "./test.toml"];
    let ran = setup.run(&[&options[..], &LISTEN[..]].concat());
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("doorward serve --config"), "what to do next: {}", ran.stdout);
    assert_eq!(mode(&setup.dir().join("doorward.toml")), 0o640);
    assert_eq!(mode(&setup.dir().join("state")), 0o700);
    let checked = setup.run(&["check", "--strict", "--config", "doorward.toml"]);
    assert!(checked.status.success(), "not even a warning: {}", checked.stdout);
    let proxy = setup.serve_again();
    let mut alice = log_in(&proxy, "alice");
    assert_eq!(alice.get("/inbox").expect(200).text(), "inbox");
    // The logs are beside the configuration, and what operators do is kept.
    wait_for_file(&proxy.dir().join("login.log"), |text| text.contains("login ") && text.contains("client=127.0.0.1"));
    wait_for_file(&proxy.dir().join("access.log"), |text| text.contains("path=/inbox"));
    let file = proxy.dir().join("doorward.toml").display().to_string();
    assert!(Setup::new().run(&["ctl", "--config", &file, "reload"]).status.success());
    wait_for_file(&proxy.dir().join("state/audit.jsonl"), |text| text.contains("reload"));
}

#[test]
fn a_certificate_of_its_own_is_served_at_once() {
    let (_node, named) = node();
    let setup = setup();
    let options = ["init", "--self-signed", "--ldif", "people.ldif", "--backend", &named, "--recipe", "./test.toml"];
    let ran = setup.run(&[&options[..], &LISTEN[..]].concat());
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(mode(&setup.dir().join("certificate.key")), 0o600);
    let ca = std::fs::read(setup.dir().join("certificate.pem")).expect("a certificate");
    let proxy = setup.serve_again();
    let curl = |extra: &[&str]| {
        let port = proxy.address("public").port();
        let mut command = Command::new("curl");
        command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"]).args(extra);
        let out = command.arg(format!("https://localhost:{port}/")).output().expect("curl");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let file = proxy.dir().join("ca.pem");
    std::fs::write(&file, ca).expect("a file");
    assert_eq!(curl(&["--cacert", &file.display().to_string()]), "200", "it names the host");
    assert_eq!(curl(&[]), "000", "nobody else has signed it");
}

#[test]
fn every_answer_that_is_missing_is_named_where_nobody_can_be_asked() {
    let ran = Setup::new().run(&["init", "--config", "doorward.toml"]);
    assert_eq!(ran.status.code(), Some(1));
    for option in ["--host", "--certificate", "--ldap", "--backend", "--recipe"] {
        assert!(ran.stderr.contains(option), "{option}: {}", ran.stderr);
    }
}

#[test]
fn a_configuration_with_faults_is_not_written_and_an_old_one_is_not_lost() {
    let setup = setup().file("doorward.toml", "# mine\n").file("certificate.key", "# my key\n");
    let good =
        ["init", "--self-signed", "--ldif", "people.ldif", "--backend", "a=http://127.0.0.1:1/", "--recipe", "basic"];
    let run = |options: &[&str]| setup.run(&[options, &LISTEN[..]].concat());
    let read = |name: &str| std::fs::read_to_string(setup.dir().join(name)).unwrap_or_default();
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(setup.dir())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .filter(|name| name != ".cache")
            .collect();
        names.sort();
        names
    };
    let before = names();

    let ran = run(&good);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("--force"), "{}", ran.stderr);
    assert_eq!((read("doorward.toml"), names()), ("# mine\n".to_owned(), before.clone()));

    let mut wrong = good.to_vec();
    wrong[3] = "no-such.ldif";
    wrong.push("--force");
    let ran = run(&wrong);
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stdout);
    assert!(ran.stderr.contains("directory.file") && ran.stderr.contains("doorward.toml:"), "{}", ran.stderr);
    assert_eq!((read("doorward.toml"), names()), ("# mine\n".to_owned(), before), "as it was");
    assert_eq!(read("certificate.key"), "# my key\n");

    let ran = run(&[&good[..], &["--force"]].concat());
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert!(read("doorward.toml").contains("[[listener]]"));
    assert_eq!(read("doorward.toml.previous"), "# mine\n");
    assert_eq!(read("certificate.key.previous"), "# my key\n");
}

/// `script` of util-linux gives it a terminal.
#[test]
fn on_a_terminal_it_asks() {
    let (_node, named) = node();
    let setup = setup();
    let program = harness::binary();
    let command = format!("{} init --config doorward.toml --listen 127.0.0.1:0", program.display());
    let mut script = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(setup.dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script");
    let answers =
        ["localhost", "plain", "", "ldap://127.0.0.1:1", "dc=test", "cn=reader,dc=test", "se\"cret", &named, "basic"];
    let mut input = script.stdin.take().expect("a pipe");
    for answer in answers {
        std::io::Write::write_all(&mut input, format!("{answer}\n").as_bytes()).expect("it reads");
    }
    let out = script.wait_with_output().expect("its end");
    drop(input);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{said}");
    let secret = setup.dir().join("ldap.secret");
    assert_eq!(std::fs::read_to_string(&secret).expect("the password"), "se\"cret");
    assert_eq!(mode(&secret), 0o600);
    let text = std::fs::read_to_string(setup.dir().join("doorward.toml")).expect("a configuration");
    assert!(text.contains("base = \"dc=test\"") && text.contains("bind-dn = \"cn=reader,dc=test\""), "{text}");
    assert!(!text.contains("se\"cret") && !text.contains("se\\\"cret"), "the password is in a file of its own");
    assert!(setup.run(&["check", "--config", "doorward.toml"]).status.success());
}

/// The service's group reads what root wrote, where the folder says so: as the package makes `/etc/doorward`.
#[test]
fn a_folder_that_hands_its_group_on_lets_the_service_read_the_secrets() {
    let (_node, named) = node();
    let setup = setup();
    let folder = setup.dir().join("etc");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o2750)).expect("its mode");
    let options = ["init", "--self-signed", "--host", "localhost", "--ldif", "people.ldif", "--backend", &named];
    let ran = setup.run(&[&options[..], &["--recipe", "basic", "--config", "etc/doorward.toml"]].concat());
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(mode(&folder.join("certificate.key")), 0o640);
}
