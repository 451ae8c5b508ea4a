//! The verbs of the helpdesk: why somebody could not log in, who is there, what the directory says of somebody, and the
//! release of who is shut out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value as Json, json};
use zeroize::Zeroize as _;

use super::call::{Answer, Call};
use super::cluster::everywhere;
use super::mails;
use crate::auth::Problem;
use crate::cluster::Order;
use crate::config::units::duration;
use crate::config::{Mode, Network};
use crate::directory::{Asked, Bound, User};
use crate::limits::{network_of, network_text};
use crate::live::Live;
use crate::secret::Secret;
use crate::state::{LONGEST, Shared};
use crate::times::{millis, seconds_now};
use crate::tries::Record;

/// So many sessions are listed; who has more asks for those of a node or a user.
const LISTED: usize = 1000;

/// Bytes of a password that is sent to be tested.
pub(super) const PASSWORD: usize = 4 << 10;

/// One test of the directory at a time: it opens connections that logins have no part in.
static TESTING: Mutex<()> = Mutex::new(());

/// A name that an operator typed, and the names that its user has typed of late.
struct Names {
    /// Its canonical form.
    name: String,
    /// The attempts of this user, the newest first.
    tries: Vec<Arc<Record>>,
}

impl Names {
    fn of(shared: &Shared, live: &Live, typed: &str) -> Self {
        let name = live.directory.canonical(typed).unwrap_or_else(|| typed.trim().to_lowercase());
        let mut tries = shared.state.tries.of_user(&name);
        // However it was typed, it is one user that the directory knows.
        let users: BTreeSet<&str> = tries.iter().filter_map(|record| record.user.as_deref()).collect();
        if users.iter().any(|user| *user != name) {
            tries = shared.state.tries.find(|record| record.user.as_deref().is_some_and(|user| users.contains(user)));
        }
        Self { name, tries }
    }

    /// All names that failures may be counted for, at all sites.
    fn counted(&self, live: &Live) -> BTreeSet<(Arc<str>, String)> {
        let mut names = BTreeSet::from([self.name.clone()]);
        for record in &self.tries {
            names.extend(live.directory.canonical(&record.typed));
            names.extend(record.user.clone());
        }
        let sites = live.site_names();
        sites.iter().flat_map(|site| names.iter().map(|name| (site.clone(), name.clone()))).collect()
    }
}

fn shared(call: &Call) -> &Arc<Shared> {
    call.control.generations().proxy().shared()
}

/// The user that is meant; or why there is none.
fn user_of(call: &Call) -> Result<String, Answer> {
    let user = call.parameter("user").map(str::trim).filter(|user| !user.is_empty());
    user.map(str::to_owned).ok_or_else(|| Answer::refused(StatusCode::BAD_REQUEST, "user is missing"))
}

