//! A login without any door: a directory in a file, a back-end that is a function, and a client that is data.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Mutex;

use arc_swap::ArcSwap;
use serde_json::json;

use super::*;
use crate::back::Pending;
use crate::config::{self, Source};
use crate::directory::Shrink;
use crate::log::Decisions;
use crate::peer::Peer;
use crate::policy::{Compiler, Desk};
use crate::secret::Secret;
use crate::session::Keys;
use crate::snapshot::{Materials, Snapshot};
use crate::state::{Cause, Shared, State};

const PEOPLE: &str = "\
dn: uid=alice,dc=test\nuid: alice\nmail: Alice@A.test\nmailHost: node-a\nuserPassword: right\n\n\
dn: uid=bob,dc=test\nuid: bob\nmailHost: node-b\nuserPassword: right\n\n\
dn: uid=lost,dc=test\nuid: lost\nmailHost: nowhere\nuserPassword: right\n\n\
dn: uid=carol,dc=test\nuid: carol\nmailHost: node-a\nuserPassword: right\npwdReset: TRUE\n";

const FILE: &str = "[directory]\nfile = \"people.ldif\"\nname-attribute = \"uid\"\n";

/// All that a login asks, with one worker.
struct House(Worker, Arc<Live>);

impl House {
    fn new(name: &str, extra: &str, directory: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("doorward-login-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("people.ldif"), PEOPLE).unwrap();
        let mut text = format!("{extra}\n{directory}[[site]]\nhosts = [\"*\"]\n[[listener]]\nname = \"public\"\n");
        text.push_str("address = \"127.0.0.1:0\"\n");
        for (node, more) in [("node-a", ""), ("node-b", "drain = true\n")] {
            let recipe = "url = \"http://127.0.0.1:9\"\nrecipe = \"sogo\"";
            text.push_str(&format!("[[backend]]\nname = \"{node}\"\n{recipe}\n{more}"));
        }
        Self::of(&text, &folder)
    }

    fn of(text: &str, folder: &Path) -> Self {
        let config = config::parse(&Arc::new(Source::new("doorward.toml", text)), folder).unwrap();
        let (compiler, keys) = (Compiler::start(None).unwrap(), Keys::random());
        let materials = Materials {
            compiler: &compiler,
            keys: &keys,
            tickets: &Arc::default(),
            previous: None,
            generation: 1,
            quarantine: None,
            shrink: Shrink::Refused,
            trial: true,
        };
        let (snapshot, state) = (Arc::new(Snapshot::build(&config, &materials).unwrap()), State::default());
        std::fs::remove_dir_all(folder).unwrap();
        let shared = Arc::new(Shared {
            live: ArcSwap::new(state.follow(&snapshot, Cause::Operator)),
            state,
            desk: Desk::start(&config.log, None, Decisions).unwrap(),
            seen: Mutex::default(),
        });
        let worker = Worker::new(shared);
        let live = worker.live();
        Self(worker, live)
    }

    fn neighbours(&self) -> Neighbours<'_> {
        Neighbours { worker: &self.0, snapshot: &self.1, id: "1" }
    }

    async fn log_in(&self, name: &str, password: &str, node: &Fake) -> Outcome<&'static str> {
        let (facts, credentials) = (facts("192.0.2.1"), Credentials::Password(Secret::new(password.to_owned())));
        let site = Arc::from("*");
        let attempt = attempt(&site, &facts);
        log_in(self.neighbours(), &attempt, (name, &credentials), node).await
    }

    async fn code(&self, waiting: &Waiting, code: &str, site: &str, node: &Fake) -> Outcome<&'static str> {
        let (facts, code) = (facts("192.0.2.1"), Secret::new(code.to_owned()));
        let site = Arc::from(site);
        let attempt = attempt(&site, &facts);
        // As a door does it, which seals it in between.
        let waiting = serde_json::from_str(&serde_json::to_string(waiting).unwrap()).unwrap();
        resume(self.neighbours(), &attempt, (waiting, &code), node).await
    }

    /// How many attempts ended in this way.
    fn counted(&self, outcome: &str) -> u64 {
        self.0.shared.state.logins.by_outcome().get(outcome).copied().unwrap_or_default()
    }

    /// How many failed of late with this name.
    fn failed(&self, name: &str) -> u32 {
        let who = crate::limits::Who { address: [192, 0, 2, 1].into(), site: "*", name, device: None };
        self.0.shared.state.throttle.failures(&who, &self.1.throttle).for_user
    }
}

