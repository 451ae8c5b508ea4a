//! `[traces]`: which requests are told to a collector, and where that is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::{Place, Table};

/// `[traces]`.
#[derive(Debug, Clone)]
pub struct Traces {
    /// The collector's address.
    pub endpoint: Url,
    /// One request in so many is told of, whatever comes of it; none for 0.
    pub sample: u64,
    /// Requests that take that long are told of.
    pub slow: Duration,
    /// File of the authorities that the collector's certificate is checked by.
    pub ca: Option<PathBuf>,
    /// Where it stands.
    pub place: Place,
}

/// Reads the table.
pub(super) fn traces(t: &Table<'_>, base: &Path) -> Option<Traces> {
    let expected = "an http:// or https:// URL, such as \"http://127.0.0.1:4318/v1/traces\"";
    let endpoint = t.parsed("endpoint", expected, endpoint);
    let sample = t.count("sample", 100, 0..=1_000_000_000);
    let slow = t.duration("slow", Duration::from_secs(5));
    let ca = t.text("ca").map(|path| base.join(path));
    if endpoint.is_none() && !t.has("endpoint") {
        t.fault("endpoint", "nothing", expected);
    }
    Some(Traces { endpoint: endpoint?, sample, slow, ca, place: t.place() })
}

fn endpoint(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && is_bare).then_some(url)
}
