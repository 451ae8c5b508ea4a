//! Policies from registries: Debian's `docker-registry`, and one of our own that misbehaves and has the API of referrers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Answer, Backend, DockerRegistry, Guest, Proxy, Question, Registry, Setup};
use serde_json::{Value as Json, json};

use crate::support::{ADMIN, body_attribute, config, log_in, setup, webmail};

const LONG: Duration = Duration::from_secs(60);
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Runs `doorward policy` with these words, in this folder, and compares its exit status. What it says.
#[track_caller]
fn policy(folder: &Path, words: &[&str], status: i32) -> String {
    let mut command = Command::new(harness::binary());
    command.current_dir(folder).env("XDG_CACHE_HOME", folder.join(".cache")).arg("policy").args(words);
    let ran = command.output().expect("the program");
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(status), "{words:?}: {said}");
    said
}

#[track_caller]
fn openssl(folder: &Path, words: &[&str]) {
    let ran = Command::new("openssl").current_dir(folder).args(words).output().expect("openssl");
    assert!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Makes NAME.pem and NAME.pub: ECDSA P-256, as cosign's keys are, or Ed25519.
fn key(folder: &Path, name: &str, algorithm: &str) {
    let (private, public) = (format!("{name}.pem"), format!("{name}.pub"));
    let mut words = vec!["genpkey", "-algorithm", algorithm, "-out", &private];
    if algorithm == "EC" {
        words.extend(["-pkeyopt", "ec_paramgen_curve:P-256"]);
    }
    openssl(folder, &words);
    openssl(folder, &["pkey", "-in", &private, "-pubout", "-out", &public]);
}

/// A signature that openssl made, in base64.
fn signature(folder: &Path, name: &str, message: &[u8]) -> String {
    std::fs::write(folder.join("message"), message).expect("a file");
    openssl(folder, &["dgst", "-sha256", "-sign", &format!("{name}.pem"), "-out", "signature", "message"]);
    base64(&std::fs::read(folder.join("signature")).expect("a file"))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What stands before `[[policy]]`: the registry, and who must sign.
fn registry(address: &str, trust: &str) -> String {
    format!("state-directory = \"state\"\n{ADMIN}[registry]\nplain-http = [\"{address}\"]\ntimeout = \"20s\"\n{trust}")
}

fn trust(address: &str, threshold: usize, keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|name| format!("{{ name = \"{name}\", file = \"{name}.pub\" }}")).collect();
    format!("[[registry.trust]]\nfor = \"{address}/mail\"\nthreshold = {threshold}\nkeys = [{}]\n", keys.join(", "))
}

fn look_policy(reference: &str) -> String {
    format!("[[policy]]\nname = \"look\"\nasks = \"template\"\nfile = \"oci://{reference}\"\n")
}

/// A front door whose look is a policy of this reference; its files are there, and what is asked for is locked.
fn house(node: &Backend, before: &str, reference: &str) -> (Setup, String) {
    let text = config(&format!("{before}{}", look_policy(reference)), &[("node-a", node, "")]);
    let setup = setup().file("doorward.toml", &text);
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(setup.dir().join("state"))
        .expect("a folder");
    (setup, text)
}

/// An import of the request's host.
fn host_import() -> String {
    format!("(import \"doorward:policy/request@{}\" \"host\" (func $host (param i32)))", harness::VERSION)
}

fn look(proxy: &Proxy) -> String {
    body_attribute(&proxy.client().get("/").expect(200).text(), "data-look")
}

fn push(folder: &Path, component: &[u8], reference: &str) -> String {
    std::fs::write(folder.join("pushed.wasm"), component).expect("a file");
    let said = policy(folder, &["push", "pushed.wasm", &format!("oci://{reference}"), "--plain-http", "--json"], 0);
    let said: Json = serde_json::from_str(&said).expect("JSON");
    said["manifest"].as_str().expect("a digest").to_owned()
}

/// S3: what was pulled serves with the registry away, a tag that moved changes nothing, and what takes it is said first.
#[test]
fn a_tag_changes_nothing_until_somebody_takes_what_it_means_by_now() {
    let (node, registry_server) = (webmail(|_| Answer::text("inbox")), DockerRegistry::start());
    let address = registry_server.address().to_owned();
    let reference = format!("{address}/mail/look:1");
    let (setup, text) = house(&node, &registry(&address, ""), &reference);
    let unlocked = setup.run(&["check", "--config", "doorward.toml"]);
    assert!(unlocked.stdout.contains("nobody has said which artifact this tag means"), "{}", unlocked.stdout);
    push(setup.dir(), &Guest::template("blue").build(), &reference);
    policy(setup.dir(), &["pull", "--config", "doorward.toml"], 0);
    let proxy = setup.serve_again();
    assert_eq!(look(&proxy), "blue");
    let source = proxy.status()["policies"][0]["source"].clone();
    assert_eq!((&source["version"], &source["signed-by"]), (&json!("1"), &json!([])), "{source}");

    // Another one below the same tag: nothing changes by a reload, and the difference is shown before it goes live.
    let asking = Guest::template("green").imports(&host_import());
    push(proxy.dir(), &asking.build(), &reference);
    let from = proxy.log().len();
    proxy.write("doorward.toml", format!("drain-delay = \"0s\"\n{text}"));
    proxy.wait_for_log_after(from, "reloaded", LONG);
    assert_eq!(look(&proxy), "blue");
    let waits = policy(proxy.dir(), &["pull", "--config", "doorward.toml"], 1);
    assert!(waits.contains("+ imports request.host") && waits.contains("nothing is changed"), "{waits}");
    assert_eq!(look(&proxy), "blue");
    let from = proxy.log().len();
    policy(proxy.dir(), &["pull", "--config", "doorward.toml", "--update"], 0);
    let reloaded = proxy.wait_for_log_after(from, "reloaded", LONG);
    assert!(reloaded.contains("policy look"), "{reloaded}");
    assert_eq!(look(&proxy), "green");

    // The registry is away: a rollback, a reload of other things, and a start.
    drop(registry_server);
    assert_eq!(proxy.admin("POST", "/rollback").0, 200);
    assert_eq!(look(&proxy), "blue");
    let from = proxy.log().len();
    proxy.write("doorward.toml", format!("drain-delay = \"1ms\"\n{text}"));
    proxy.wait_for_log_after(from, "reloaded", LONG);
    assert_eq!(look(&proxy), "green");
    let mut proxy = proxy.stop().serve_again();
    assert_eq!(look(&proxy), "green");
    let away = policy(proxy.dir(), &["pull", "--config", "doorward.toml"], 2);
    assert!(away.contains(&address), "{away}");

    // What is kept is broken, and the registry is away: the last generation that went well serves.
    let generation = proxy.generation();
    proxy.wait_for_status("went well", |status| status["generation"] == generation);
    let store = proxy.dir().join("state/registry");
    for entry in std::fs::read_dir(&store).expect("a folder").flatten() {
        std::fs::write(entry.path(), "broken").expect("a write");
    }
    let from = proxy.log().len();
    proxy.reload();
    proxy.wait_for_log_after(from, "nothing to reload|reload", LONG);
    assert_eq!(look(&proxy), "green");
    assert!(proxy.terminate().success());
}

/// Puts a component below a tag, as it is; the digest of its manifest.
fn artifact(registry: &Registry, name: &str, tag: &str, component: &[u8]) -> String {
    let layer = registry.blob("application/wasm", component);
    let config = registry.blob("application/vnd.wasm.config.v0+json", b"{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
        "annotations": {"org.opencontainers.image.version": tag},
    });
    registry.manifest(name, tag, &manifest)
}

