//! The thread: connects, says that this door is here, hears the others, and begins anew after each failure.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::connect::{Link, connect};
use super::crypt::Kind;
use super::ended::{self, Compared};
use super::inner::{Ask, Inner, Ordered, lock};
use super::member::{FORGOTTEN, MOST, Member};
use super::message::{Heard, Message, Order, Unheard, What};
use super::settings::Settings;
use super::standing::Store;
use super::{scripts, tried};
use crate::mails::Mails;
use crate::session::{Learned, Revoked, random};
use crate::text::hex;
use crate::times::{millis, since_1970};

/// How often a door says that it is here.
const BEAT: Duration = Duration::from_secs(3);
/// How often all is compared, whatever happens.
const COMPARE: Duration = Duration::from_secs(300);
/// So much later than now sessions may have begun that end now: clocks are never alike, in seconds.
pub(super) const MARGIN: u64 = 5;
/// The first pause after a failure; each one after it is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// A clock that differs by more is worth a warning, and by more than that this door stays outside. Milliseconds.
const DIFFERS: u64 = 1000;
const OUTSIDE: u64 = 30_000;
/// Of entries that are not ours the log has one line in this time.
const TOLD: Duration = Duration::from_secs(60);
/// Orders of which answers are waited for at once.
const PENDING: usize = 64;

/// What the thread has.
pub(super) struct Task {
    inner: Arc<Inner>,
    revoked: Revoked,
    mails: Mails,
    heard: Heard,
    /// Tells this process from another one of the same door.
    process: u64,
    began: Instant,
    /// When it was told last that entries are not ours.
    refused: Option<Instant>,
}

/// What a beat has heard.
struct Beat {
    era: String,
    clock: i64,
    now: u64,
    members: Vec<(String, Vec<u8>)>,
}

/// Why a connection ends without a failure.
enum End {
    /// Something failed.
    Failed(String),
    /// The configuration says something else.
    Changed,
}

impl Task {
    pub(super) fn new(inner: Arc<Inner>, revoked: Revoked, mails: Mails) -> Self {
        let (process, began) = (u64::from_le_bytes(random()), Instant::now());
        Self { inner, revoked, mails, heard: Heard::default(), process, began, refused: None }
    }

