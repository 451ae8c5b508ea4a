//! Kept generations under faults.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::files::tests::{Disk, Folder};
use crate::snapshot::load_at_rest;

/// A configuration with a policy, a template and a recipe, in a folder of its own.
struct House(Folder);

const TEXT: &str = "templates = \"looks\"\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"*\"]\n\
    [[backend]]\nname = \"a\"\nurl = \"http://127.0.0.1:1\"\nrecipe = \"a.toml\"\n\
    [[policy]]\nname = \"look\"\nasks = \"template\"\nfile = \"look.wasm\"\n[directory]\nfile = \"people.ldif\"\n";

impl House {
    fn new(name: &str) -> Self {
        let house = Self(Folder::new(name));
        std::fs::create_dir_all(house.0.0.join("looks/own/desktop")).unwrap();
        for (file, text) in [
            ("doorward.toml", TEXT),
            ("a.toml", "recipe"),
            ("look.wasm", "component"),
            ("looks/own/desktop/login.html", "page"),
            ("people.ldif", "dn: uid=alice"),
        ] {
            std::fs::write(house.0.0.join(file), text).unwrap();
        }
        house
    }

    fn file(&self) -> PathBuf {
        self.0.0.join("doorward.toml")
    }

    /// Keeps what the files say as this generation, which is live.
    fn keep(&self, store: &Store, generation: u64) {
        let (config, fingerprint) = load_at_rest(|| config::load(&self.file())).unwrap();
        let life = Life { generation, since: generation, reason: "reload".into() };
        store.keep(&config, &fingerprint.unwrap(), &life);
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.0.0.join(file), text).unwrap();
    }
}

fn numbers(store: &Store) -> Vec<u64> {
    store.went_well().iter().map(|life| life.generation).collect()
}

#[test]
fn what_is_kept_is_what_was_read_whatever_becomes_of_the_files() {
    let (house, state) = (House::new("store-kept"), Folder::new("store-kept-state"));
    let store = Store::open(Some(&state.0), &house.file());
    house.keep(&store, 1);
    assert_eq!((store.has(1), numbers(&store)), (Some(false), vec![]), "it has to go well first");
    store.note_went_well(1);
    for file in ["look.wasm", "a.toml", "looks/own/desktop/login.html"] {
        house.write(file, "other");
    }
    std::fs::remove_file(house.file()).unwrap();
    let store = Store::open(Some(&state.0), &house.file());
    assert_eq!(numbers(&store), [1]);
    let config = store.load(1).unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(config.policies[0].file.as_ref().unwrap()), "component");
    assert_eq!(read(Path::new(&config.backends[0].recipe)), "recipe");
    assert_eq!(read(&config.templates.as_ref().unwrap().join("own/desktop/login.html")), "page");
    // Who the users are is what the list says now.
    assert!(config.files().contains(&house.0.0.join("people.ldif")));
    assert_eq!(config.place.file(), house.file());
    // All of it is ours alone.
    for path in files::below(&state.0.join("generations")) {
        let metadata = std::fs::metadata(&path).unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, wanted, "{}", path.display());
    }
}

#[test]
fn what_is_known_of_a_policy_of_a_registry_is_kept_with_it() {
    let (house, state) = (House::new("store-remote"), Folder::new("store-remote-state"));
    let manifest = doorward_registry::Digest::of(b"manifest");
    let reference = format!("r.test/mail/look@{manifest}");
    let head = format!("state-directory = \"{}\"\n", state.0.display());
    house.write(
        "doorward.toml",
        &(head + &TEXT.replace("file = \"look.wasm\"", &format!("file = \"oci://{reference}\""))),
    );
    files::own_folder(&state.0.join("registry")).unwrap();
    let component = state.0.join("registry").join(format!("{}.wasm", manifest.hex()));
    std::fs::write(&component, "component").unwrap();
    let known = Provenance {
        reference: format!("oci://{reference}"),
        repository: "r.test/mail/look".into(),
        manifest: manifest.to_string(),
        version: Some("1.5".into()),
        signed_by: vec!["ops".into()],
    };
    let store = Store::open(Some(&state.0), &house.file());
    let (mut config, fingerprint) = load_at_rest(|| config::load(&house.file())).unwrap();
    config.policies[0].remote.as_mut().unwrap().provenance = Some(known.clone());
    store.keep(&config, &fingerprint.unwrap(), &Life::now(1, "start"));
    store.note_went_well(1);
    std::fs::write(&component, "other").unwrap();
    let store = Store::open(Some(&state.0), &house.file());
    let policy = store.load(1).unwrap().policies.remove(0);
    assert_eq!(std::fs::read_to_string(policy.file.unwrap()).unwrap(), "component");
    let remote = policy.remote.unwrap();
    assert_eq!((remote.is_kept, remote.provenance.as_ref()), (true, Some(&known)));
    // And the next process knows what was live of it.
    let mut config = config::load(&house.file()).unwrap();
    store.tell_before(&mut config);
    assert_eq!(config.policies[0].remote.as_ref().unwrap().before.as_ref(), Some(&known));
}