/// Signs with openssl, as cosign writes it: below the tag `sha256-….sig`.
fn sign(registry: &Registry, folder: &Path, name: &str, manifest: &str, key: &str, says: (&str, &str)) {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": says.0}, "image": {"docker-manifest-digest": says.1},
            "type": "cosign container image signature",
        },
        "optional": null,
    });
    let payload = payload.to_string();
    let mut layer = registry.blob(SIMPLE, payload.as_bytes());
    layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature(folder, key, payload.as_bytes())});
    let config = registry.blob("application/vnd.oci.image.config.v1+json", b"{}");
    let signed = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
    registry.manifest(name, &format!("{}.sig", manifest.replace(':', "-")), &signed);
}

/// Says in the lock file that the tag of [`house`] means this.
fn lock(proxy: &Proxy, reference: &str, manifest: &str, component: &[u8], version: &str) {
    use sha2::Digest as _;
    let component = harness::hex(&sha2::Sha256::digest(component));
    proxy.write(
        "doorward.lock",
        format!(
            "[[artifact]]\nreference = \"{reference}\"\nmanifest = \"{manifest}\"\ncomponent = \"sha256:{component}\"\n\
             version = \"{version}\"\n"
        ),
    );
}

/// A front door whose look is signed by "ops", and blue.
struct Signed {
    _node: Backend,
    server: Registry,
    proxy: Proxy,
    reference: String,
    first: String,
}

