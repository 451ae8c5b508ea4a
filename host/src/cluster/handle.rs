//! This door's part of a cluster, for all who have something to tell or to ask.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::inner::{Ask, Inner, Ordered, lock};
use super::member::{self, Own};
use super::message::Order;
use super::settings::Settings;
use super::standing::Seen;
use super::task::{MARGIN, Task};
use super::tried::COUNTS;
use crate::mails::Mails;
use crate::session::Revoked;

/// What waits for the thread.
const ASKS: usize = 8192;
/// How long other doors are waited for.
const ANSWERS: Duration = Duration::from_secs(2);

/// This door's part of a cluster; nothing without `[cluster]`. Part of State.
#[derive(Default)]
pub struct Cluster(pub(super) Arc<Inner>);

/// Who has heard of something.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Told {
    /// Doors that have.
    pub known: Vec<String>,
    /// Doors that have not said so.
    pub silent: Vec<String>,
}

impl Cluster {
    /// A generation goes live, with this cluster or none. The thread begins with the first one that has a cluster.
    pub fn follow(&self, settings: Option<Arc<Settings>>, (revoked, mails): (&Revoked, &Mails)) {
        let is_on = settings.is_some();
        if self.0.settings.load().is_none() && !is_on {
            return;
        }
        revoked.set_margin(if is_on { MARGIN.max(self.0.standing().spread + 1) } else { 0 });
        self.0.settings.store(settings);
        self.0.changed.notify_one();
        let mut begins = None;
        self.0.asks.get_or_init(|| {
            let (asks, asked) = mpsc::channel(ASKS);
            begins = Some(asked);
            asks
        });
        let Some(asked) = begins else { return };
        let inner = Arc::downgrade(&self.0);
        revoked.tell_doors(move |line| {
            if let Some(inner) = inner.upgrade() {
                inner.ended(line);
            }
        });
        let task = Task::new(self.0.clone(), revoked.clone(), mails.clone());
        let thread = std::thread::Builder::new().name("cluster".to_owned());
        if let Err(error) = thread.spawn(move || task.run(asked)) {
            tracing::error!(%error, "there is no thread for the cluster: this door is alone");
        }
    }

    /// Whether there is a cluster.
    pub fn is_on(&self) -> bool {
        self.0.settings.load().is_some()
    }

    /// What this process says of itself from now on.
    pub fn report(&self, own: Own) {
        *lock(&self.0.own) = own;
    }

    /// How the cluster stands; nothing without one.
    pub fn seen(&self) -> Option<Seen> {
        let settings = self.0.settings.load_full()?;
        let refused = self.0.refused.load(Ordering::Relaxed);
        let (own, logins) = (lock(&self.0.own).clone(), lock(&self.0.guesses).counts());
        let logins = std::iter::zip(COUNTS, logins).collect();
        Some(self.0.standing().seen((&settings.name, &settings.door), &own, (refused, logins)))
    }

    /// Tells all doors something, and waits a while for those that are here; nothing without a cluster.
    pub async fn tell(&self, order: Order) -> Option<Told> {
        let settings = self.0.settings.load_full()?;
        let mut told = Told { known: vec![settings.door.clone()], silent: self.0.standing().others(&settings.door) };
        let (sender, mut answers) = mpsc::channel(member::MOST);
        let asked = self.0.is_up.load(Ordering::Acquire) && self.0.ask(Ask::Tell(order, sender));
        let end = Instant::now() + ANSWERS;
        while asked && !told.silent.is_empty() {
            let Ok(Some(door)) = timeout_at(end, answers.recv()).await else { break };
            told.silent.retain(|silent| *silent != door);
            told.known.push(door);
        }
        told.known.sort();
        Some(told)
    }

    /// Waits for orders of other doors.
    pub async fn orders(&self) -> Vec<Ordered> {
        loop {
            let orders = std::mem::take(&mut *lock(&self.0.orders));
            if !orders.is_empty() {
                return orders.into();
            }
            self.0.more.notified().await;
        }
    }

    /// An order of another door is done, which hears so.
    pub fn done(&self, ordered: Ordered) {
        self.0.ask(Ask::Done(ordered.id));
    }

    /// This process is this door no more.
    pub fn leave(&self) {
        self.0.left.store(true, Ordering::Release);
    }
}
