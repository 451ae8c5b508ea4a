//! What an operator sees of the throttle, and does about it: who is shut out until when, and the release.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{Settings, Source, Throttle, left, network_of};
use crate::config::Network;

/// How a name stands with the throttle now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutOut {
    /// The networks that it is refused to, and for how long.
    pub networks: Vec<(IpAddr, Duration)>,
    /// For how long the last of its known devices that are refused is so.
    pub device: Option<Duration>,
    /// For how long its logins from unknown devices are slow, since it was tried from many places.
    pub slow: Option<Duration>,
}

impl Throttle {
    /// How a name of a site stands.
    pub fn shut_out(&self, site: &str, name: &str, settings: &Settings) -> ShutOut {
        let (user, now, tables) = (self.user_of(site, name), Instant::now(), self.tables());
        let runs = |since: Instant| now.duration_since(since) < settings.window;
        let mut shut = ShutOut::default();
        for (source, tries) in tables.sources.iter().filter(|(_, tries)| runs(tries.since)) {
            let left = left(tries.since, settings, now);
            match source {
                Source::Network(network, of) if *of == user && tries.wrong.len() >= settings.max_failures => {
                    shut.networks.push((*network, left));
                }
                Source::Device(_, of) if *of == user && tries.wrong.len() >= settings.device_failures => {
                    shut.device = shut.device.max(Some(left));
                }
                Source::Network(..) | Source::Device(..) => {}
            }
        }
        let count = tables.users.get(&user).filter(|count| runs(count.since));
        shut.slow = count
            .filter(|count| count.failures >= settings.user_failures && !settings.max_delay.is_zero())
            .map(|count| left(count.since, settings, now));
        shut
    }

    /// For how long a network is shut out, whatever name comes from it.
    pub fn network(&self, address: IpAddr, settings: &Settings) -> Option<Duration> {
        let (now, tables) = (Instant::now(), self.tables());
        let network = tables.networks.get(&network_of(address))?;
        let shut = network.names.len() >= settings.max_names && now.duration_since(network.since) < settings.window;
        shut.then(|| left(network.since, settings, now))
    }

    /// The networks that are shut out, and for how long.
    pub fn networks(&self, settings: &Settings) -> Vec<(IpAddr, Duration)> {
        let (now, tables) = (Instant::now(), self.tables());
        let shut = tables.networks.iter().filter(|(_, network)| {
            network.names.len() >= settings.max_names && now.duration_since(network.since) < settings.window
        });
        shut.map(|(address, network)| (*address, left(network.since, settings, now))).collect()
    }

    /// Forgets what failed with a name of a site, from anywhere; whether there was anything.
    pub fn release_name(&self, site: &str, name: &str) -> bool {
        let user = self.user_of(site, name);
        let mut tables = self.tables();
        let mut found = tables.users.remove(&user).is_some();
        for (source, tries) in &mut tables.sources {
            let (Source::Network(_, of) | Source::Device(_, of)) = source;
            if *of == user && !tries.wrong.is_empty() {
                // Those that are being checked keep their places.
                tries.wrong.clear();
                found = true;
            }
        }
        tables.sources.retain(|_, tries| tries.running > 0 || !tries.wrong.is_empty());
        found
    }

    /// Forgets what failed from a network, whatever the name; of how many names and networks that was. A /24 or /48 is
    /// counted as one, so a smaller network that is named means the whole of it.
    pub fn release_network(&self, network: &Network) -> usize {
        let mut tables = self.tables();
        let meant = |counted: &IpAddr| network.contains(*counted) || network_of(network.address()) == *counted;
        let before = tables.networks.len();
        tables.networks.retain(|counted, _| !meant(counted));
        let mut released = before - tables.networks.len();
        for (source, tries) in &mut tables.sources {
            if let Source::Network(counted, _) = source
                && meant(counted)
                && !tries.wrong.is_empty()
            {
                tries.wrong.clear();
                released += 1;
            }
        }
        tables.sources.retain(|_, tries| tries.running > 0 || !tries.wrong.is_empty());
        released
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Who;
    use super::*;

    fn settings() -> Settings {
        Settings { max_failures: 2, max_names: 2, user_failures: 3, device_failures: 1, ..Settings::default() }
    }

    fn fail(throttle: &Arc<Throttle>, address: &str, name: &str, device: Option<u64>, password: &str) -> bool {
        let who = Who { address: address.parse().unwrap(), site: "a", name, device };
        throttle.admit(&who, &settings()).map(|permit| permit.wrong(password)).is_ok()
    }

    #[test]
    fn who_is_shut_out_is_seen_and_released() {
        let (throttle, settings) = (Arc::new(Throttle::default()), settings());
        let standing = |name: &str| throttle.shut_out("a", name, &settings);
        assert_eq!(standing("alice"), ShutOut::default());
        for password in ["1", "2"] {
            assert!(fail(&throttle, "192.0.2.7", "alice", None, password));
        }
        assert!(!fail(&throttle, "192.0.2.7", "alice", None, "3"));
        let shut = standing(" Alice ");
        assert_eq!(
            shut.networks.iter().map(|(network, _)| *network).collect::<Vec<_>>(),
            [IpAddr::from([192, 0, 2, 0])]
        );
        assert!(shut.networks[0].1 > settings.window / 2 && (shut.device, shut.slow) == (None, None));
        assert!(
            fail(&throttle, "198.51.100.7", "alice", None, "3") && fail(&throttle, "192.0.2.7", "alice", Some(7), "x")
        );
        assert!(standing("alice").slow.is_some() && standing("alice").device.is_some());
        assert_eq!(throttle.shut_out("b", "alice", &settings), ShutOut::default(), "another site");
        assert!(throttle.release_name("a", "ALICE") && !throttle.release_name("a", "alice"));
        assert_eq!(standing("alice"), ShutOut::default());
        assert!(fail(&throttle, "192.0.2.7", "alice", None, "4"));
    }

    #[test]
    fn a_network_is_released_whole() {
        let (throttle, settings) = (Arc::new(Throttle::default()), settings());
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        for name in ["a", "b"] {
            assert!(fail(&throttle, "2001:db8::1", name, None, "x"));
        }
        assert!(!fail(&throttle, "2001:db8::2", "c", None, "x"));
        assert!(throttle.network(address, &settings).is_some() && throttle.networks(&settings).len() == 1);
        assert_eq!(throttle.release_network(&Network::parse("192.0.2.0/24").unwrap()), 0);
        assert_eq!(throttle.release_network(&Network::parse("2001:db8::77/128").unwrap()), 3, "a network, two names");
        assert!(throttle.network(address, &settings).is_none());
        assert!(fail(&throttle, "2001:db8::2", "c", None, "x"));
    }
}