const NAME: &str = "mail/look";

impl Signed {
    fn start() -> Self {
        let (node, server) = (webmail(|_| Answer::text("inbox")), Registry::start(true));
        let (address, reference) = (server.address(), format!("{}/{NAME}:1.5", server.address()));
        let (setup, _) = house(&node, &registry(&address, &trust(&address, 1, &["ops"])), &reference);
        key(setup.dir(), "ops", "EC");
        key(setup.dir(), "foreign", "EC");
        let first = artifact(&server, NAME, "1.5", &Guest::template("blue").build());
        sign(&server, setup.dir(), NAME, &first, "ops", (&format!("{address}/{NAME}"), &first));
        policy(setup.dir(), &["pull", "--config", "doorward.toml"], 0);
        let proxy = setup.serve_again();
        assert_eq!(proxy.status()["policies"][0]["source"]["signed-by"], json!(["ops"]));
        Self { _node: node, server, proxy, reference, first }
    }

    /// Signs a manifest with a key, for a repository and a digest.
    fn sign(&self, manifest: &str, key: &str, name: &str, says: &str) {
        let repository = format!("{}/{name}", self.server.address());
        sign(&self.server, self.proxy.dir(), NAME, manifest, key, (&repository, says));
    }

    /// Another component, below another tag.
    fn other(&self, color: &str, tag: &str) -> (String, Vec<u8>) {
        let component = Guest::template(color).build();
        (artifact(&self.server, NAME, tag, &component), component)
    }

    /// The lock file says so, and it is refused with these words. Of two in a row one has no right digest of the component, so
    /// that the file changes.
    fn refuses(&self, manifest: &str, component: &[u8], told: &str) {
        let from = self.proxy.log().len();
        lock(&self.proxy, &self.reference, manifest, component, "1.5");
        self.proxy.wait_for_log_after(from, told, LONG);
        assert_eq!(look(&self.proxy), "blue", "{told}");
        assert_eq!(self.proxy.generation(), 1);
    }

    /// Blobs are answered by this.
    fn blobs(&self, bytes: &[u8], answer: fn(Vec<u8>) -> Answer) {
        let bytes = bytes.to_vec();
        self.server.fault(move |request| request.seen.target.contains("/blobs/").then(|| answer(bytes.clone())));
    }
}

/// S1, by a running Doorward: each is refused with words that say which, and what is live goes on.
#[test]
fn what_is_not_signed_as_it_must_be_is_refused_by_name_and_the_live_one_serves() {
    let door = Signed::start();
    let (unsigned, bytes) = door.other("green", "1.6");
    door.refuses(&unsigned, &bytes, "it is not signed");
    door.sign(&unsigned, "foreign", NAME, &unsigned);
    door.refuses(&unsigned, &[], "one is of no key that is listed");
    door.sign(&unsigned, "ops", "mail/other", &unsigned);
    door.refuses(&unsigned, &bytes, "is for the repository [^ ]+/mail/other");
    // Changed after it was signed: the signature came along, and is another manifest's.
    door.sign(&unsigned, "ops", NAME, &door.first);
    door.refuses(&unsigned, &[], &format!("is for {}", door.first));
    let (older, bytes) = door.other("slate", "1.4");
    door.sign(&older, "ops", NAME, &older);
    door.refuses(&older, &bytes, "version 1.4 is older than 1.5");
}

