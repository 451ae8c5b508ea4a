//! The keys that a reload cannot apply: what they say is done once, at the start of a process.

use super::{Address, Config, Fault, Place};

/// What one of them says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fixed {
    /// The key, and for a listener's its address, which such a key belongs to.
    pub key: String,
    /// What is written, or the default.
    pub value: String,
}

impl Config {
    /// All of them, each with its place.
    fn fixed_places(&self) -> Vec<(Place, Fixed)> {
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_ref().map_or_else(|| "nothing".to_owned(), |path| path.display().to_string())
        };
        let threads = &self.threads;
        let mut all: Vec<(Place, Fixed)> = [
            ("state-directory", path(&self.state_directory)),
            ("admin.socket", path(&self.admin.socket)),
            ("threads.min", threads.min.to_string()),
            ("threads.max", threads.max.to_string()),
            ("threads.grow-after", format!("{:?}", threads.grow_after)),
            ("threads.shrink-after", format!("{:?}", threads.shrink_after)),
        ]
        .into_iter()
        .map(|(key, value)| (self.place.key(key), Fixed { key: key.to_owned(), value }))
        .collect();
        // A socket is bound once, and kept as long as its address is.
        for listener in self.listeners.iter().filter(|listener| matches!(listener.address, Address::Net(_))) {
            let key = format!("v6-only of {}", listener.address);
            all.push((listener.place.key("v6-only"), Fixed { key, value: listener.v6_only.to_string() }));
        }
        all
    }

    /// What these keys say.
    pub fn fixed(&self) -> Vec<Fixed> {
        self.fixed_places().into_iter().map(|(_, fixed)| fixed).collect()
    }

    /// Warnings of keys that say something else than those that a running process was started with.
    pub fn needs_restart(&self, started_with: &[Fixed]) -> Vec<Fault> {
        let changed = |(place, fixed): (Place, Fixed)| {
            let running =
                started_with.iter().find(|running| running.key == fixed.key && running.value != fixed.value)?;
            let expected =
                format!("{}, as the running process has it until it is restarted or upgraded", running.value);
            Some(place.warning(fixed.value, expected))
        };
        self.fixed_places().into_iter().filter_map(changed).collect()
    }
}
