//! Devices that have logged in before: a sealed cookie that says with which names, so that somebody else's guesses do not
//! slow down or keep out the owner of a name.

use std::time::Duration;

use hyper::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Cookie, Purpose, Sessions, keys};
use crate::peer::Scheme;

/// Names that one device is known for; the one used longest ago goes.
const NAMES: usize = 5;

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    id: u64,
    /// Hashes of names, the last one used first.
    names: Vec<u64>,
}

impl Device {
    /// The device's number, if it has logged in with this name at this site before.
    pub fn known_for(&self, site: &str, name: &str) -> Option<u64> {
        self.names.contains(&hash(site, name)).then_some(self.id)
    }
}

impl Sessions {
    /// The device of a request.
    pub fn device(&self, headers: &HeaderMap, scheme: Scheme, lifetime: Duration) -> Option<Device> {
        let sealed = Cookie::Device.values(headers, scheme).next()?;
        self.unseal(Purpose::Device, sealed, lifetime)
    }

    /// The `Set-Cookie` of a device that has logged in with a name just now.
    pub fn device_cookie(
        &self,
        device: Option<Device>,
        site: &str,
        name: &str,
        scheme: Scheme,
        lifetime: Duration,
    ) -> String {
        let mut device = device.unwrap_or_else(|| {
            let mut id = [0; 8];
            keys::fill_random(&mut id);
            Device { id: u64::from_le_bytes(id), names: Vec::new() }
        });
        let name = hash(site, name);
        device.names.retain(|known| *known != name);
        device.names.insert(0, name);
        device.names.truncate(NAMES);
        Cookie::Device.set_for(&self.seal(Purpose::Device, &device), scheme, lifetime)
    }
}

/// The cookie is sealed, so this hides nothing: it only makes all names equally long.
fn hash(site: &str, name: &str) -> u64 {
    let digest = Sha256::new().chain_update(site).chain_update([0]).chain_update(name.trim().to_lowercase()).finalize();
    digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use hyper::header::{COOKIE, HeaderValue};

    use super::*;
    use crate::session::tests::sessions;

    #[test]
    fn a_device_is_known_for_the_names_that_logged_in_with_it() {
        let (all, day) = (sessions(900, 9000), Duration::from_secs(86_400));
        let mut device = None;
        for name in ["a", "b", "c", "d", "e", "Zoë"] {
            let cookie = all.device_cookie(device.take(), "site", name, Scheme::Https, day);
            assert!(cookie.starts_with("__Host-doorward-device=") && cookie.ends_with("Max-Age=86400"));
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(cookie.split(';').next().unwrap()).unwrap());
            assert_eq!(all.device(&headers, Scheme::Http, day), None);
            assert_eq!(all.device(&headers, Scheme::Https, Duration::ZERO), None);
            device = all.device(&headers, Scheme::Https, day);
        }
        let device = device.unwrap();
        assert!(device.known_for("site", " zoË").is_some() && device.known_for("site", "b").is_some());
        // The sixth name put the first one out; another site has names of its own.
        assert!(device.known_for("site", "a").is_none() && device.known_for("else", "b").is_none());
    }
}