/// The rest of S1: what a registry may do wrong.
#[test]
fn what_a_registry_sends_instead_is_refused_by_name_and_the_live_one_serves() {
    let door = Signed::start();
    let (faulty, bytes) = door.other("green", "1.7");
    door.sign(&faulty, "ops", NAME, &faulty);
    door.blobs(&bytes, |bytes| Answer::new(200, &bytes[..bytes.len() - 1]));
    door.refuses(&faulty, &bytes, "the blob sha256:[0-9a-f]+ has [0-9]+ bytes, and its manifest says");
    door.blobs(&bytes, |mut bytes| {
        bytes[9] ^= 1;
        Answer::new(200, bytes)
    });
    door.refuses(&faulty, &[], "the blob sha256:[0-9a-f]+ is sha256:");
    door.blobs(&bytes, |bytes| Answer::half(&bytes[..20], 5000));
    door.refuses(&faulty, &bytes, "blobs/.*(closed|incomplete|before)");
    door.blobs(&bytes, |bytes| Answer::new(200, [bytes.clone(), bytes].concat()));
    door.refuses(&faulty, &[], "an answer of more than [0-9]+ bytes");
    door.blobs(&bytes, |_| Answer::redirect("http://127.0.0.1:1/elsewhere"));
    door.refuses(&faulty, &bytes, "leads to http://127.0.0.1:1/elsewhere, which is no https");
    door.blobs(&bytes, |_| Answer::redirect("https://127.0.0.1:1/elsewhere"));
    door.refuses(&faulty, &[], "which is the inner address 127.0.0.1");
    let server = &door.server;
    server.fault(|request| {
        request.seen.target.contains("/manifests/sha256:").then(|| Answer::new(200, vec![b' '; 5 << 20]))
    });
    door.refuses(&faulty, &bytes, "an answer of more than 4194304 bytes");
    server.fault(|request| request.seen.target.contains("/manifests/").then(|| Answer::new(200, "{}")));
    door.refuses(&faulty, &[], "is sha256:[0-9a-f]+, not sha256:");
    server.fault(|_| Some(Answer::new(503, "")));
    door.refuses(&faulty, &bytes, "it answers 503");
    server.fault(|_| Some(Answer::close()));
    door.refuses(&faulty, &[], &format!("{}/v2/", server.address()));
    server.mend();
    let layer = json!({
        "mediaType": "application/wasm", "digest": format!("sha256:{}", "00".repeat(32)), "size": 65 << 20,
    });
    let huge = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer]});
    let huge = server.manifest(NAME, "huge", &huge);
    door.refuses(&huge, &bytes, "a component of 68157440 bytes, and 67108864 are taken");

    // As it should be again.
    let from = door.proxy.log().len();
    lock(&door.proxy, &door.reference, &faulty, &bytes, "1.7");
    door.proxy.wait_for_log_after(from, "reloaded", LONG);
    assert_eq!(look(&door.proxy), "green");
}

/// A registry that accepts and says nothing: the time that is configured ends it.
#[test]
fn a_registry_that_says_nothing_is_given_up_after_its_time() {
    let (node, server) = (webmail(|_| Answer::text("inbox")), Registry::start(true));
    let reference = format!("{}/mail/look:1", server.address());
    let before = registry(&server.address(), "").replace("20s", "1s");
    let (setup, _) = house(&node, &before, &reference);
    server.fault(|_| Some(Answer::hang()));
    let said = policy(setup.dir(), &["pull", "--config", "doorward.toml"], 1);
    assert!(said.contains("it is not done within 1s"), "{said}");
    let endless = || {
        Answer::script(|line| {
            line.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                line.write_all(b"8\r\n        \r\n")?;
            }
        })
    };
    server.fault(move |_| Some(endless()));
    let said = policy(setup.dir(), &["pull", "--config", "doorward.toml"], 1);
    assert!(said.contains("an answer of more than 4194304 bytes") || said.contains("not done within 1s"), "{said}");
}