fn attempt<'a>(site: &'a Arc<str>, facts: &'a Facts) -> Attempt<'a> {
    Attempt { protocol: Protocol::Http, host: "mail.test", site, facts, device: None }
}

/// No HTTP in it.
fn facts(address: &str) -> Facts {
    let client = (address.parse::<std::net::IpAddr>().unwrap(), 5000).into();
    Facts::of_connection(Arc::new(Peer::new("public".to_owned(), client, ([127, 0, 0, 1], 143).into())))
}

/// A back-end that says the next of these; asked more often than that, it says nothing for ever.
struct Fake(RefCell<Vec<Result<&'static str, LoginError>>>);

impl Fake {
    fn says(answers: impl IntoIterator<Item = Result<&'static str, LoginError>>) -> Self {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Self(RefCell::new(answers))
    }

    async fn answer(&self) -> Result<&'static str, LoginError> {
        let next = self.0.borrow_mut().pop();
        match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

impl Dialogue for Fake {
    type Opened = &'static str;

    fn checks_password(&self, _: &Node) -> bool {
        true
    }

    async fn log_in(&self, _: &Arc<Node>, person: &Person<'_>) -> Result<&'static str, LoginError> {
        assert!(!person.secret.is_blank());
        self.answer().await
    }

    async fn second_factor(&self, _: &Arc<Node>, _: &str, _: (&Pending, &Secret)) -> Result<&'static str, LoginError> {
        self.answer().await
    }
}

fn wants_code() -> LoginError {
    let pending = json!({"jar": {"set": [], "values": []}, "values": {}});
    LoginError::SecondFactor(Box::new(serde_json::from_value(pending).unwrap()))
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

fn refused(outcome: Outcome<&'static str>) -> (Denial, Reason) {
    match outcome {
        Outcome::Refused(denial, reason) => (denial, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_has_the_right_password_is_logged_in_at_the_node() {
    let house = House::new("in", "", FILE);
    run(async {
        let outcome = house.log_in(" Alice@a.TEST ", "right", &Fake::says([Ok("open")])).await;
        let Outcome::LoggedIn { session, node, opened, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((session.site(), session.backend(), node.name(), opened), ("*", "node-a", "node-a", "open"));
        assert_eq!((house.counted("in"), house.failed("alice@a.test")), (1, 0));
    });
}

#[test]
fn a_node_is_down_for_a_protocol_that_it_has_no_server_for() {
    let house = House::new("words", "", FILE);
    let words = |node: usize| {
        [Protocol::Http, Protocol::Imap, Protocol::Pop3].map(|protocol| house.1.nodes()[node].state_word(protocol))
    };
    assert_eq!((words(0), words(1)), (["up", "down", "down"], ["drained", "down", "down"]));
}

#[test]
fn all_that_is_wrong_looks_the_same_and_only_the_log_knows_why() {
    let house = House::new("wrong", "", FILE);
    run(async {
        for (name, password, reason) in [
            ("alice", "", Reason::Blank),
            ("alice", " \t", Reason::Blank),
            ("", "right", Reason::Unknown),
            ("nobody", "right", Reason::Unknown),
            ("alice", "wrong", Reason::Wrong),
            ("alice", "right", Reason::NodeRefused),
        ] {
            let outcome = house.log_in(name, password, &Fake::says([Err(LoginError::Wrong)])).await;
            assert_eq!(refused(outcome), (Denial::Wrong, reason), "{name:?} {password:?}");
        }
        assert_eq!(house.counted("wrong"), 6);
        let began = Instant::now();
        house.log_in("nobody", "wrong", &Fake::says([])).await;
        assert!(began.elapsed() >= Duration::from_millis(100), "an answer for nobody comes at a whole step too");
        let outcome = house.log_in("carol", "right", &Fake::says([])).await;
        let problem = Problem::MustChange;
        assert_eq!(refused(outcome), (Denial::Account(problem), Reason::Account(problem)));
        let outcome = house.log_in("carol", "wrong", &Fake::says([])).await;
        assert_eq!(refused(outcome), (Denial::Wrong, Reason::Wrong), "nothing of the account without its password");
    });
}

#[test]
fn where_the_node_checks_the_password_nobody_learns_more_than_it_says() {
    let house = House::new("back-end", "[authentication]\nmode = \"back-end\"\n", FILE);
    run(async {
        let wrong = house.log_in("alice", "x", &Fake::says([Err(LoginError::Wrong)])).await;
        assert_eq!(refused(wrong), (Denial::Wrong, Reason::Wrong));
        assert_eq!(refused(house.log_in("nobody", "x", &Fake::says([])).await), (Denial::Wrong, Reason::Unknown));
        assert_eq!(refused(house.log_in("lost", "x", &Fake::says([])).await), (Denial::Wrong, Reason::NoNode));
        let expired = house.log_in("alice", "y", &Fake::says([Err(LoginError::PasswordExpired)])).await;
        assert_eq!(refused(expired).0, Denial::Account(Problem::PasswordExpired));
        assert!(matches!(house.log_in("alice", "z", &Fake::says([Ok("open")])).await, Outcome::LoggedIn { .. }));
    });
}

#[test]
fn an_outage_is_told_and_is_no_guess() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ldap =
        format!("[directory]\nkind = \"ldap\"\nurls = [\"ldap://{closed}\"]\ninsecure = true\nbase = \"dc=test\"\n");
    let (away, house) = (House::new("away", "", &ldap), House::new("outage", "", FILE));
    run(async {
        let check = |outcome: Outcome<&'static str>, refusal: Refusal, reason: Reason| {
            assert_eq!((outcome.word(), outcome.reason()), ("failed", Some(reason)));
            assert!(matches!(outcome, Outcome::Unavailable(found) if found == refusal));
        };
        let outcome = away.log_in("alice", "right", &Fake::says([])).await;
        check(outcome, Refusal::DirectoryDown, Reason::DirectoryAway);
        assert_eq!((away.counted("failed"), away.failed("alice")), (1, 0));
        check(house.log_in("bob", "right", &Fake::says([])).await, Refusal::NodeDraining, Reason::NodeDrained);
        check(house.log_in("lost", "right", &Fake::says([])).await, Refusal::NoNode, Reason::NoNode);
        for (refusal, reason) in [(Refusal::NodeAway, Reason::NodeDown), (Refusal::NodeTimeout, Reason::NodeTimeout)] {
            let node = Fake::says([Err(refusal.clone().into())]);
            check(house.log_in("alice", "right", &node).await, refusal, reason);
        }
        let node = Fake::says([Err(LoginError::Throttled(Some(Duration::from_secs(90))))]);
        let outcome = house.log_in("alice", "right", &node).await;
        assert!(matches!(outcome, Outcome::Throttled { retry_after, reason: Reason::NodeThrottled }
            if retry_after == Duration::from_secs(90)));
        assert_eq!(house.failed("alice"), 0);
    });
}

/// A node that takes the connection and the request, and says nothing.
#[test]
fn a_node_that_hangs_costs_its_deadline() {
    let node = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = std::env::temp_dir().join(format!("doorward-login-hung-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("people.ldif"), PEOPLE).unwrap();
    let listener = "[[site]]\nhosts = [\"*\"]\n[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n";
    let backend = format!("url = \"http://{}\"\nrecipe = \"sogo\"\nrw-timeout = \"50ms\"", node.local_addr().unwrap());
    let house = House::of(&format!("{FILE}{listener}[[backend]]\nname = \"node-a\"\n{backend}\n"), &folder);
    run(async {
        let (facts, credentials) = (facts("192.0.2.1"), Credentials::Password(Secret::new("right".to_owned())));
        let idle = Rc::default();
        let dialogue = crate::back::ByRecipe {
            idle: &idle,
            peer: &facts.peer,
            allowance: Box::new(|holder| {
                Rc::new(crate::limits::Allowance { room: Arc::default(), holder, bounds: house.1.http.read_ahead })
            }),
            headers: Box::new(|_| hyper::HeaderMap::new()),
            visitor: crate::back::Visitor {
                lang: "en",
                target: "/",
                origin: "http://mail.test".to_owned(),
                device: "desktop",
                template: "",
            },
            watcher: &|_| {},
        };
        let site = Arc::from("*");
        let attempt = attempt(&site, &facts);
        let outcome = log_in(house.neighbours(), &attempt, ("alice", &credentials), &dialogue).await;
        assert_eq!(outcome.reason(), Some(Reason::NodeTimeout));
        assert_eq!((house.counted("failed"), house.failed("alice")), (1, 0));
    });
}

#[test]
fn a_client_that_leaves_is_told_in_the_log_and_hides_no_guess() {
    let house = House::new("gone", "[authentication]\nmode = \"back-end\"\n", FILE);
    run(async {
        let soon = Duration::from_millis(1);
        // Nobody knows yet whether it was right: who guesses would leave before a no.
        assert!(tokio::time::timeout(soon, house.log_in("alice", "x", &Fake::says([]))).await.is_err());
        assert_eq!((house.counted("gone"), house.failed("alice")), (1, 1));
        // It is known to be wrong, and only its answer waits for its time.
        let wrong = Fake::says([Err(LoginError::Wrong)]);
        assert!(tokio::time::timeout(soon, house.log_in("alice", "x", &wrong)).await.is_err());
        assert!(wrong.0.borrow().is_empty(), "the node was asked");
        assert_eq!((house.counted("gone"), house.failed("alice"), house.counted("wrong")), (2, 1, 0));
    });
}

#[test]
fn a_name_that_fails_too_often_is_not_asked_for_any_more() {
    let throttle = "[authentication.throttle]\nmax-failures = 2\nfree-failures = 2\nmax-delay = \"0s\"\n";
    let house = House::new("throttle", throttle, FILE);
    run(async {
        for (name, password) in [("alice", "a"), (" ALICE", "b")] {
            assert_eq!(refused(house.log_in(name, password, &Fake::says([])).await).0, Denial::Wrong);
        }
        let outcome = house.log_in("alice", "right", &Fake::says([])).await;
        assert!(matches!(outcome, Outcome::Throttled { reason: Reason::Throttled, retry_after }
            if retry_after > Duration::from_secs(1)));
        assert_eq!((house.counted("throttled"), house.counted("wrong")), (1, 2));
    });
}

#[test]
fn a_code_is_good_once_for_one_site_and_five_times_for_one_password() {
    let house = House::new("code", "", FILE);
    run(async {
        let first = async || match house.log_in("Alice@A.test", "right", &Fake::says([Err(wants_code())])).await {
            Outcome::SecondFactor(waiting) => waiting,
            other => panic!("{other:?}"),
        };
        let waiting = first().await;
        assert!(!waiting.is_again() && (waiting.user(), waiting.backend()) == ("alice", "node-a"));
        let late = (Denial::TooLate, Reason::CodeTooLate);
        assert_eq!(refused(house.code(&waiting, "1", "other site", &Fake::says([])).await), late);
        let Outcome::SecondFactor(again) = house.code(&waiting, "1", "*", &Fake::says([Err(wants_code())])).await
        else {
            panic!("a wrong code is asked for again")
        };
        assert!(again.is_again());
        // It is a guess at the user, under whichever name the login began.
        assert_eq!((house.failed("alice"), house.failed("alice@a.test")), (1, 0));
        assert_eq!(refused(house.code(&waiting, "2", "*", &Fake::says([Ok("open")])).await), late, "it was used");
        let outcome = house.code(&again, " 2 ", "*", &Fake::says([Ok("open")])).await;
        assert!(
            matches!(&outcome, Outcome::LoggedIn { name, session, .. } if name == "alice@a.test" && session.user() == "alice")
        );
        assert_eq!((house.counted("second-factor"), house.counted("wrong-code"), house.counted("in")), (1, 1, 1));
        assert_eq!(house.counted("stale"), 2);
        let mut waiting = first().await;
        for _ in 1..5 {
            // What is no code at all is not even sent.
            match house.code(&waiting, "\n", "*", &Fake::says([])).await {
                Outcome::SecondFactor(again) => waiting = again,
                other => panic!("{other:?}"),
            }
        }
        let outcome = house.code(&waiting, "wrong", "*", &Fake::says([Err(LoginError::Wrong)])).await;
        assert_eq!(refused(outcome), (Denial::WrongCode, Reason::WrongCode));
    });
}
