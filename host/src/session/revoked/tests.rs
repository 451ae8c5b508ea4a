//! Revocations over restarts, under faults of the file, and between two processes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::files::tests::{Disk, Folder};
use crate::session::Written;

const LIFETIME: u64 = 1000;

fn session(id: u8, user: &str, ago: u64) -> Session {
    let started = seconds_now() - ago;
    let (site, user, backend) = ("a.test".to_owned(), user.to_owned(), "node-a".to_owned());
    let kept = crate::secret::Values::default();
    Written { id: [id; 16], site, user, backend, started, seen: started, kept, shared: false }.into()
}

fn kept_in(path: &Path, past: Past) -> Revoked {
    let revoked = Revoked::default();
    revoked.keep_in(Some(path), LIFETIME, past).unwrap();
    revoked
}

fn revoke(revoked: &Revoked, id: u8) -> Result<()> {
    revoked.revoke(&Revocation::Session([id; 16]), LIFETIME)
}

/// What a process knows that starts now.
fn after_restart(path: &Path) -> Vec<u8> {
    let revoked = kept_in(path, Past::Stays);
    (1..100).filter(|id| revoked.has(&session(*id, "alice", 10))).collect()
}

#[test]
fn sessions_users_and_all_are_revoked_and_a_restart_keeps_it() {
    let folder = Folder::new("revoked");
    let path = folder.0.join("revoked");
    let first = kept_in(&path, Past::Goes);
    revoke(&first, 1).unwrap();
    first.revoke(&Revocation::User("Zoë X".to_owned()), LIFETIME).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"user 5 old\nsession half").unwrap();
    let check = |revoked: &Revoked| {
        assert!(revoked.has(&session(1, "alice", 10)) && !revoked.has(&session(2, "alice", 10)));
        assert!(revoked.has(&session(2, "zoë x", 10)));
        // Whoever logs in after that has a session.
        let later = Session { started: seconds_now() + 5, ..session(2, "zoë x", 0) };
        assert!(!revoked.has(&later));
    };
    check(&first);
    let second = kept_in(&path, Past::Goes);
    check(&second);
    assert!(!std::fs::read_to_string(&path).unwrap().contains("old"));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "also when it was rewritten");
    second.revoke(&Revocation::All, LIFETIME).unwrap();
    assert!(kept_in(&path, Past::Stays).has(&session(3, "carol", 1)));
}

/// Each of these happens while it runs; the next revocation is in the file of that name, with the one before.
#[test]
fn whatever_happens_to_the_file_what_is_said_to_be_in_it_is_in_it() {
    type Fault = fn(&Path);
    let faults: [(&str, Fault); 7] = [
        ("half a line", |path| {
            OpenOptions::new().append(true).open(path).unwrap().write_all(b"session 99999999999 0101").unwrap();
        }),
        ("cut", |path| OpenOptions::new().write(true).open(path).unwrap().set_len(20).unwrap()),
        ("emptied", |path| std::fs::write(path, "").unwrap()),
        ("garbage", |path| std::fs::write(path, [b'x'; 4000]).unwrap()),
        ("other bytes", |path| std::fs::write(path, [0xff, b'\n', 0, b'\n'].repeat(500)).unwrap()),
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("replaced", |path| {
            let other = path.with_extension("other");
            std::fs::write(&other, "all 1\n").unwrap();
            std::fs::rename(other, path).unwrap();
        }),
    ];
    for (what, fault) in faults {
        let folder = Folder::new("revoked-faults");
        let path = folder.0.join("revoked");
        let revoked = kept_in(&path, Past::Goes);
        revoke(&revoked, 1).unwrap();
        fault(&path);
        revoke(&revoked, 2).unwrap();
        assert_eq!(after_restart(&path), [1, 2], "{what}");
        // And without another revocation: a look at the file mends it.
        fault(&path);
        revoked.settle();
        revoked.settle();
        assert_eq!(after_restart(&path), [1, 2], "{what}, and nothing else");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{what}");
    }
}

#[test]
fn what_no_line_is_is_kept_aside_and_told_but_not_believed() {
    let folder = Folder::new("revoked-aside");
    let path = folder.0.join("revoked");
    std::fs::write(&path, "something that somebody needs\n").unwrap();
    let revoked = kept_in(&path, Past::Goes);
    revoke(&revoked, 1).unwrap();
    assert_eq!(after_restart(&path), [1]);
    let kept = std::fs::read_to_string(folder.0.join("revoked.broken")).unwrap();
    assert_eq!(kept, "something that somebody needs\n");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(Revoked::default().keep_in(Some(&path), LIFETIME, Past::Goes).is_err(), "it cannot be read");
}

#[test]
fn a_full_disk_is_told_and_room_again_brings_all_lines() {
    let Some(disk) = Disk::new("revoked-full") else { return };
    let path = disk.path().join("revoked");
    let revoked = kept_in(&path, Past::Goes);
    revoke(&revoked, 1).unwrap();
    disk.fill();
    let failed: Vec<u8> = (2..100).filter(|id| revoke(&revoked, *id).is_err()).collect();
    assert!(!failed.is_empty() && revoked.trouble().is_some());
    assert!(failed.iter().all(|id| revoked.has(&session(*id, "alice", 10))), "they hold all the same");
    disk.make_room();
    revoked.settle();
    assert_eq!(revoked.trouble(), None);
    assert_eq!(after_restart(&path), (1..100).collect::<Vec<u8>>());
}

#[test]
fn two_processes_may_write_to_one_file() {
    let folder = Folder::new("revoked-two");
    let path = folder.0.join("revoked");
    let (one, other) = (kept_in(&path, Past::Goes), kept_in(&path, Past::Goes));
    revoke(&one, 1).unwrap();
    revoke(&other, 2).unwrap();
    one.settle();
    assert!(one.has(&session(2, "alice", 10)) && other.has(&session(1, "alice", 10)));
    std::fs::remove_file(&path).unwrap();
    revoke(&one, 3).unwrap();
    revoke(&other, 4).unwrap();
    assert_eq!(after_restart(&path), [1, 2, 3, 4]);
}

#[test]
fn processes_of_an_upgrade_hear_of_each_other_at_once() {
    let (old, new, newest) = (Revoked::default(), Revoked::default(), Revoked::default());
    // More than a socket holds.
    for n in 0..20_000_u32 {
        let mut id = [0xff; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        old.revoke(&Revocation::Session(id), LIFETIME).unwrap();
    }
    old.end(&session(1, "alice", 10), u64::MAX);
    new.join(old.link().unwrap(), Duration::from_secs(60)).unwrap();
    assert!(new.has(&session(1, "bob", 10)), "what was ended before");
    old.end(&session(2, "alice", 10), u64::MAX);
    assert!(new.has(&session(2, "alice", 10)));
    newest.join(new.link().unwrap(), Duration::from_secs(60)).unwrap();
    assert!(newest.has(&session(2, "alice", 10)));
    newest.revoke(&Revocation::User("Carol".to_owned()), LIFETIME).unwrap();
    assert!(new.has(&session(3, "carol", 10)));
    assert!(old.has(&session(3, "carol", 10)), "by the one between them");
    assert!(new.has_older() && newest.has_older() && !old.has_older());
    drop(old);
    while new.has_older() {
        assert!(!new.has(&session(4, "alice", 10)));
        std::thread::yield_now();
    }
}