/// S2: the formats that are read, of a registry with the API of referrers and of one without.
#[test]
fn artifacts_of_other_tools_load_as_ours_do() {
    let (folder, server) = (Setup::new(), Registry::start(true));
    let (dir, docker) = (folder.dir(), DockerRegistry::start());
    let component = Guest::template("blue").build();
    let pull = |reference: &str| {
        policy(dir, &["pull", &format!("oci://{reference}"), "-o", "pulled.wasm", "--plain-http"], 0);
        assert!(std::fs::read(dir.join("pulled.wasm")).expect("a file") == component, "{reference}");
    };
    for address in [server.address(), docker.address().to_owned()] {
        let reference = format!("{address}/mail/ours:1");
        let digest = push(dir, &component, &reference);
        pull(&reference);
        pull(&format!("{address}/mail/ours@{digest}"));
    }
    // As `tar` and `gzip` make it.
    std::fs::write(dir.join("plugin.wasm"), &component).expect("a file");
    let tar = |words: &[&str]| {
        assert!(Command::new("tar").current_dir(dir).args(words).status().expect("tar").success());
        std::fs::read(dir.join(words[1])).expect("an archive")
    };
    let (plain, zipped) = (tar(&["-cf", "plain.tar", "plugin.wasm"]), tar(&["-czf", "zipped.tgz", "./plugin.wasm"]));
    let none = tar(&["-czf", "none.tgz", "plain.tar"]);
    for (tag, kind, layer) in [
        ("wkg", "application/wasm", &component),
        ("kubewarden", "application/vnd.wasm.content.layer.v1+wasm", &component),
        ("istio", "application/vnd.oci.image.layer.v1.tar+gzip", &zipped),
        ("istio-docker", "application/vnd.docker.image.rootfs.diff.tar.gzip", &zipped),
        ("istio-plain", "application/vnd.oci.image.layer.v1.tar", &plain),
        ("none", "application/vnd.oci.image.layer.v1.tar+gzip", &none),
        ("other", "text/plain", &component),
    ] {
        let layer = server.blob(kind, layer);
        let config = server.blob("application/vnd.oci.image.config.v1+json", b"{}");
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        server.manifest("mail/look", tag, &manifest);
        let reference = format!("{}/mail/look:{tag}", server.address());
        match tag {
            "none" | "other" => {
                let words = ["pull", &format!("oci://{reference}"), "-o", "x.wasm", "--plain-http"];
                let said = policy(dir, &words, 1);
                assert!(
                    said.contains("an archive without plugin.wasm") || said.contains("no layer with WebAssembly"),
                    "{said}"
                );
            }
            _ => pull(&reference),
        }
    }
    // Nobody has to sign, so nobody asks for signatures.
    let asks_for_one = |target: &str| target.contains("/referrers/") || target.contains("/manifests/sha256-");
    assert!(server.backend().hits().iter().all(|seen| !asks_for_one(&seen.target)));
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []});
    server.manifest("mail/look", "index", &index);
    let words = ["pull", &format!("oci://{}/mail/look:index", server.address()), "-o", "x.wasm", "--plain-http"];
    assert!(policy(dir, &words, 1).contains("an index of several manifests"));
}