/// The last attempts of a user in words, and whether the throttle shuts the name or its networks out.
pub(super) async fn why(call: Call) -> Answer {
    let user = match user_of(&call) {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let (shared, live) = (shared(&call), shared(&call).live.load());
    let names = Names::of(shared, &live, &user);
    Answer::told(json!({
        "user": user,
        "name": names.name,
        "tries": names.tries.iter().map(|record| record.shown()).collect::<Json>(),
        "shut-out": shut_out(shared, &live, &names),
    }))
}

/// What the throttle has against a user now.
fn shut_out(shared: &Shared, live: &Live, names: &Names) -> Json {
    let (throttle, settings) = (&shared.state.throttle, &live.throttle);
    let row = |kind: &str, site: Option<&str>, name: Option<&str>, network: Option<IpAddr>, left: Duration| {
        json!({
            "what": kind, "site": site, "name": name, "network": network.map(network_text),
            "left": left.as_secs(), "until": seconds_now().saturating_add(left.as_secs()),
        })
    };
    let mut rows = Vec::new();
    for (site, name) in names.counted(live) {
        let shut = throttle.shut_out(&site, &name, settings);
        let (site, name) = (Some(&*site), Some(name.as_str()));
        rows.extend(shut.networks.iter().map(|(network, left)| row("name", site, name, Some(*network), *left)));
        rows.extend(shut.device.map(|left| row("device", site, name, None, left)));
        rows.extend(shut.slow.map(|left| row("slow", site, name, None, left)));
    }
    let networks: BTreeSet<IpAddr> = names.tries.iter().map(|record| network_of(record.client)).collect();
    let shut = networks.iter().filter_map(|network| Some((*network, throttle.network(*network, settings)?)));
    rows.extend(shut.map(|(network, left)| row("network", None, None, Some(network), left)));
    Json::Array(rows)
}

/// Sessions seen of late: of all, of a node, or of a user; the one that was seen last comes first. With those of mail programs.
pub(super) async fn sessions(call: Call) -> Answer {
    let (shared, live) = (shared(&call), shared(&call).live.load());
    let user = call.parameter("user").map(|typed| live.directory.canonical(typed).unwrap_or_else(|| typed.to_owned()));
    let node = call.parameter("node");
    if let Some(node) = node.filter(|node| live.nodes().iter().all(|one| one.name() != *node)) {
        let why = format!("no back-end is named \"{}\"", node.escape_debug());
        return Answer::refused(StatusCode::NOT_FOUND, why);
    }
    let mut found = shared.sessions();
    found.retain(|one| {
        node.is_none_or(|node| one.session().backend() == node)
            && user.as_ref().is_none_or(|user| one.session().user().to_lowercase() == user.to_lowercase())
    });
    found.sort_by_key(|one| std::cmp::Reverse(one.last()));
    let rows = found.iter().take(LISTED).map(|one| {
        let session = one.session();
        json!({
            "session": session.id(),
            "user": session.user(),
            "site": session.site(),
            "node": session.backend(),
            "network": network_text(one.network()),
            "since": session.started(),
            "last": one.last(),
        })
    });
    let mail = mails::shown(&shared.state.mails, |mail| {
        node.is_none_or(|node| mail.node == node)
            && user.as_ref().is_none_or(|user| mail.user.to_lowercase() == user.to_lowercase())
    });
    Answer::told(json!({"sessions": rows.collect::<Json>(), "in-all": found.len(), "mail": mail}))
}

/// Lets somebody try again whom the throttle shuts out: a name from everywhere, or a network with all its names.
pub(super) async fn release(call: Call) -> Answer {
    let (shared, live) = (shared(&call), shared(&call).live.load_full());
    let (throttle, cluster) = (&shared.state.throttle, &shared.state.cluster);
    match (call.parameter("user"), call.parameter("network")) {
        (Some(user), None) if !user.trim().is_empty() => {
            let names = Names::of(shared, &live, user).counted(&live);
            let released = names.iter().filter(|(site, name)| throttle.release_name(site, name)).count();
            let names: Vec<(String, String)> = names.into_iter().map(|(site, name)| (site.to_string(), name)).collect();
            names.iter().for_each(|(site, name)| cluster.release_name(site, name));
            everywhere(&call.control, Order::ReleaseNames(names), Answer::done("released", released)).await
        }
        (None, Some(typed)) => match Network::parse(typed) {
            Some(network) => {
                let shut = throttle.networks(&live.throttle).into_iter().map(|(address, _)| address);
                let meant = shut.filter(|address| network.contains(*address)).chain([network.address()]);
                meant.for_each(|address| cluster.release_network(&network_text(address)));
                let answer = Answer::done("released", throttle.release_network(&network));
                everywhere(&call.control, Order::ReleaseNetwork(typed.to_owned()), answer).await
            }
            None => {
                Answer::refused(StatusCode::BAD_REQUEST, "network is none: 192.0.2.0/24, 2001:db8::/48, or an address")
            }
        },
        _ => Answer::refused(StatusCode::BAD_REQUEST, "one of user and network"),
    }
}

/// What each directory server says of a user, and of the password that was sent, if one was.
pub(super) async fn directory_test(call: Call) -> Answer {
    let user = match user_of(&call) {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let live = shared(&call).live.load_full();
    let secret = secret(call.body);
    // The connections of a directory belong to one thread.
    let (tell, told) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new().name("directory-test".to_owned()).spawn(move || {
        let answer = match TESTING.try_lock() {
            Err(TryLockError::WouldBlock) => {
                Answer::refused(StatusCode::CONFLICT, "another test is under way: one at a time")
            }
            Ok(_) | Err(TryLockError::Poisoned(_)) => test(&live, &user, secret.as_ref()),
        };
        // Who asked may have left.
        let _ = tell.send(answer);
    });
    let none = || Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, "the test came to no end");
    if spawned.is_err() {
        return none();
    }
    told.await.unwrap_or_else(|_| none())
}

/// The password that was sent.
fn secret(body: Bytes) -> Option<Secret> {
    let text = std::str::from_utf8(&body).ok().filter(|text| !text.is_empty());
    let secret = text.map(|text| Secret::new(text.to_owned()));
    if let Ok(mut body) = body.try_into_mut() {
        body.zeroize();
    }
    secret
}

fn test(live: &Live, user: &str, secret: Option<&Secret>) -> Answer {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, error),
    };
    let name = live.directory.canonical(user);
    let asked = name.as_ref().map_or_else(Vec::new, |name| {
        let check = secret.map(|secret| (live.mode, secret));
        tokio::task::LocalSet::new().block_on(&runtime, live.directory.ask_each(name, check))
    });
    let mapped = name.as_ref().and_then(|name| live.directory.mapped(name));
    let mode = match live.mode {
        // The node checks it; here a bind does.
        Mode::BackEnd => Mode::LdapBind,
        mode => mode,
    };
    Answer::told(json!({
        "user": user,
        "name": name,
        "map": mapped,
        "checked": secret.map(|_| mode.name()),
        "servers": asked.iter().map(|asked| of_asked(live, asked, mapped.as_deref())).collect::<Json>(),
    }))
}