    pub(super) fn run(mut self, asked: mpsc::Receiver<Ask>) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.live(asked)),
            Err(error) => tracing::error!(%error, "there is no runtime for the cluster: this door is alone"),
        }
    }

    async fn live(&mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut pause = PAUSE;
        loop {
            let Some(settings) = self.inner.settings.load_full() else {
                self.inner.standing().store_is(Store::Unknown);
                self.inner.changed.notified().await;
                continue;
            };
            let end = match connect(&settings).await {
                Ok(link) => {
                    let began = Instant::now();
                    let end = self.serve(&settings, link, &mut asked).await;
                    if began.elapsed() > LONGEST {
                        pause = PAUSE;
                    }
                    end
                }
                Err(why) => End::Failed(why),
            };
            self.inner.is_up.store(false, Ordering::Release);
            let End::Failed(why) = end else { continue };
            self.is_away(why);
            // What waits is not lost: all is compared when the store is back.
            while let Ok(ask) = asked.try_recv() {
                self.inner.missed.fetch_or(matches!(ask, Ask::Ended(_)), Ordering::AcqRel);
            }
            let jitter = pause.mul_f64(f64::from(u16::from_le_bytes(random())) / f64::from(u16::MAX));
            tokio::select! {
                () = sleep(pause / 2 + jitter) => {}
                () = self.inner.changed.notified() => {}
            }
            pause = (pause * 2).min(LONGEST);
        }
    }

    fn is_away(&self, why: String) {
        let mut standing = self.inner.standing();
        if standing.store == Store::Clock && why == CLOCK {
            return;
        }
        let was_away = matches!(standing.store, Store::Away(_));
        let store = if why == CLOCK { Store::Clock } else { Store::Away(why.clone()) };
        if !was_away && store != Store::Clock {
            tracing::warn!(why, "the store of the cluster is away");
        }
        standing.store_is(store);
    }

    /// Serves one connection until it ends.
    async fn serve(&mut self, settings: &Arc<Settings>, mut link: Link, asked: &mut mpsc::Receiver<Ask>) -> End {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat: Option<JoinHandle<redis::RedisResult<Beat>>> = None;
        let mut comparing: Option<JoinHandle<redis::RedisResult<Compared>>> = None;
        let (mut era, mut compared) = (None, Instant::now());
        let mut pending: HashMap<String, mpsc::Sender<String>> = HashMap::new();
        loop {
            tokio::select! {
                biased;
                () = link.gone.notified() => return End::Failed(format!("{}: the connection ended", link.server)),
                () = self.inner.changed.notified() => {
                    let now = self.inner.settings.load_full();
                    if now.is_none_or(|now| now.fingerprint != settings.fingerprint) {
                        return End::Changed;
                    }
                }
                Some(sealed) = link.messages.recv() => {
                    link.looked();
                    self.hear(settings, &link, &sealed, &mut pending);
                }
                Some(ask) = asked.recv() => self.ask(settings, &link, ask, &mut pending),
                done = joined(&mut beat) => {
                    beat = None;
                    let heard = match done {
                        Ok(heard) => heard,
                        Err(why) => return End::Failed(format!("{}: {why}", link.server)),
                    };
                    if let Err(end) = self.beaten(settings, &link, &heard) {
                        return end;
                    }
                    let is_new = era.as_ref() != Some(&heard.era);
                    let missed = self.inner.missed.load(Ordering::Acquire) || link.missed.load(Ordering::Acquire);
                    if comparing.is_none() && (is_new || missed || compared.elapsed() > COMPARE) {
                        self.inner.missed.store(false, Ordering::Release);
                        link.missed.store(false, Ordering::Release);
                        (era, compared) = (Some(heard.era), Instant::now());
                        comparing = Some(self.compare(settings, &link, (heard.now, is_new)));
                    }
                }
                done = joined(&mut comparing) => {
                    comparing = None;
                    match done {
                        Ok(found) => self.compared(found),
                        Err(why) => {
                            self.inner.missed.store(true, Ordering::Release);
                            return End::Failed(format!("{}: {why}", link.server));
                        }
                    }
                }
                _ = ticks.tick() => {
                    link.looked();
                    pending.retain(|_, sender| !sender.is_closed());
                    if beat.is_none() {
                        beat = Some(self.beat(settings, &link));
                    }
                }
            }
        }
    }

    /// Says that this door is here, beside all else.
    fn beat(&self, settings: &Arc<Settings>, link: &Link) -> JoinHandle<redis::RedisResult<Beat>> {
        let (mut connection, settings) = (link.connection.clone(), settings.clone());
        let (own, process) = (lock(&self.inner.own).clone(), self.process);
        let has_left = self.inner.left.load(Ordering::Acquire);
        tokio::spawn(async move {
            let began = SystemTime::now();
            let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
            let ours = since_1970(began) + began.elapsed().unwrap_or_default() / 2;
            let now = seconds.saturating_mul(1000).saturating_add(micros / 1000);
            let clock = i64::try_from(millis(ours)).unwrap_or(i64::MAX).saturating_sub_unsigned(now);
            if clock.unsigned_abs() > OUTSIDE || has_left {
                return Ok(Beat { era: String::new(), clock, now, members: Vec::new() });
            }
            let member = Member { door: settings.door.clone(), clock, at: now, process, own };
            let said = settings.crypt.seal(Kind::Member, &serde_json::to_vec(&member).unwrap_or_default());
            let mut script = redis::cmd("EVAL");
            script.arg(scripts::BEAT).arg(2).arg(settings.key("doors")).arg(settings.key("era"));
            script.arg(&settings.door).arg(said).arg(hex(&random::<16>()));
            let (era, members): (String, Vec<Vec<u8>>) = script.query_async(&mut connection).await?;
            let mut pairs = Vec::new();
            let mut members = members.into_iter();
            while let (Some(door), Some(said)) = (members.next(), members.next()) {
                pairs.push((String::from_utf8_lossy(&door).into_owned(), said));
            }
            Ok(Beat { era, clock, now, members: pairs })
        })
    }

    /// A beat was answered.
    fn beaten(&mut self, settings: &Settings, link: &Link, heard: &Beat) -> Result<(), End> {
        let mut standing = self.inner.standing();
        let differs = |clock: i64| clock.unsigned_abs() > DIFFERS;
        let (before, seconds) = (standing.clock, heard.clock / 1000);
        standing.clock = heard.clock;
        if heard.clock.unsigned_abs() > OUTSIDE {
            if standing.store != Store::Clock {
                tracing::error!(
                    seconds,
                    "this door does not join the cluster: its clock differs too much from the store's"
                );
            }
            return Err(End::Failed(CLOCK.to_owned()));
        }
        if differs(heard.clock) && !differs(before) {
            tracing::warn!(seconds, "the clock of this door differs from the store's");
        }
        standing.server.clone_from(&link.server);
        let evicts = (link.policy != "noeviction").then(|| link.policy.clone());
        if let Some(policy) = evicts.as_ref().filter(|_| standing.evicts.is_none()) {
            tracing::warn!(
                policy,
                "the store of the cluster may forget ended sessions: its maxmemory-policy is to be noeviction"
            );
        }
        standing.evicts = evicts;
        if standing.store_is(Store::Up) {
            let server = &link.server;
            tracing::info!(server, "the store of the cluster answers");
        }
        if self.inner.left.load(Ordering::Acquire) {
            drop(standing);
            return Ok(());
        }
        let (mut members, mut forged) = (Vec::new(), 0);
        for (door, said) in &heard.members {
            let opened = settings.crypt.open(Kind::Member, said);
            let member = opened.and_then(|plain| serde_json::from_slice::<Member>(&plain).ok());
            match member.filter(|member| member.door == *door) {
                Some(member) if heard.now.saturating_sub(member.at) > FORGOTTEN => self.forget(settings, link, door),
                Some(member) if members.len() < MOST => members.push(member),
                Some(_) => {}
                None => forged += 1,
            }
        }
        // What was there before this beat. The process before this one is seen once; a second one goes on, and is seen again.
        let other = members
            .iter()
            .any(|member| member.door == settings.door && member.process != self.process && member.is_here(heard.now));
        let twin = other && standing.other;
        if twin && !standing.twin {
            tracing::warn!(door = settings.door, "another process has the name of this door in the cluster");
        }
        (standing.other, standing.twin) = (other, twin);
        members.retain(|member| member.door != settings.door);
        let own = lock(&self.inner.own).clone();
        let door = settings.door.clone();
        members.push(Member { door, clock: heard.clock, at: heard.now, process: self.process, own });
        let (came, went) = standing.doors_are(members, heard.now);
        self.revoked.set_margin(MARGIN.max(standing.spread + 1));
        drop(standing);
        came.iter().for_each(|door| tracing::info!(door, "a door of the cluster is here"));
        went.iter().for_each(|door| tracing::warn!(door, "a door of the cluster is away"));
        self.refuse(forged, "what a door says of itself");
        self.inner.is_up.store(true, Ordering::Release);
        Ok(())
    }

    fn forget(&self, settings: &Settings, link: &Link, door: &str) {
        let (mut connection, key, door) = (link.connection.clone(), settings.key("doors"), door.to_owned());
        tokio::spawn(async move {
            let mut command = redis::cmd("HDEL");
            let _: redis::RedisResult<()> = command.arg(key).arg(door).query_async(&mut connection).await;
        });
    }

    /// Compares all; a store that is new has to hear again what was wrong of late.
    fn compare(
        &self,
        settings: &Arc<Settings>,
        link: &Link,
        (now, is_new): (u64, bool),
    ) -> JoinHandle<redis::RedisResult<Compared>> {
        let (connection, settings) = (link.connection.clone(), settings.clone());
        let (revoked, mails, looked) = (self.revoked.clone(), self.mails.clone(), link.looking());
        let recent = if is_new { lock(&self.inner.guesses).recent() } else { Vec::new() };
        tokio::spawn(async move {
            tried::again(connection.clone(), &settings, recent).await?;
            ended::compare(connection, &settings, (&revoked, &mails), (now, looked)).await
        })
    }

    fn compared(&mut self, found: Compared) {
        let Compared { learned, told, refused } = found;
        if learned + told > 0 {
            tracing::info!(learned, told, "ended sessions are compared with the store");
        }
        self.refuse(refused, "an ended session");
    }

    /// Entries that no door of this cluster wrote are counted, and told of now and then.
    fn refuse(&mut self, count: usize, what: &str) {
        if count == 0 {
            return;
        }
        self.inner.refused.fetch_add(count as u64, Ordering::Relaxed);
        if self.refused.is_none_or(|told| told.elapsed() > TOLD) {
            self.refused = Some(Instant::now());
            tracing::error!(what, count, "the store has entries that no door of this cluster wrote: they are refused");
        }
    }

    /// The store's time, by what the last beat found; it is never far from this door's own, whatever the store says.
    fn now(&self) -> u64 {
        let clock = self.inner.standing().clock.clamp(-OUTSIDE.cast_signed(), OUTSIDE.cast_signed());
        millis(since_1970(SystemTime::now())).saturating_add_signed(-clock)
    }

    /// Whether an order is heeded: none before the first beat of a connection, and none older than this process, which
    /// cannot know whether it was heard before.
    fn heeds(&self, at: u64) -> bool {
        self.inner.is_up.load(Ordering::Acquire) && self.now().saturating_sub(at) <= millis(self.began.elapsed())
    }

    /// Another door says something.
    fn hear(
        &mut self,
        settings: &Arc<Settings>,
        link: &Link,
        sealed: &[u8],
        pending: &mut HashMap<String, mpsc::Sender<String>>,
    ) {
        let ours = millis(since_1970(SystemTime::now()));
        let message = match self.heard.open(&settings.crypt, sealed, ours) {
            Ok(message) if message.from == settings.door => return,
            Ok(message) => message,
            Err(Unheard::Forged) => return self.refuse(1, "a message"),
            Err(Unheard::Replayed) => return self.refuse(1, "a message that was said before"),
            Err(Unheard::Unknown) => return tracing::debug!("a door of another version says something unknown"),
        };
        match message.what {
            What::Ended(line) => {
                if ended::learn(&line, settings.lifetime, (&self.revoked, &self.mails)) == Learned::Nonsense {
                    self.refuse(1, "an ended session");
                }
            }
            // Who gave it names this door as silent.
            What::Do(_) if !self.heeds(message.at) => tracing::debug!("an order was given before this door was here"),
            What::Do(Order::Hear) => self.say(settings, link, What::Done(message.id)),
            What::Do(order) => self.inner.order(Ordered { id: message.id, from: message.from, order }),
            What::Done(id) => {
                if let Some(sender) = pending.get(&id) {
                    let _ = sender.try_send(message.from);
                }
            }
        }
    }

    /// Does what this process wants.
    fn ask(
        &self,
        settings: &Arc<Settings>,
        link: &Link,
        ask: Ask,
        pending: &mut HashMap<String, mpsc::Sender<String>>,
    ) {
        match ask {
            Ask::Ended(line) => {
                let (mut connection, settings, now) = (link.connection.clone(), settings.clone(), self.now());
                let inner = self.inner.clone();
                tokio::spawn(async move {
                    if ended::tell(&mut connection, &settings, &[line], now).await.is_err() {
                        inner.missed.store(true, Ordering::Release);
                    }
                });
            }
            Ask::Tell(order, sender) => {
                let message = Message::new(&settings.door, self.now(), What::Do(order));
                if pending.len() < PENDING {
                    pending.insert(message.id.clone(), sender);
                    self.publish(settings, link, &message);
                }
            }
            Ask::Done(id) => self.say(settings, link, What::Done(id)),
            Ask::Login(login) => {
                let (connection, settings) = (link.connection.clone(), settings.clone());
                // Who waits for an answer goes on without one.
                tokio::spawn(async move { tried::login(connection, &settings, login).await });
            }
        }
    }

    fn say(&self, settings: &Arc<Settings>, link: &Link, what: What) {
        self.publish(settings, link, &Message::new(&settings.door, self.now(), what));
    }

    fn publish(&self, settings: &Arc<Settings>, link: &Link, message: &Message) {
        let (mut connection, channel) = (link.connection.clone(), settings.key("news"));
        let sealed = message.seal(&settings.crypt);
        tokio::spawn(async move {
            let mut command = redis::cmd("PUBLISH");
            // Who does not hear it is named to the operator as silent.
            let _: redis::RedisResult<()> = command.arg(channel).arg(sealed).query_async(&mut connection).await;
        });
    }
}

/// The reason why a door stays outside.
const CLOCK: &str = "the clock differs too much";

/// Waits for what is under way; for ever where nothing is.
async fn joined<T>(job: &mut Option<JoinHandle<redis::RedisResult<T>>>) -> Result<T, String> {
    let Some(job) = job else { return std::future::pending().await };
    match job.await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
