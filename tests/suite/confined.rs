//! Under a root file system that is read-only, as a user without any right: all that Doorward writes is in one folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use harness::{Answer, Setup};

use crate::support::{config, log_in, wait_for_file, webmail};

const SOON: Duration = Duration::from_secs(60);

/// Nobody's number.
const USER: u32 = 64_321;

/// Everything that it writes, below the one folder.
const ALL: &str = r#"state-directory = "state"
[admin]
socket = "state/admin.sock"
audit = "state/audit.jsonl"
[[log.to]]
target = "state/access.log"
what = ["access"]
[[log.to]]
target = "state/decisions.jsonl"
what = ["decision"]
format = "json"
[session]
key-file = "state/session.keys"
revocations-file = "state/revocations"
[tls]
ticket-key-file = "state/ticket.keys"
[[policy]]
name = "device-detection"
asks = "device"
"#;

/// The program as such a user sees it: mounts of its own, of which only the state folder may be written, and no capability.
fn confined(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("confined");
    let text = format!(
        "#!/bin/sh\n\
         exec unshare --mount --propagation private /bin/sh -ec '\n\
         state=$1; shift\n\
         mount --bind \"$state\" \"$state\"\n\
         for at in $(findmnt -rno TARGET | grep -v \"^$state\\$\"); do\n\
           mount -o remount,bind,ro \"$at\" 2>/dev/null || true\n\
         done\n\
         ! touch /usr/not-here 2>/dev/null && ! touch {folder}/not-here 2>/dev/null\n\
         exec setpriv --reuid={USER} --regid={USER} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \\\n\
           {binary} \"$@\"' - {folder}/state \"$@\"\n",
        folder = folder.display(),
        binary = harness::binary().display(),
    );
    std::fs::write(&program, text).expect("a file");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    program
}

#[test]
fn it_serves_under_a_read_only_root_as_a_user_without_rights() {
    if !rustix::process::geteuid().is_root() {
        assert!(
            std::env::var_os("DOORWARD_TESTS_MAY_SKIP").is_some(),
            "only root makes the root file system read-only"
        );
        return;
    }
    let home = harness::temp_dir();
    let node = webmail(|_| Answer::text("inbox"));
    let setup = Setup::with(confined(home.path()));
    let folder = setup.dir().to_owned();
    // The wrapper's folder is the one that it shuts; the state is bound there.
    std::fs::create_dir(home.path().join("state")).expect("a folder");
    let state = home.path().join("state");
    std::os::unix::fs::chown(&state, Some(USER), Some(USER)).expect("root may");
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).expect("its mode");
    for path in [home.path(), &folder] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    let here = |text: &str| text.replace("\"state", &format!("\"{}", state.display()));
    let setup = setup.file("people.ldif", crate::support::PEOPLE).file("test.toml", crate::support::RECIPE);
    let text = config(&here(ALL), &[("node-a", &node, "")]);
    let mut proxy = setup.serve(&text);
    log_in(&proxy, "alice").get("/x").expect(200);
    // A reload with another policy, which is compiled there; what happened is written.
    let more = format!(
        "{ALL}[[policy]]\nname = \"virtual-hosts\"\nasks = \"template\"\n[policy.settings]\ndefault = \"green\"\n"
    );
    proxy.write("doorward.toml", config(&here(&more), &[("node-a", &node, "")]));
    proxy.wait_for_log("reloaded", SOON);
    log_in(&proxy, "alice").get("/y").expect(200);
    wait_for_file(&state.join("access.log"), |text| text.contains(" path=/y "));
    assert!(proxy.terminate().success());
    for name in ["compiled", "generations", "session.keys", "ticket.keys", "revocations", "decisions.jsonl"] {
        assert!(state.join(name).exists(), "{name}");
    }
    let log = proxy.log().join("\n");
    for wrong in ["no compiled code is kept", "cannot be kept", "are not kept", "ERROR"] {
        assert!(!log.contains(wrong), "{log}");
    }
}
