//! Sessions of mail programs that are open: how many a user has, where they are, and how they are told to end.
//!
//! Invariant: a session is here from its login to its end, and counts for its user as long.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::config::{Protocol, Token};
use crate::times::seconds_now;

/// All of them. Part of State.
#[derive(Debug, Default, Clone)]
pub struct Mails {
    table: Arc<Mutex<Table>>,
    /// What a node said last of a token that it refused.
    challenges: Arc<Mutex<Challenges>>,
}

/// By site and mechanism.
type Challenges = HashMap<(Arc<str>, &'static str), String>;

/// What is said of a token where no node said anything yet (RFC 7628, section 3.2.2).
const CHALLENGE: &str = "{\"status\":\"invalid_token\"}";

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Arc<Mail>>,
    users: HashMap<String, usize>,
}

/// One session.
#[derive(Debug)]
pub struct Mail {
    /// What the log calls it, once its login is over.
    pub id: OnceLock<[u8; 16]>,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whose it is.
    pub user: String,
    /// The node.
    pub node: String,
    /// The client.
    pub client: IpAddr,
    /// When it began, in seconds since 1970.
    pub since: u64,
    told: AtomicBool,
    end: Notify,
}

/// A session's place in the table, until it is dropped.
#[derive(Debug)]
pub struct OpenMail {
    table: Arc<Mutex<Table>>,
    number: u64,
    mail: Arc<Mail>,
}

impl Mail {
    /// A session that begins now.
    pub fn new(protocol: Protocol, (user, node): (&str, &str), client: IpAddr) -> Self {
        let (user, node, since) = (user.to_owned(), node.to_owned(), seconds_now());
        let (id, told, end) = (OnceLock::new(), AtomicBool::new(false), Notify::new());
        Self { id, protocol, user, node, client, since, told, end }
    }
}

impl Mails {
    /// One more session; none where its user has `most` already. 0 is no limit.
    pub fn begin(&self, mail: Mail, most: usize) -> Option<OpenMail> {
        let mut table = lock(&self.table);
        let of_user = table.users.entry(mail.user.clone()).or_default();
        if most > 0 && *of_user >= most {
            return None;
        }
        *of_user += 1;
        let (number, mail) = (table.next, Arc::new(mail));
        table.next += 1;
        table.open.insert(number, mail.clone());
        Some(OpenMail { table: self.table.clone(), number, mail })
    }

    /// What is said of a token that is refused: what the node said; where none was asked, what one said last to a token of this
    /// site and mechanism, so that it tells nobody whose name is known.
    pub fn challenge(&self, (site, mechanism): (Arc<str>, Token), said: Option<String>) -> String {
        let mut last = self.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (site, mechanism.name());
        match said {
            Some(said) => {
                last.insert(key, said.clone());
                said
            }
            None => last.get(&key).map_or_else(|| CHALLENGE.to_owned(), Clone::clone),
        }
    }

    /// Tells sessions to end: how many.
    pub fn end(&self, which: impl Fn(&Mail) -> bool) -> usize {
        let table = lock(&self.table);
        let told = table.open.values().filter(|mail| which(mail) && !mail.told.swap(true, Ordering::AcqRel));
        told.inspect(|mail| mail.end.notify_one()).count()
    }

    /// Those that are meant, the newest first.
    pub fn find(&self, which: impl Fn(&Mail) -> bool) -> Vec<Arc<Mail>> {
        let mut found: Vec<_> = lock(&self.table)
            .open
            .iter()
            .filter(|(_, mail)| which(mail))
            .map(|(number, mail)| (*number, mail.clone()))
            .collect();
        found.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
        found.into_iter().map(|(_, mail)| mail).collect()
    }

    /// How many are open, by protocol and node.
    pub fn counts(&self) -> Vec<((&'static str, String), u64)> {
        let mut counts = std::collections::BTreeMap::<_, u64>::new();
        for mail in lock(&self.table).open.values() {
            *counts.entry((mail.protocol.name(), mail.node.clone())).or_default() += 1;
        }
        counts.into_iter().collect()
    }
}

impl Mail {
    /// Until it is told to end.
    pub async fn told(&self) {
        while !self.told.load(Ordering::Acquire) {
            self.end.notified().await;
        }
    }
}

impl OpenMail {
    /// The session itself.
    pub fn mail(&self) -> Arc<Mail> {
        self.mail.clone()
    }

    /// What the log calls it.
    pub fn is(&self, id: [u8; 16]) {
        let _ = self.mail.id.set(id);
    }
}

impl Drop for OpenMail {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        table.open.remove(&self.number);
        if let Some(of_user) = table.users.get_mut(&self.mail.user) {
            *of_user -= 1;
            if *of_user == 0 {
                table.users.remove(&self.mail.user);
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(user: &str, node: &str) -> Mail {
        Mail::new(Protocol::Imap, (user, node), IpAddr::from([192, 0, 2, 1]))
    }

    #[test]
    fn a_user_has_so_many_sessions_and_gives_them_back() {
        let mails = Mails::default();
        let one = mails.begin(mail("alice", "a"), 2).unwrap();
        let _two = mails.begin(mail("alice", "b"), 2).unwrap();
        assert!(mails.begin(mail("alice", "a"), 2).is_none());
        assert!(mails.begin(mail("bob", "a"), 2).is_some());
        assert_eq!(mails.counts(), [(("imap", "a".to_owned()), 1), (("imap", "b".to_owned()), 1)]);
        let users: Vec<_> = mails.find(|mail| mail.node == "a").into_iter().map(|mail| mail.user.clone()).collect();
        assert_eq!(users, ["alice"], "bob's did not stay");
        drop(one);
        assert!(mails.begin(mail("alice", "a"), 2).is_some());
        assert_eq!(mails.counts(), [(("imap", "b".to_owned()), 1)]);
    }

    #[test]
    fn challenges_stay_with_their_site_and_mechanism() {
        let (mails, said) = (Mails::default(), "{\"status\":\"401\"}");
        let challenge =
            |site: &str, token, said: Option<&str>| mails.challenge((site.into(), token), said.map(str::to_owned));
        assert_eq!(challenge("one", Token::XOauth2, None), CHALLENGE);
        assert_eq!(challenge("one", Token::XOauth2, Some(said)), said);
        assert_eq!(challenge("one", Token::XOauth2, None), said);
        assert_eq!(challenge("one", Token::OAuthBearer, None), CHALLENGE);
        assert_eq!(challenge("two", Token::XOauth2, None), CHALLENGE);
    }

    #[tokio::test]
    async fn sessions_are_told_to_end_once() {
        let mails = Mails::default();
        let (alice, bob) = (mails.begin(mail("alice", "a"), 0).unwrap(), mails.begin(mail("bob", "a"), 0).unwrap());
        assert_eq!(mails.end(|mail| mail.user == "alice"), 1);
        assert_eq!(mails.end(|mail| mail.user == "alice"), 0);
        alice.mail.told().await;
        let waits =
            std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::pin!(bob.mail.told()).poll(cx).is_pending()));
        assert!(waits.await);
    }
}