fn of_asked(live: &Live, asked: &Asked, mapped: Option<&str>) -> Json {
    let mut row = json!({
        "server": asked.server,
        "ms": millis(asked.took),
    });
    match &asked.users {
        Ok(users) => row["entries"] = users.iter().map(|user| of_user(live, user, mapped)).collect(),
        Err(error) => row["error"] = json!(error),
    }
    row["password"] = json!(asked.password.as_ref().map(|password| match password {
        Ok(Bound::Right) => "right".to_owned(),
        Ok(Bound::Wrong) => "wrong".to_owned(),
        Ok(Bound::Account(problem)) => Problem::name(*problem).to_owned(),
        Err(error) => error.clone(),
    }));
    row
}

/// An entry, with the node that it leads to.
fn of_user(live: &Live, user: &User, mapped: Option<&str>) -> Json {
    let hosts = live.directory.hosts_of(user);
    let node = match mapped {
        Some(mapped) => live.node(mapped),
        None if hosts.is_empty() => live.default_node(),
        None => hosts.iter().find_map(|host| live.node(host)),
    };
    json!({
        "dn": user.dn,
        "name": live.directory.name_of(user),
        "hosts": hosts,
        "node": node.map(|node| node.name()),
        "attributes": live.directory.exposed(user),
    })
}

/// Follows a user for a while, in a file of the state directory; for no time, ends that.
pub(super) async fn trace(call: Call) -> Answer {
    let user = match user_of(&call) {
        Ok(user) => user,
        Err(answer) => return answer,
    };
    let proxy = call.control.generations().proxy();
    let (shared, live) = (proxy.shared().clone(), proxy.shared().live.load_full());
    let name = live.directory.canonical(&user).unwrap_or_else(|| user.to_lowercase());
    let Some(time) = call.parameter("for").and_then(duration).filter(|time| *time <= LONGEST) else {
        let why = format!("for is no time of at most {} s, such as 10m", LONGEST.as_secs());
        return Answer::refused(StatusCode::BAD_REQUEST, why);
    };
    if time.is_zero() {
        return Answer::done("ended", shared.state.followed.end_user(&name));
    }
    let Some(folder) = proxy.state_directory() else {
        return Answer::refused(StatusCode::CONFLICT, "a trace is a file in the state-directory, and there is none");
    };
    let (number, path) = match shared.state.followed.begin(&name, time, folder) {
        Ok(begun) => begun,
        Err(error) => return Answer::refused(StatusCode::CONFLICT, error),
    };
    tracing::warn!(user = name, by = %call.caller.proof, seconds = time.as_secs(), "a user is followed for a while");
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        shared.state.followed.end_number(number);
    });
    Answer::told(json!({"user": name, "file": path.display().to_string(), "until": seconds_now() + time.as_secs()}))
}

/// How busy it is right now: nodes, queues, logins, and the slowest requests.
pub(super) async fn top(call: Call) -> Answer {
    let (shared, live) = (shared(&call), shared(&call).live.load());
    let sessions = shared.sessions_by_node();
    let nodes = live.nodes().iter().map(|node| super::status::of_node(node, &sessions));
    let whole = call.caller.sees_people();
    let slowest = shared.state.slowest.look();
    let slowest = slowest.iter().map(|slow| {
        let (line, session) = (&slow.line, slow.line.session.as_deref());
        json!({
            "id": line.id.as_str(),
            "ago": slow.at.elapsed().as_secs(),
            "ms": millis(slow.waited),
            "queue-ms": millis(line.queue),
            "status": line.status,
            "method": line.method().map(hyper::Method::as_str),
            "path": Some(line.path()).filter(|_| whole),
            "site": line.site.as_deref(),
            "node": session.map(|session| session.backend()),
            "user": session.map(|session| call.caller.name_of(session.user())),
        })
    });
    Answer::told(json!({
        "time": seconds_now(),
        "generation": live.generation,
        "backends": nodes.collect::<Json>(),
        "sessions": sessions.values().sum::<u64>(),
        "connections": shared.state.flow.open().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "logins": shared.state.logins.by_outcome(),
        "slowest": slowest.collect::<Json>(),
    }))
}