/// cosign's second place: a bundle that refers to the manifest, by the API or by the fallback's tag.
#[test]
fn a_signature_counts_wherever_cosign_puts_it() {
    let folder = Setup::new();
    let dir = folder.dir();
    key(dir, "ops", "EC");
    for has_referrers in [true, false] {
        let server = Registry::start(has_referrers);
        let (name, repository) = ("mail/look", format!("{}/mail/look", server.address()));
        let manifest = artifact(&server, name, "1", &Guest::template("blue").build());
        let verify = |status: i32| {
            policy(dir, &["verify", &format!("oci://{repository}:1"), "--plain-http", "--key", "ops.pub"], status)
        };
        assert!(verify(1).contains("it is not signed"));
        let bundle_of = |subject: &Json, predicate: &str| {
            let statement = json!({
                "_type": "https://in-toto.io/Statement/v1", "subject": [subject],
                "predicateType": predicate, "predicate": {},
            });
            let (statement, kind) = (statement.to_string(), "application/vnd.in-toto+json");
            let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
            let bundle = json!({
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {"publicKey": {"hint": "ops"}},
                "dsseEnvelope": {
                    "payload": base64(statement.as_bytes()), "payloadType": kind,
                    "signatures": [{"sig": signature(dir, "ops", signed.as_bytes())}],
                },
            });
            let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
            let layer = server.blob(kind, bundle.to_string().as_bytes());
            let config = server.blob("application/vnd.oci.empty.v1+json", b"{}");
            let refers = json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind, "config": config, "layers": [layer],
                "subject": {"mediaType": MANIFEST, "digest": manifest, "size": 1},
            });
            let digest = server.manifest(name, "bundle", &refers);
            let index = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [{"mediaType": MANIFEST, "digest": digest, "size": 1, "artifactType": kind}],
            });
            server.manifest(name, &manifest.replace(':', "-"), &index);
        };
        let bundle = |subject: &Json| bundle_of(subject, "https://sigstore.dev/cosign/sign/v1");
        let digest = json!({"sha256": manifest.trim_start_matches("sha256:")});
        // Who says what is in an artifact, or that it is unsafe, has not signed it.
        bundle_of(
            &json!({"digest": digest, "annotations": {"repository": repository}}),
            "https://cosign.sigstore.dev/attestation/vuln/v1",
        );
        assert!(verify(1).contains("does not sign it"));
        bundle(&json!({"digest": digest}));
        assert!(verify(1).contains("says no repository"));
        bundle(&json!({"digest": digest, "annotations": {"repository": repository}}));
        assert!(verify(0).contains("is signed by ops.pub"));
        // What somebody else put beside it hides no good one.
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let subject = json!({"mediaType": MANIFEST, "digest": manifest, "size": 1});
        server.manifest(name, "broken", &json!({"artifactType": kind, "manifests": [], "subject": subject}));
        assert!(verify(0).contains("is signed by ops.pub"));
        server.fault(|request| request.seen.target.contains("/referrers/").then(|| Answer::new(405, "")));
        assert!(verify(0).contains("is signed by ops.pub"));
        // A page for people, and one that leads to it.
        for page in [|| Answer::new(200, "<html>"), || Answer::redirect("https://127.0.0.1:1/")] {
            server.fault(move |request| request.seen.target.contains("/referrers/").then(page));
            assert!(verify(0).contains("is signed by ops.pub"));
        }
        server.fault(|request| request.seen.target.contains("/referrers/").then(|| Answer::new(503, "")));
        assert!(verify(1).contains("it answers 503"));
        server.mend();
    }
}

/// What `doorward policy sign` writes, below the tag of signatures, with both kinds of keys.
#[test]
fn whoever_signs_leaves_the_signatures_of_others() {
    let (folder, docker) = (Setup::new(), DockerRegistry::start());
    let dir = folder.dir();
    key(dir, "ops", "EC");
    let reference = format!("{}/mail/look:1", docker.address());
    push(dir, &Guest::template("blue").build(), &reference);
    key(dir, "second", "ED25519");
    let both = ["verify", &format!("oci://{reference}"), "--plain-http", "--key", "ops.pub", "--key", "second.pub"];
    for (name, told) in
        [("ops", "signed by ops.pub only, and 2 must have signed"), ("second", "is signed by ops.pub, second.pub")]
    {
        policy(dir, &["sign", &format!("oci://{reference}"), "--plain-http", "--key", &format!("{name}.pem")], 0);
        let said = policy(dir, &both, i32::from(name == "ops"));
        assert!(said.contains(told), "{said}");
    }
}