#[test]
fn five_that_went_well_are_kept_and_no_component_that_none_of_them_has() {
    let (house, state) = (House::new("store-five"), Folder::new("store-five-state"));
    let store = Store::open(Some(&state.0), &house.file());
    for generation in 1..=8 {
        house.write("look.wasm", &format!("component {}", generation / 2));
        house.write("a.toml", &format!("recipe {generation}"));
        house.keep(&store, generation);
        // The third one goes bad.
        if generation == 3 {
            store.forget(generation);
        } else {
            store.note_went_well(generation);
        }
    }
    house.write("a.toml", "recipe 9");
    house.keep(&store, 9);
    assert_eq!((numbers(&store), store.has(9)), (vec![4, 5, 6, 7, 8], Some(false)));
    let components = std::fs::read_dir(state.0.join("generations/policies")).unwrap().count();
    assert_eq!(components, 3, "of 4 and 5, of 6 and 7, of 8 and 9");
    // What came to nothing goes with the next one, and the number is not given again.
    house.write("a.toml", "other");
    house.keep(&store, 10);
    assert_eq!((store.has(9), Store::open(Some(&state.0), &house.file()).highest()), (None, 10));
    // One that is live again is the last that goes.
    store.note_live(&Life { generation: 4, since: 100, reason: "rollback".into() });
    assert_eq!(numbers(&Store::open(Some(&state.0), &house.file())), [5, 6, 7, 8, 4]);
}

#[test]
fn what_only_a_list_of_users_made_new_takes_the_place_of_what_says_the_same() {
    let (house, state) = (House::new("store-users"), Folder::new("store-users-state"));
    let store = Store::open(Some(&state.0), &house.file());
    house.keep(&store, 1);
    store.note_went_well(1);
    house.write("a.toml", "another recipe");
    for generation in 2..=9 {
        house.write("people.ldif", &format!("dn: uid={generation}\n"));
        house.keep(&store, generation);
        if generation == 2 {
            store.note_went_well(2);
        }
    }
    assert_eq!((numbers(&store), store.has(9)), (vec![1, 9], Some(true)));
    assert_eq!(numbers(&Store::open(Some(&state.0), &house.file())), [1, 9]);
}

#[test]
fn the_same_files_are_the_same_generation() {
    let (house, state) = (House::new("store-same"), Folder::new("store-same-state"));
    let config = || config::load(&house.file()).unwrap();
    let store = Store::open(Some(&state.0), &house.file());
    assert_eq!(store.number_of(&config()), 1);
    house.keep(&store, 7);
    store.note_went_well(7);
    let store = Store::open(Some(&state.0), &house.file());
    assert_eq!(store.number_of(&config()), 7);
    house.keep(&store, 7);
    assert_eq!(store.has(7), Some(true), "it went well before");
    house.write("looks/own/desktop/login.html", "another page");
    assert_eq!(store.number_of(&config()), 8);
}

