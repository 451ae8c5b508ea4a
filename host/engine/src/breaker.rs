//! A breaker: a policy that fails is left alone for a while, and then tried with one question at a time. Who makes it fail
//! pays alone: a client for whom it failed too often is left alone with it, and only a policy that fails for a large share
//! of all questions, or costs too much time, is left alone by all.
//!
//! Invariant: a client for whom it has not failed is soon asked about also while it is open, so that one answer closes it.
//!
//! Pure: the time is told.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Nobody is left alone for longer: the policy may have been mended, and one failing question a minute harms nobody.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// While it is open, those for whom it has not failed are asked about so often: with the default limit of 10 ms for a
/// question that is at most a tenth of one worker's time.
const OTHERS: Duration = Duration::from_millis(100);
/// Clients that are remembered. Further ones count for the whole only.
const MOST_CLIENTS: usize = 4096;
/// It opens when one of so many questions fails ...
const SHARE: u64 = 2;
/// ... or when one part in so many of the time is lost to failures of more than one client.
const LOST: u32 = 10;
/// A new policy is to blame when it fails for so many clients as may fail in all, and for one of so many questions.
const NEW_SHARE: u64 = 10;

/// When a policy is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures open it ...
    pub failures: u32,
    /// ... within this time.
    pub window: Duration,
    /// The first pause; each one after it is twice as long.
    pub pause: Duration,
}

/// The state of a breaker.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Those for whom it failed of late.
    clients: HashMap<IpAddr, Client>,
    /// Counts since a failure that was the first for a while.
    window: Option<Window>,
    /// Set while it is open.
    open: Option<Pause>,
    /// When the next one of those for whom it has not failed may be asked about.
    others: Option<Instant>,
    /// When old clients are forgotten.
    sweep: Option<Instant>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    failures: u32,
    lost: Duration,
    /// Questions that were asked before.
    asked_before: u64,
    blamed: bool,
}

/// What is known of a client.
#[derive(Debug)]
struct Client {
    since: Instant,
    failures: u32,
    last: Instant,
    /// The last pause, or the first there will be.
    pause: Duration,
    shut: Option<Pause>,
}

/// Until when nothing is asked, and for how long that was.
#[derive(Debug, Clone, Copy)]
struct Pause {
    due: Instant,
    time: Duration,
}

/// A failure.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// For whom.
    pub client: IpAddr,
    /// The time that was lost.
    pub took: Duration,
    /// All questions so far, those that needed no instance included.
    pub asked: u64,
}

/// What a failure or a success did to a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Nothing.
    Same,
    /// One client is left alone with it.
    Shut,
    /// It fails for so many that it is to blame, if it is new.
    Blamed,
    /// It opened just now.
    Opened,
    /// It closed just now.
    Closed,
}

impl Pause {
    fn begin(now: Instant, time: Duration) -> Self {
        Self { due: now + time, time }
    }

    /// One question is let through when it is over, and the next pause begins with it.
    fn admits(&mut self, now: Instant) -> bool {
        let over = now >= self.due;
        if over {
            self.due = now + self.time;
        }
        over
    }

    fn double(&mut self, now: Instant) {
        *self = Self::begin(now, (self.time * 2).min(LONGEST_PAUSE));
    }
}

impl Breaker {
    /// Whether the policy may be asked about this client now.
    pub fn admits(&mut self, client: IpAddr, now: Instant) -> bool {
        self.forget(now);
        let known = self.clients.get_mut(&network_of(client));
        match (&mut self.open, known) {
            (None, None) => true,
            (None, Some(client)) => client.shut.as_mut().is_none_or(|shut| shut.admits(now)),
            (Some(open), Some(client)) => {
                now >= open.due && client.shut.as_mut().is_none_or(|shut| shut.admits(now)) && open.admits(now)
            }
            (Some(_), None) => {
                let admits = self.others.is_none_or(|due| now >= due);
                if admits {
                    self.others = Some(now + OTHERS);
                }
                admits
            }
        }
    }

    /// Whether it is open for all.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether there is nothing to be asked here.
    pub fn is_quiet(&self) -> bool {
        self.open.is_none() && self.clients.is_empty()
    }

    /// Whether the policy is left alone, and failed for this client before.
    pub fn is_left_alone_with(&self, client: IpAddr) -> bool {
        let known = self.clients.get(&network_of(client));
        known.is_some_and(|client| client.shut.is_some() || self.open.is_some())
    }

