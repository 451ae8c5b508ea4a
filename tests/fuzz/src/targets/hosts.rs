//! Names of hosts, and paths to come back to, beside what browsers make of them (WHATWG URL).

use doorward_wire::host::{host_name, is_authority};
use doorward_wire::local_path::local_path;
use url::Url;

/// An authority has a host name, and is that of a URL; a host name is in its one form.
pub(super) fn hosts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let name = host_name(&text);
    if let Some(name) = &name {
        assert!(name.is_empty() || host_name(name).is_some(), "{name:?} of {text:?} is a host name");
        assert!(name.is_ascii() && *name == name.to_ascii_lowercase() && !name.contains(['/', '@', ' ', ',']));
    }
    if is_authority(data) {
        assert!(name.is_some(), "{text:?} is an authority without a host");
    }
}

/// A path to come back to leads nowhere else, in any browser.
pub(super) fn local_paths(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(path) = local_path(&text) else { return };
    assert_eq!(path, text);
    let base = Url::parse("https://site.test/a/b?c").expect("a URL");
    let led = base.join(path).expect("a path");
    assert_eq!((led.scheme(), led.host_str(), led.port()), ("https", Some("site.test"), None), "{path:?}");
    assert!(!led.path().starts_with("//"), "{path:?} leads to {led}");
}