/// S4: two keys are good for a while, then the old one is no more; and two of a threshold are two.
#[test]
fn a_key_is_replaced_and_a_threshold_of_two_is_two() {
    let (node, server) = (webmail(|_| Answer::text("inbox")), Registry::start(true));
    let (address, name) = (server.address(), "mail/look");
    let reference = format!("{address}/{name}:1");
    let before = |threshold: usize, keys: &[&str]| registry(&address, &trust(&address, threshold, keys));
    let (setup, _) = house(&node, &before(1, &["old", "new"]), &reference);
    for name in ["old", "new"] {
        key(setup.dir(), name, "EC");
    }
    std::fs::copy(setup.dir().join("old.pub"), setup.dir().join("alias.pub")).expect("a copy");
    push(setup.dir(), &Guest::template("blue").build(), &reference);
    let sign = |dir: &Path, key: &str| {
        policy(dir, &["sign", &format!("oci://{reference}"), "--plain-http", "--key", &format!("{key}.pem")], 0)
    };
    sign(setup.dir(), "old");
    policy(setup.dir(), &["pull", "--config", "doorward.toml"], 0);
    let proxy = setup.serve_again();
    let says = |threshold: usize, keys: &[&str], told: &str| {
        let from = proxy.log().len();
        let text = format!("{}{}", before(threshold, keys), look_policy(&reference));
        proxy.write("doorward.toml", config(&text, &[("node-a", &node, "")]));
        proxy.wait_for_log_after(from, told, LONG);
        assert_eq!(look(&proxy), "blue");
        proxy.status()["policies"][0]["source"]["signed-by"].clone()
    };
    assert_eq!(proxy.status()["policies"][0]["source"]["signed-by"], json!(["old"]));
    assert_eq!(says(1, &["new"], "one is of no key that is listed"), json!(["old"]), "the live one serves");
    assert_eq!(says(2, &["old", "new"], "signed by old only, and 2 must have signed"), json!(["old"]));
    says(2, &["old", "alias"], "one key as .*old.* and as .*alias");
    says(3, &["old", "new"], "3 of 2 keys");
    sign(proxy.dir(), "new");
    // Signed anew meanwhile: what is here is looked up once more where it does not suffice.
    assert_eq!(says(2, &["old", "new"], "reloaded"), json!(["new", "old"]));
    assert_eq!(says(1, &["new"], "reloaded"), json!(["new"]));
    // The key of what is live counts no more, and there is an artifact with the next one.
    key(proxy.dir(), "next", "EC");
    assert_eq!(says(1, &["next"], "one is of no key that is listed"), json!(["new"]));
    push(proxy.dir(), &Guest::template("green").build(), &reference);
    sign(proxy.dir(), "next");
    let pull = ["pull", "--config", "doorward.toml"];
    assert!(policy(proxy.dir(), &pull, 1).contains("one is of no key that is listed"));
    let from = proxy.log().len();
    policy(proxy.dir(), &[&pull[..], &["--update"]].concat(), 0);
    proxy.wait_for_log_after(from, "reloaded", LONG);
    assert_eq!(look(&proxy), "green");
}

/// A registry that asks who somebody is: by itself, and by a token server. Nothing of that is told anywhere.
#[test]
fn credentials_are_given_to_who_may_have_them_and_shown_to_nobody() {
    let folder = Setup::new();
    let (dir, server) = (folder.dir(), Registry::start(true));
    let address = server.address();
    artifact(&server, "mail/look", "1", &Guest::template("blue").build());
    let basic = base64(b"robot:geheim-12345");
    let auths = json!({"auths": {&address: {"auth": basic}}});
    std::fs::write(dir.join("auth.json"), auths.to_string()).expect("a file");
    let reference = format!("oci://{address}/mail/look:1");
    let words = |with: bool| {
        let mut words = vec!["pull", &reference, "-o", "x.wasm", "--plain-http"];
        words.extend(if with { ["--credentials", "auth.json"].as_slice() } else { &[] });
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |with: bool, status: i32| {
        let words = words(with);
        let said = policy(dir, &words.iter().map(String::as_str).collect::<Vec<_>>(), status);
        assert!(!said.contains("geheim") && !said.contains(&basic) && !said.contains("token-of-mine"), "{said}");
        said
    };
    let wanted = format!("Basic {basic}");
    server.fault(move |request| {
        let knows = request.seen.header("authorization") == Some(&wanted);
        (!knows).then(|| Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"r\""))
    });
    assert!(run(false, 1).contains("there are no credentials for it"));
    run(true, 0);
    let (wanted, realm) = (format!("Basic {basic}"), format!("http://{address}/token"));
    server.fault(move |request| {
        let said = request.seen.header("authorization");
        if request.seen.target.starts_with("/token?") {
            let scope = request.seen.target.contains("scope=repository%3Amail%2Flook%3Apull");
            return Some(match said == Some(&wanted) && scope {
                true => Answer::new(200, "{\"token\": \"token-of-mine\"}"),
                false => Answer::new(403, "no"),
            });
        }
        let challenge = format!("Bearer realm=\"{realm}\",service=\"r\"");
        (said != Some("Bearer token-of-mine")).then(|| Answer::new(401, "").header("WWW-Authenticate", &challenge))
    });
    assert!(run(false, 1).contains("it refuses (403"));
    run(true, 0);
    // A token server that would get the password in the clear.
    server.fault(|_| Some(Answer::new(401, "").header("WWW-Authenticate", "Bearer realm=\"http://127.0.0.1:1/\"")));
    assert!(run(true, 1).contains("which is no https"));
    let page = log_of(dir);
    assert!(!page.contains("geheim"), "{page}");
}