    /// Clients for whom it failed of late.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// The policy failed.
    pub fn failed(&mut self, failure: Failure, now: Instant, settings: &BreakerSettings) -> Transition {
        let shut = self.count_client(failure.client, now, settings);
        if let Some(open) = &mut self.open {
            open.double(now);
            return Transition::Same;
        }
        let clients = self.clients.len();
        let fresh = || Window {
            since: now,
            failures: 0,
            lost: Duration::ZERO,
            asked_before: failure.asked.saturating_sub(1),
            blamed: false,
        };
        let window = self.window.take().filter(|window| now.duration_since(window.since) <= settings.window);
        let window = self.window.insert(window.unwrap_or_else(fresh));
        window.failures += 1;
        window.lost += failure.took;
        let (failures, asked) = (u64::from(window.failures), failure.asked.saturating_sub(window.asked_before));
        let many = SHARE * failures >= asked;
        let dear = clients > 1 && window.lost * LOST >= settings.window;
        if window.failures >= settings.failures && (many || dear) {
            (self.open, self.others, self.window) = (Some(Pause::begin(now, settings.pause)), None, None);
            return Transition::Opened;
        }
        if clients >= settings.failures as usize && NEW_SHARE * failures >= asked && !window.blamed {
            window.blamed = true;
            return Transition::Blamed;
        }
        if shut { Transition::Shut } else { Transition::Same }
    }

    /// Counts a failure for a client. True when it is left alone from now on.
    fn count_client(&mut self, client: IpAddr, now: Instant, settings: &BreakerSettings) -> bool {
        let network = network_of(client);
        if self.clients.len() >= MOST_CLIENTS && !self.clients.contains_key(&network) {
            self.sweep = None;
            self.forget(now);
            if self.clients.len() >= MOST_CLIENTS {
                return false;
            }
        }
        let fresh = || Client { since: now, failures: 0, last: now, pause: settings.pause, shut: None };
        let client = self.clients.entry(network).or_insert_with(fresh);
        client.last = now;
        if let Some(shut) = &mut client.shut {
            shut.double(now);
            client.pause = shut.time;
            return false;
        }
        if now.duration_since(client.since) > settings.window {
            (client.since, client.failures) = (now, 0);
        }
        client.failures += 1;
        if client.failures < settings.failures {
            return false;
        }
        client.shut = Some(Pause::begin(now, client.pause));
        true
    }

    /// The policy answered for a client.
    pub fn answered(&mut self, client: IpAddr) -> Transition {
        if let Some(client) = self.clients.get_mut(&network_of(client))
            && let Some(shut) = client.shut.take()
        {
            // Who makes it fail again is left alone for longer.
            (client.failures, client.pause) = (0, (shut.time * 2).min(LONGEST_PAUSE));
        }
        if self.open.take().is_some() { Transition::Closed } else { Transition::Same }
    }

    /// Forgets clients for whom it has not failed for long.
    fn forget(&mut self, now: Instant) {
        if self.sweep.is_none_or(|due| now >= due) {
            self.sweep = Some(now + OTHERS);
            // A pause may be as long, and one that is over has to be remembered for as long again.
            self.clients.retain(|_, client| now.duration_since(client.last) <= 2 * LONGEST_PAUSE);
        }
    }
}

