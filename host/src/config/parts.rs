//! What a configuration is made of: each table, and each listener, policy, back-end and site by its name, with the files
//! that it names.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use super::Config;

/// A part of the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// What is written, values only.
    pub written: Vec<Json>,
    /// Its files and folders.
    pub files: Vec<PathBuf>,
}

/// The key of a file that is no other door's.
const OWN: &str = "revocations-file";

impl Config {
    /// All parts by what they are called: `session`, `backend node-a`, `certificate public`.
    pub fn parts(&self) -> BTreeMap<String, Part> {
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        let (root, _) = DeTable::parse_recoverable(self.place.text());
        for (key, value) in root.get_ref() {
            let items = match value.get_ref() {
                DeValue::Array(items) => items.iter().map(|item| doorward_vectors::json_of(item.get_ref())).collect(),
                one => vec![doorward_vectors::json_of(one)],
            };
            for mut item in items {
                // Each of several front doors has its own.
                let own = item.as_object_mut().filter(|_| key.get_ref() == "session").and_then(|item| item.remove(OWN));
                own.into_iter().for_each(|own| parts.entry(format!("session.{OWN}")).or_default().written.push(own));
                let name = item.get("name").or_else(|| item.get("hosts")?.get(0)).or_else(|| item.get("hosts"));
                let part = match name.and_then(Json::as_str) {
                    Some(name) => format!("{} {name}", key.get_ref()),
                    None => key.get_ref().to_string(),
                };
                parts.entry(part).or_default().written.push(item);
            }
        }
        // A tag that means another artifact now.
        for policy in &self.policies {
            if let Some(manifest) = policy.remote.as_ref().and_then(|remote| remote.manifest()) {
                parts.entry(format!("policy {}", policy.name)).or_default().written.push(manifest.to_string().into());
            }
        }
        for (part, file) in self.named_files() {
            parts.entry(part).or_default().files.push(file);
        }
        parts
    }

    /// Every file and folder that this configuration names, and its own: what is watched.
    pub fn files(&self) -> Vec<PathBuf> {
        let named = self.named_files().into_iter().map(|(_, file)| file);
        let lock = self.has_remotes().then(|| self.lock_file());
        std::iter::once(self.place.file().to_owned()).chain(named).chain(lock).collect()
    }

    /// Where what tags of registries mean is kept: beside the configuration.
    pub fn lock_file(&self) -> PathBuf {
        self.place.file().with_extension("lock")
    }

    /// Whether a policy of it is in a registry.
    fn has_remotes(&self) -> bool {
        self.policies.iter().any(|policy| policy.remote.is_some())
    }

    /// Files and folders, each with the part that it belongs to.
    fn named_files(&self) -> Vec<(String, PathBuf)> {
        let mut files = Vec::new();
        let mut add = |part: String, named: Vec<&PathBuf>| {
            files.extend(named.into_iter().map(|file| (part.clone(), file.clone())));
        };
        for policy in &self.policies {
            // What is kept of a registry is named by its digest, which the lock file has.
            let file = policy.file.iter().filter(|_| policy.remote.is_none());
            add(
                format!("policy {}", policy.name),
                file.chain(&policy.shadow).chain(policy.lists.iter().map(|(_, file)| file)).collect(),
            );
        }
        add("registry".to_owned(), self.registry.files().collect());
        add("templates".to_owned(), self.templates.iter().collect());
        add("languages".to_owned(), self.languages.iter().collect());
        for site in &self.sites {
            let name = site.hosts.first().map_or("", String::as_str);
            add(format!("site {name}"), site.logo.iter().collect());
        }
        for listener in &self.listeners {
            for certificate in &listener.certificates {
                let named = [&certificate.chain, &certificate.key].into_iter().chain(&certificate.ocsp);
                add(format!("certificate {}", listener.name), named.collect());
            }
            add(format!("listener {}", listener.name), listener.tls.client_ca.iter().collect());
        }
        for to in &self.log.to {
            add("log".to_owned(), to.tls.files().chain(&to.mask_key_file).collect());
        }
        add("admin".to_owned(), self.admin.files().collect());
        add("traces".to_owned(), self.traces.iter().filter_map(|traces| traces.ca.as_ref()).collect());
        add("cluster".to_owned(), self.cluster.iter().flat_map(super::Cluster::files).collect());
        add("tls".to_owned(), self.ticket_key_file.iter().collect());
        add("directory".to_owned(), self.directory.files().collect());
        add("session".to_owned(), self.session.key_file.iter().collect());
        for backend in &self.backends {
            // Also one that is not there yet.
            let recipe = backend.recipe.contains(['.', '/']).then(|| self.base.join(&backend.recipe));
            let named = backend.tls.files().chain(&recipe).chain(&backend.recipe_secret_file);
            let named = named.chain(backend.mail.master.as_ref().map(|master| &master.password_file));
            add(format!("backend {}", backend.name), named.collect());
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use crate::config::{Source, parse};

    #[test]
    fn parts_have_the_names_that_an_operator_gave_them() {
        let text = "default-backend = \"b\"\n[session]\nidle-timeout = \"1h\"\nrevocations-file = \"r\"\n[[listener]]\nname = \"public\"\n\
            address = \"127.0.0.1:1\"\ncertificates = [{ chain = \"c.pem\", key = \"k.pem\" }]\n[[backend]]\nname = \"b\"\n\
            url = \"http://b/\"\nrecipe = \"own.toml\"\n[[site]]\nhosts = [\"a.test\", \"b.test\"]\n[[site]]\nhosts = \"c.test\"\n";
        let config = parse(&Arc::new(Source::new("d/c.toml", text)), Path::new("d")).unwrap();
        let parts = config.parts();
        let names: Vec<&str> = parts.keys().map(String::as_str).collect();
        let expected = [
            "backend b",
            "certificate public",
            "default-backend",
            "listener public",
            "session",
            "session.revocations-file",
            "site a.test",
            "site c.test",
        ];
        assert_eq!(names, expected);
        assert_eq!(parts["certificate public"].files, [Path::new("d/c.pem"), Path::new("d/k.pem")]);
        assert_eq!(parts["backend b"].files, [Path::new("d/own.toml")]);
        assert_eq!(config.files().len(), 4);
    }
}