fn log_of(dir: &Path) -> String {
    let files = std::fs::read_dir(dir).expect("a folder").flatten().filter(|file| file.file_name() != "auth.json");
    files
        .filter_map(|file| std::fs::read(file.path()).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect()
}

/// Over TLS, with an authority of its own; and what a registry leads to.
#[test]
fn a_registry_is_known_by_its_certificate() {
    let (certs, folder) = (harness::Certs::new(), Setup::new());
    let server = Registry::tls(&certs.server(&["127.0.0.1"]));
    let dir = folder.dir();
    artifact(&server, "mail/look", "1", &Guest::template("blue").build());
    let (reference, ca) = (format!("oci://{}/mail/look:1", server.address()), certs.ca().display().to_string());
    policy(dir, &["pull", &reference, "-o", "x.wasm", "--ca", &ca], 0);
    assert!(policy(dir, &["pull", &reference, "-o", "x.wasm"], 1).contains("certificate"));
    let elsewhere = Registry::tls(&certs.server(&["127.0.0.1"]));
    artifact(&elsewhere, "mail/look", "1", &Guest::template("blue").build());
    let to = elsewhere.address();
    server.fault(move |request| {
        let target = &request.seen.target;
        target.contains("/blobs/").then(|| Answer::redirect(&format!("https://{to}{target}")))
    });
    assert!(policy(dir, &["pull", &reference, "-o", "x.wasm", "--ca", &ca], 1).contains("the inner address 127.0.0.1"));
    let text = format!("[registry]\nca = \"{ca}\"\ninner-hosts = [\"127.0.0.1\"]\n");
    std::fs::write(dir.join("c.toml"), text).expect("a file");
    policy(dir, &["pull", &reference, "-o", "x.wasm", "--config", "c.toml"], 0);
    assert!(elsewhere.backend().hits().iter().all(|seen| seen.header("authorization").is_none()));
}

/// What a new component may do that the old one may not; and what it would have decided.
#[test]
fn diff_shows_the_difference_of_rights() {
    let asking = Guest::new(Question::Template).imports(&host_import());
    let folder = Setup::new()
        .file("old.wasm", Guest::template("blue").build())
        .file("new.wasm", asking.build())
        .file("green.wasm", Guest::template("green").build());
    let dir = folder.dir();
    assert!(policy(dir, &["diff", "old.wasm", "old.wasm"], 0).contains("the same component"));
    let said = policy(dir, &["diff", "old.wasm", "new.wasm"], 1);
    assert!(said.contains("+ imports request.host") && said.contains("digest sha256:"), "{said}");
    let json: Json = serde_json::from_str(&policy(dir, &["diff", "new.wasm", "old.wasm", "--json"], 1)).expect("JSON");
    assert_eq!((&json["imports"]["gone"], &json["wit"]["new"]), (&json!(["request.host"]), &json!(harness::VERSION)));
    let settings = policy(dir, &["diff", "device-detection", "virtual-hosts"], 1);
    assert!(settings.contains("+ setting hosts:") && settings.contains("answers device → template"), "{settings}");

    let node = webmail(|_| Answer::text("inbox"));
    let look = "[[log.to]]\nwhat = [\"decision\"]\nformat = \"json\"\ntarget = \"decisions.jsonl\"\n\
        [[policy]]\nname = \"look\"\nasks = \"template\"\nfile = \"old.wasm\"\ndecisions = \"full\"\nmemo = \"0B\"\n";
    let served = setup().file("old.wasm", Guest::template("blue").build());
    let mut proxy =
        served.file("green.wasm", Guest::template("green").build()).serve(&config(look, &[("node-a", &node, "")]));
    log_in(&proxy, "alice");
    assert!(proxy.terminate().success());
    let said = policy(proxy.dir(), &["diff", "old.wasm", "green.wasm", "--records", "decisions.jsonl"], 1);
    assert!(said.contains("otherwise") && said.contains("→"), "{said}");
}