#[test]
fn what_is_not_what_was_kept_is_not_used() {
    type Fault = fn(&Path);
    let faults: [(&str, Fault); 6] = [
        ("digest", |state| {
            for entry in std::fs::read_dir(state.join("generations/policies")).unwrap() {
                std::fs::write(entry.unwrap().path(), "another component").unwrap();
            }
        }),
        ("missing", |state| std::fs::remove_file(state.join("generations/2/recipes/0.toml")).unwrap()),
        ("digest", |state| std::fs::write(state.join("generations/2/templates/own/desktop/login.html"), "x").unwrap()),
        ("version 2", |state| change(state, "\"version\": 1", "\"version\": 2")),
        ("EOF", |state| {
            let text = manifest(state);
            std::fs::write(state.join("generations/2/manifest.json"), &text[..text.len() / 2]).unwrap();
        }),
        ("nowhere", |state| change(state, "\"kept\": \"recipes/0.toml\"", "\"kept\": \"../../../etc/passwd\"")),
    ];
    for (why, fault) in faults {
        let (house, state) = (House::new("store-faults"), Folder::new("store-faults-state"));
        let store = Store::open(Some(&state.0), &house.file());
        house.keep(&store, 1);
        store.note_went_well(1);
        house.write("look.wasm", "second component");
        house.keep(&store, 2);
        store.note_went_well(2);
        house.write("look.wasm", "component");
        fault(&state.0);
        let store = Store::open(Some(&state.0), &house.file());
        let loaded = store.load(2).err();
        let passed_over = store.has(2).is_none();
        assert!(passed_over || loaded.as_ref().is_some_and(|error| error.contains(why)), "{why}: {loaded:?}");
        // The other one is not touched by it, and what another version wrote stays there.
        if why != "digest" {
            assert!(store.load(1).is_ok(), "{why}");
        }
        store.keep(&config::load(&house.file()).unwrap(), &fingerprint(&house), &Life::now(3, "reload"));
        assert!(state.0.join("generations/2").exists(), "{why}");
    }
}

fn fingerprint(house: &House) -> Fingerprint {
    load_at_rest(|| config::load(&house.file())).unwrap().1.unwrap()
}

fn manifest(state: &Path) -> String {
    std::fs::read_to_string(state.join("generations/2/manifest.json")).unwrap()
}

fn change(state: &Path, from: &str, to: &str) {
    let text = manifest(state);
    assert!(text.contains(from), "{text}");
    std::fs::write(state.join("generations/2/manifest.json"), text.replace(from, to)).unwrap();
}

#[test]
fn what_a_process_left_half_written_is_no_generation_and_goes() {
    let (house, state) = (House::new("store-half"), Folder::new("store-half-state"));
    let store = Store::open(Some(&state.0), &house.file());
    house.keep(&store, 1);
    // No process has this number.
    let half = state.0.join("generations/.new.4194305");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("doorward.toml"), "[[liste").unwrap();
    let store = Store::open(Some(&state.0), &house.file());
    assert_eq!((store.highest(), half.exists()), (1, false));
}

#[test]
fn files_that_changed_since_they_were_read_are_not_kept() {
    let (house, state) = (House::new("store-changed"), Folder::new("store-changed-state"));
    let store = Store::open(Some(&state.0), &house.file());
    let before = fingerprint(&house);
    house.write("look.wasm", "other");
    store.keep(&config::load(&house.file()).unwrap(), &before, &Life::now(1, "start"));
    assert_eq!((store.has(1), store.trouble()), (None, None));
}

#[test]
fn a_full_disk_or_a_folder_of_others_is_told_and_what_was_kept_stays() {
    let house = House::new("store-full");
    if let Some(disk) = Disk::new("store-full-state") {
        let store = Store::open(Some(disk.path()), &house.file());
        house.keep(&store, 1);
        store.note_went_well(1);
        disk.fill();
        house.write("look.wasm", &"x".repeat(9000));
        house.keep(&store, 2);
        assert!(store.trouble().is_some());
        let after_restart = Store::open(Some(disk.path()), &house.file());
        assert_eq!(numbers(&after_restart), [1]);
        assert!(after_restart.load(1).is_ok());
        disk.make_room();
        house.keep(&store, 2);
        assert_eq!((store.trouble(), store.has(2)), (None, Some(false)));
    }
    let state = Folder::new("store-others-state");
    std::fs::set_permissions(&state.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = Store::open(Some(&state.0), &house.file());
    house.keep(&store, 1);
    assert!(store.trouble().is_some_and(|trouble| trouble.contains("must be 0700")));
    assert!(!state.0.join("generations").exists());
}

#[test]
fn two_configurations_in_one_folder_do_not_touch_each_others_generations() {
    let (house, other) = (House::new("store-one"), House::new("store-other"));
    let state = Folder::new("store-shared-state");
    let store = Store::open(Some(&state.0), &house.file());
    house.keep(&store, 1);
    store.note_went_well(1);
    let second = Store::open(Some(&state.0), &other.file());
    assert_eq!((numbers(&second), second.number_of(&config::load(&other.file()).unwrap())), (vec![], 2));
    other.keep(&second, 1);
    assert!(second.trouble().is_some_and(|trouble| trouble.contains("another configuration")));
    assert_eq!(numbers(&Store::open(Some(&state.0), &house.file())), [1]);
}