/// What one client can easily have: an IPv4 address, or the IPv6 network of a site (RFC 6177).
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { failures: 3, window: Duration::from_secs(10), pause: Duration::from_secs(1) };

    fn client(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn failure(number: u8, asked: u64) -> Failure {
        Failure { client: client(number), took: Duration::from_millis(10), asked }
    }

    /// A breaker and its clock.
    struct Bench(Breaker, Instant);

    impl Bench {
        fn new() -> Self {
            Self(Breaker::default(), Instant::now())
        }

        fn at(&self, seconds: f32) -> Instant {
            self.1 + Duration::from_secs_f32(seconds)
        }

        fn fails(&mut self, seconds: f32, number: u8, asked: u64) -> Transition {
            self.0.failed(failure(number, asked), self.at(seconds), &SETTINGS)
        }

        fn admits(&mut self, seconds: f32, number: u8) -> bool {
            self.0.admits(client(number), self.at(seconds))
        }
    }

    #[test]
    fn it_opens_at_the_limit_tries_again_ever_later_and_closes_with_an_answer() {
        let mut bench = Bench::new();
        assert_eq!((bench.fails(0.0, 1, 1), bench.fails(1.0, 1, 2)), (Transition::Same, Transition::Same));
        assert!(bench.admits(1.0, 1));
        assert_eq!(bench.fails(2.0, 1, 3), Transition::Opened);
        assert!(!bench.admits(2.0, 1));
        assert!(bench.admits(3.0, 1), "one try");
        assert!(!bench.admits(3.0, 1), "and one only");
        assert_eq!(bench.fails(3.0, 1, 4), Transition::Same);
        assert!(!bench.admits(4.0, 1));
        assert!(bench.admits(5.0, 1));
        assert_eq!(bench.0.answered(client(1)), Transition::Closed);
        assert!(bench.admits(5.0, 1) && !bench.0.is_open());
    }

    #[test]
    fn one_client_among_others_pays_alone() {
        let mut bench = Bench::new();
        // Others ask ten questions for each of his.
        let transitions: Vec<Transition> = [1, 11, 21].map(|asked| bench.fails(0.1, 1, asked)).into();
        assert_eq!(transitions, [Transition::Same, Transition::Same, Transition::Shut]);
        assert!(!bench.admits(0.2, 1) && bench.admits(0.2, 2) && !bench.0.is_open());
        assert!(bench.0.is_left_alone_with(client(1)) && !bench.0.is_left_alone_with(client(2)));
        // A good question of his opens the way again, and the next pause is longer all the same.
        assert!(bench.admits(1.2, 1));
        assert_eq!(bench.0.answered(client(1)), Transition::Same);
        let transitions: Vec<Transition> = [31, 41, 51].map(|asked| bench.fails(1.3, 1, asked)).into();
        assert_eq!(transitions.last(), Some(&Transition::Shut));
        assert!(!bench.admits(3.2, 1) && bench.admits(3.4, 1));
        assert!(bench.admits(200.0, 1) && bench.0.is_quiet(), "in the end he is forgotten");
    }

    #[test]
    fn who_was_alone_with_it_keeps_nobody_out() {
        let mut bench = Bench::new();
        for asked in 1..=3 {
            bench.fails(0.0, 1, asked);
        }
        assert!(bench.0.is_open() && !bench.admits(0.1, 1));
        assert!(bench.0.is_left_alone_with(client(1)) && !bench.0.is_left_alone_with(client(2)));
        assert!(bench.admits(0.1, 2), "the first other client is the probe");
        assert_eq!(bench.0.answered(client(2)), Transition::Closed);
        assert!(bench.admits(0.1, 3) && !bench.admits(0.1, 1));
    }

    #[test]
    fn a_policy_that_fails_for_all_costs_little() {
        let mut bench = Bench::new();
        for number in 1..=3 {
            bench.fails(0.0, number, u64::from(number));
        }
        assert!(bench.0.is_open());
        let mut tries = 0;
        for tick in 0..1000_u16 {
            let number = u8::try_from(4 + tick % 200).unwrap();
            if bench.admits(f32::from(tick) / 1000.0, number) {
                tries += 1;
                bench.fails(f32::from(tick) / 1000.0, number, 3 + tries);
            }
        }
        assert!((5..=10).contains(&tries), "{tries}");
    }

    #[test]
    fn a_new_policy_is_to_blame_when_it_fails_for_several_clients() {
        let mut bench = Bench::new();
        let transitions: Vec<Transition> =
            [(1, 1), (1, 9), (2, 17), (3, 25)].map(|(number, asked)| bench.fails(0.0, number, asked)).into();
        assert_eq!(transitions, [Transition::Same, Transition::Same, Transition::Same, Transition::Blamed]);
        assert!(!bench.0.is_open());
    }

    #[test]
    fn many_clients_who_cost_too_much_time_open_it() {
        let mut bench = Bench::new();
        let mut transitions = (0..200_u8).map(|number| bench.fails(1.0, number, 1000 * (u64::from(number) + 1)));
        assert!(transitions.any(|transition| transition == Transition::Opened));
    }

    #[test]
    fn rare_failures_do_not_open_it_and_no_pause_is_endless() {
        let mut bench = Bench::new();
        for number in 0..20_u8 {
            assert_eq!(bench.fails(f32::from(number) * 11.0, 1, u64::from(number) + 1), Transition::Same);
        }
        for asked in 21..150 {
            bench.fails(1000.0, 1, asked);
        }
        assert!(bench.admits(1000.0 + LONGEST_PAUSE.as_secs_f32(), 1));
    }

    #[test]
    fn clients_are_remembered_in_bounds_and_an_ipv6_site_is_one() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for number in 0..10_000_u32 {
            let client = IpAddr::from(number.to_be_bytes());
            breaker.failed(Failure { client, took: Duration::ZERO, asked: 1000 * u64::from(number) }, now, &SETTINGS);
        }
        assert_eq!(breaker.clients(), MOST_CLIENTS);
        let of = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:ffff::1"));
        assert!(of("2001:db8:1::1") != of("2001:db8:2::1") && of("192.0.2.1") != of("192.0.2.2"));
    }
}
