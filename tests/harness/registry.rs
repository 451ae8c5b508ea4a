//! Registries of artifacts: Debian's, as it is, and a small one of our own, which has the API of referrers, asks for names
//! and passwords, and misbehaves as a test says.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::backend::{Backend, Incoming};
use crate::certs::Pair;
use crate::program::Program;
use crate::wire::hex;

/// `docker-registry`, with what it holds in a folder of its own. It has no API of referrers.
pub struct DockerRegistry {
    _program: Program,
    _dir: tempfile::TempDir,
    address: String,
}

impl DockerRegistry {
    /// Starts one.
    pub fn start() -> Self {
        let dir = crate::temp_dir();
        let file = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n",
            dir.path().join("data").display()
        );
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new("docker-registry");
        // It would send what it does to a collector on this machine.
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        let program = Program::start("docker-registry", &mut command);
        let line = program.wait_for_log(0, "listening on 127\\.0\\.0\\.1:[0-9]+", Duration::from_secs(60));
        let port: String = line
            .rsplit("listening on 127.0.0.1:")
            .next()
            .unwrap_or_default()
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        Self { _program: program, _dir: dir, address: format!("127.0.0.1:{port}") }
    }

    /// Its address, as a reference has it.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// What a request is answered with instead.
type Fault = Box<dyn Fn(&mut Incoming<'_>) -> Option<Answer> + Send + Sync>;

#[derive(Default)]
struct Shelves {
    blobs: BTreeMap<String, Vec<u8>>,
    /// By `NAME/TAG` and `NAME/DIGEST`.
    manifests: BTreeMap<String, Vec<u8>>,
    fault: Option<Arc<Fault>>,
}

/// A registry inside the test.
pub struct Registry {
    backend: Backend,
    shelves: Arc<Mutex<Shelves>>,
}

impl Registry {
    /// Starts one over plain HTTP, with the API of referrers or without.
    pub fn start(has_referrers: bool) -> Self {
        let shelves = Arc::new(Mutex::new(Shelves::default()));
        let held = shelves.clone();
        Self { backend: Backend::start(move |request| answer(&held, has_referrers, request)), shelves }
    }

    /// The same over TLS.
    pub fn tls(pair: &Pair) -> Self {
        let shelves = Arc::new(Mutex::new(Shelves::default()));
        let held = shelves.clone();
        Self { backend: Backend::tls(pair, move |request| answer(&held, true, request)), shelves }
    }

    /// Its address, as a reference has it.
    pub fn address(&self) -> String {
        self.backend.address().to_string()
    }

    /// The server behind it.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// From now on requests are answered by this, where it answers.
    pub fn fault(&self, fault: impl Fn(&mut Incoming<'_>) -> Option<Answer> + Send + Sync + 'static) {
        self.shelves.lock().unwrap().fault = Some(Arc::new(Box::new(fault)));
    }

    /// From now on it does as it should.
    pub fn mend(&self) {
        self.shelves.lock().unwrap().fault = None;
    }

    /// Puts a blob there; its descriptor.
    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Json {
        let digest = digest(bytes);
        self.shelves.lock().unwrap().blobs.insert(digest.clone(), bytes.to_vec());
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    }

    /// Puts a manifest there, below its digest and a tag; its digest.
    pub fn manifest(&self, name: &str, tag: &str, manifest: &Json) -> String {
        put(&self.shelves, name, tag, manifest.to_string().into_bytes())
    }
}

fn put(shelves: &Mutex<Shelves>, name: &str, tag: &str, bytes: Vec<u8>) -> String {
    let digest = digest(&bytes);
    let mut shelves = shelves.lock().unwrap();
    shelves.manifests.insert(format!("{name}/{digest}"), bytes.clone());
    shelves.manifests.insert(format!("{name}/{tag}"), bytes);
    digest
}

/// A digest, as a registry has it.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn answer(shelves: &Mutex<Shelves>, has_referrers: bool, request: &mut Incoming<'_>) -> Answer {
    let fault = shelves.lock().unwrap().fault.clone();
    if let Some(answer) = fault.and_then(|fault| fault(request)) {
        return answer;
    }
    let (method, target) = (request.seen.method.clone(), request.seen.target.clone());
    let path = target.split('?').next().unwrap_or_default();
    let nothing = || Answer::new(404, "{\"errors\": []}").header("Content-Type", "application/json");
    let found = |bytes: &Vec<u8>, kind: &str| {
        Answer::new(200, bytes.clone()).header("Content-Type", kind).header("Docker-Content-Digest", &digest(bytes))
    };
    let parts: Vec<&str> = path.trim_start_matches("/v2/").rsplitn(3, '/').collect();
    match (method.as_str(), &parts[..]) {
        ("POST", _) if path.ends_with("/blobs/uploads/") => {
            Answer::new(202, "").header("Location", &format!("{path}1?state=a%2Fb"))
        }
        ("PUT", [_, "uploads", _]) => {
            let bytes = request.body().to_vec();
            let is_named = target.ends_with(&format!("&digest={}", digest(&bytes).replace(':', "%3A")));
            shelves.lock().unwrap().blobs.insert(digest(&bytes), bytes);
            Answer::new(if is_named { 201 } else { 400 }, "")
        }
        ("PUT", [tag, "manifests", name]) => {
            put(shelves, name, tag, request.body().to_vec());
            Answer::new(201, "")
        }
        ("GET", [which, "manifests", name]) => {
            let shelves = shelves.lock().unwrap();
            let manifest = shelves.manifests.get(&format!("{name}/{which}"));
            manifest.map_or_else(nothing, |bytes| found(bytes, "application/vnd.oci.image.manifest.v1+json"))
        }
        ("GET", [which, "blobs", _]) => {
            let shelves = shelves.lock().unwrap();
            shelves.blobs.get(*which).map_or_else(nothing, |bytes| found(bytes, "application/octet-stream"))
        }
        ("GET", [which, "referrers", name]) if has_referrers => {
            let shelves = shelves.lock().unwrap();
            let refers = |key: &str, bytes: &[u8]| {
                let read: Json = serde_json::from_slice(bytes).ok()?;
                let is_meant = read["subject"]["digest"] == **which
                    && key.strip_prefix(&format!("{name}/"))?.starts_with("sha256:");
                is_meant.then(|| {
                    json!({
                        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(bytes),
                        "size": bytes.len(), "artifactType": read["artifactType"],
                    })
                })
            };
            let all: Vec<Json> = shelves.manifests.iter().filter_map(|(key, bytes)| refers(key, bytes)).collect();
            let index = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": all,
            });
            Answer::new(200, index.to_string()).header("Content-Type", "application/vnd.oci.image.index.v1+json")
        }
        _ => nothing(),
    }
}
