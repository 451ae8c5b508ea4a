//! Logins as the store knows them: sets of keyed fingerprints, and places for those that are being checked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;

use super::scripts;
use super::settings::Settings;
use crate::times::millis;

/// Wrong logins that are remembered here, to be told again when the store lost them.
const RECENT: usize = 1 << 14;
/// A login takes its place for so long, if nobody says how it ended: longer than the longest delay and all deadlines.
const HELD: Duration = Duration::from_secs(60);
/// What is good once is remembered under the name of no other thing.
const ONCE: &str = "o";

/// What the store is asked of a login, and told at its end.
#[derive(Clone)]
pub(super) struct Tried {
    /// Hashes of the name, and of the network.
    pub(super) user: String,
    pub(super) source: String,
    pub(super) token: String,
    pub(super) fingerprint: String,
    /// When, and for how long that counts.
    pub(super) at: Instant,
    pub(super) window: Duration,
}

/// What the thread is asked of logins.
pub(super) enum Login {
    Admit {
        tried: Tried,
        most: usize,
        max_names: usize,
        answer: oneshot::Sender<Answer>,
    },
    Wrong(Tried),
    Right(Tried),
    Over(Tried),
    /// Whether this hash was never said before, and for how long it is remembered.
    Once(String, Duration, oneshot::Sender<bool>),
    ReleaseName(String),
    ReleaseNetwork(String),
}

/// What the store says of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: u64,
    pub(super) wrong: usize,
    pub(super) names: u32,
    pub(super) of_user: u32,
    pub(super) left: i64,
}

/// What is remembered of the logins here.
#[derive(Default)]
pub(super) struct Guesses {
    pub(super) recent: VecDeque<Tried>,
    pub(super) slow: u32,
    pub(super) rests: Option<Instant>,
    /// Logins that the store answered, that it was too slow for, and that it was away for.
    pub(super) counts: [u64; 3],
}

/// What the counts are of.
pub(super) const COUNTS: [&str; 3] = ["answered", "late", "away"];

impl Guesses {
    /// A login was wrong.
    pub(super) fn remember(&mut self, tried: Tried) {
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(tried);
    }

    /// How many logins the store answered, was too slow for, and was away for.
    pub(super) fn counts(&self) -> [u64; 3] {
        self.counts
    }

    /// What the store may have lost.
    pub(super) fn recent(&mut self) -> Vec<Tried> {
        self.recent.retain(|tried| tried.at.elapsed() < tried.window);
        self.recent.iter().cloned().collect()
    }
}

/// Keys of a login: passwords that were wrong, logins that are being checked, names of the network, guesses at the name,
/// sources of the name, and when it was right last.
fn keys(settings: &Settings, tried: &Tried) -> [String; 6] {
    let Tried { user, source, .. } = tried;
    let kinds = [
        format!("w:{user}:{source}"),
        format!("r:{user}:{source}"),
        format!("n:{source}"),
        format!("u:{user}"),
        format!("i:{user}"),
        format!("k:{user}:{source}"),
    ];
    kinds.map(|name| settings.key(&name))
}

fn wrong(settings: &Settings, tried: &Tried) -> redis::Cmd {
    let age = tried.at.elapsed();
    let left = tried.window.saturating_sub(age);
    let mut script = redis::cmd("EVAL");
    script.arg(scripts::WRONG).arg(6).arg(&keys(settings, tried)).arg(&tried.token).arg(&tried.fingerprint);
    script.arg(&tried.user).arg(&tried.source).arg(millis(left).max(1)).arg(millis(age));
    script
}

/// Asks or tells the store.
pub(super) async fn login(
    mut connection: MultiplexedConnection,
    settings: &Settings,
    login: Login,
) -> redis::RedisResult<()> {
    let connection = &mut connection;
    let mut script = redis::cmd("EVAL");
    match login {
        Login::Admit { tried, most, max_names, answer } => {
            script.arg(scripts::ADMIT).arg(4).arg(&keys(settings, &tried)[..4]);
            script.arg(&tried.token).arg(most).arg(max_names).arg(millis(HELD));
            let (verdict, wrong, names, of_user, left) = script.query_async(connection).await?;
            let _ = answer.send(Answer { verdict, wrong, names, of_user, left });
            Ok(())
        }
        Login::Wrong(tried) => wrong(settings, &tried).query_async(connection).await,
        Login::Right(tried) => {
            let [wrong, running, .., right] = keys(settings, &tried);
            script.arg(scripts::RIGHT).arg(3).arg(wrong).arg(running).arg(right);
            script.arg(&tried.token).arg(millis(tried.window).max(1)).query_async(connection).await
        }
        Login::Over(tried) => {
            let [_, running, ..] = keys(settings, &tried);
            redis::cmd("ZREM").arg(running).arg(&tried.token).query_async(connection).await
        }
        Login::Once(hash, lifetime, answer) => {
            let mut command = redis::cmd("SET");
            command.arg(settings.key(&format!("{ONCE}:{hash}"))).arg(1).arg("NX").arg("PX").arg(millis(lifetime));
            let said: Option<String> = command.query_async(connection).await?;
            let _ = answer.send(said.is_some());
            Ok(())
        }
        Login::ReleaseName(user) => {
            script.arg(scripts::RELEASE_NAME).arg(2).arg(settings.key(&format!("i:{user}")));
            script.arg(settings.key(&format!("u:{user}"))).arg(settings.key(&format!("w:{user}:")));
            script.query_async(connection).await
        }
        Login::ReleaseNetwork(network) => {
            script.arg(scripts::RELEASE_NETWORK).arg(1).arg(settings.key(&format!("n:{network}")));
            script.arg(settings.key("w:")).arg(network);
            script.query_async(connection).await
        }
    }
}

/// Tells the store again what was wrong of late.
pub(super) async fn again(
    mut connection: MultiplexedConnection,
    settings: &Settings,
    recent: Vec<Tried>,
) -> redis::RedisResult<()> {
    for part in recent.chunks(100) {
        let mut all = redis::pipe();
        part.iter().for_each(|tried| _ = all.add_command(wrong(settings, tried)).ignore());
        let () = all.query_async(&mut connection).await?;
    }
    Ok(())
}
