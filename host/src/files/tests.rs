//! Files under faults.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;

/// A folder of its own, which goes at the end.
pub(crate) struct Folder(pub PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("doorward-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A disk of 64 KiB.
pub(crate) struct Disk(Folder);

impl Disk {
    /// None where this user may not mount one, and `DOORWARD_TESTS_MAY_SKIP` says that the test may be passed over.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let folder = Folder::new(name);
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"]).arg(&folder.0).output();
        let is_mounted = mounted.is_ok_and(|output| output.status.success());
        assert!(is_mounted || std::env::var_os("DOORWARD_TESTS_MAY_SKIP").is_some(), "only root mounts a disk");
        is_mounted.then_some(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.0
    }

    /// Takes all of its room.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).unwrap();
        while file.write(&[b'x'; 4096]).is_ok_and(|written| written > 0) {}
    }

    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_file_is_replaced_whole_and_is_its_owners_alone() {
    let folder = Folder::new("files-replace");
    let path = folder.0.join("a");
    std::fs::write(&path, "old").unwrap();
    set_mode(&path, 0o644);
    replace(&path, b"new").unwrap();
    assert_eq!((read_text(&path).unwrap().as_deref(), mode(&path)), (Some("new"), 0o600));
    assert!(!create(&path, b"other").unwrap(), "it is there");
    assert!(create(&folder.0.join("b"), b"made").unwrap());
    assert_eq!((read_text(&folder.0.join("b")).unwrap().as_deref(), mode(&path)), (Some("made"), 0o600));
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 2, "nothing is left beside them");
}

#[test]
fn what_cannot_be_read_is_told_and_is_never_empty() {
    let folder = Folder::new("files-read");
    assert_eq!(read(&folder.0.join("missing")).unwrap(), None);
    assert!(read(&folder.0).is_err(), "a folder");
    assert!(read(Path::new("/dev/zero")).is_err(), "no regular file");
    let path = folder.0.join("a");
    std::fs::write(&path, b"good\n\xff\n").unwrap();
    assert_eq!(read_text(&path).unwrap_err().to_string(), "line 2: bytes that are no UTF-8");
}

#[test]
fn half_a_line_costs_only_itself() {
    let folder = Folder::new("files-half");
    let path = folder.0.join("a");
    std::fs::write(&path, "whole\nhal").unwrap();
    let mut journal = Journal::open(&path, b"!\n").unwrap();
    journal.append_synced(b"one\n").unwrap();
    // Another process writes half a line.
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"ha").unwrap();
    journal.append_synced(b"two\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nhal!\none\nha!\ntwo\n");
}

#[test]
fn lines_go_to_the_file_that_has_the_name() {
    let folder = Folder::new("files-name");
    let path = folder.0.join("a");
    let mut journal = Journal::open(&path, b"\n").unwrap();
    assert_eq!(mode(&path), 0o600);
    journal.append(b"one\n").unwrap();
    std::fs::rename(&path, folder.0.join("a.1")).unwrap();
    assert!(!journal.has_its_name() && journal.follow().unwrap() && journal.has_its_name());
    journal.append(b"two\n").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    assert_eq!(std::fs::read_to_string(folder.0.join("a.1")).unwrap(), "one\n");
}

#[test]
fn a_full_disk_leaves_what_was_there_and_room_again_goes_on() {
    let Some(disk) = Disk::new("files-full") else { return };
    let (whole, lines) = (disk.path().join("whole"), disk.path().join("lines"));
    replace(&whole, b"old").unwrap();
    let mut journal = Journal::open(&lines, b"\n").unwrap();
    journal.append(b"one\n").unwrap();
    disk.fill();
    assert!(replace(&whole, &[b'n'; 5000]).is_err());
    assert_eq!(read_text(&whole).unwrap().as_deref(), Some("old"));
    let long = [vec![b'l'; 6000], b"\n".to_vec()].concat();
    let broken = journal.append(&long).unwrap_err();
    assert_eq!(broken.error.kind(), ErrorKind::StorageFull);
    disk.make_room();
    journal.append(b"two\n").unwrap();
    replace(&whole, b"new").unwrap();
    let text = std::fs::read_to_string(&lines).unwrap();
    assert!(text.starts_with("one\n") && text.ends_with("\ntwo\n"), "{}", &text[text.len() - 20..]);
    assert_eq!(text.len(), 4 + broken.written + usize::from(broken.written > 0) + 4);
    assert_eq!(read_text(&whole).unwrap().as_deref(), Some("new"));
}

#[test]
fn a_folder_that_is_not_ours_alone_is_told_with_the_reason() {
    let folder = Folder::new("files-folder");
    let state = folder.0.join("state");
    own_folder(&state).unwrap();
    assert_eq!(mode(&state), 0o700);
    set_mode(&state, 0o755);
    assert_eq!(own_folder(&state).unwrap_err().to_string(), "its mode is 0755, and must be 0700");
    std::fs::write(folder.0.join("file"), "x").unwrap();
    assert!(own_folder(&folder.0.join("file")).is_err());
}
