//! Ended sessions: a set in the store that only grows, which each door compares with its own list.
//!
//! Invariant: a door's own list is never shortened by what the store says; what the store lost, doors put back.

use std::collections::HashSet;

use redis::aio::MultiplexedConnection;

use super::crypt::Kind;
use super::message::{Message, What};
use super::scripts;
use super::settings::Settings;
use crate::mails::Mails;
use crate::session::{Learned, Revocation, Revoked, parse_id};
use crate::times::seconds_now;

/// Entries of a page, and sessions that are told at once.
const PAGE: usize = 500;
/// Entries that are looked at; no list is longer by far.
const MOST: usize = 4 << 20;
/// Bytes of an entry: a name that an operator typed, sealed.
const LONGEST: usize = 4096;
/// An entry stays a little longer than the session could have lived: clocks are never alike. Milliseconds.
const MARGIN: u64 = 60_000;

/// What a comparison found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// Sessions that were not known here to have ended.
    pub(super) learned: usize,
    /// Sessions that were not in the store.
    pub(super) told: usize,
    /// Entries that no door wrote.
    pub(super) refused: usize,
}

/// Tells all doors of ended sessions, and keeps them in the store. `now` is the store's time in milliseconds.
pub(super) async fn tell(
    connection: &mut MultiplexedConnection,
    settings: &Settings,
    lines: &[String],
    now: u64,
) -> redis::RedisResult<()> {
    let mut script = redis::cmd("EVAL");
    script.arg(scripts::ENDED).arg(1).arg(settings.key("ended")).arg(settings.key("news"));
    for line in lines {
        let message = Message::new(&settings.door, now, What::Ended(line.clone()));
        let (entry, lives) = (settings.crypt.seal_same(Kind::Ended, line.as_bytes()), lives(line, settings.lifetime));
        script.arg(entry).arg(lives.unwrap_or(MARGIN)).arg(message.seal(&settings.crypt));
    }
    script.query_async(connection).await
}

/// How long a line matters from now on, in milliseconds; none where it does not.
fn lives(line: &str, lifetime: u64) -> Option<u64> {
    let mut words = line.splitn(3, ' ');
    let (kind, time) = (words.next()?, words.next()?.parse::<u64>().ok()?);
    let until = if kind == "session" { time } else { time.saturating_add(lifetime) };
    let left = until.checked_sub(seconds_now()).filter(|left| *left > 0)?;
    // No session lives longer, whatever a line says.
    Some(left.min(lifetime.saturating_add(3600)).saturating_mul(1000).saturating_add(MARGIN))
}

/// Takes what another door ended.
pub(super) fn learn(line: &str, lifetime: u64, (revoked, mails): (&Revoked, &Mails)) -> Learned {
    // Whoever says again what has had its time ends nothing that began since.
    if revocation(line).is_some() && lives(line, lifetime).is_none() {
        return Learned::Known;
    }
    let learned = revoked.learn(line);
    if learned == Learned::News
        && let Some((what, time)) = revocation(line)
    {
        // Of a user those end that began until then, however late the line comes.
        let is_one = matches!(what, Revocation::Session(_));
        mails.end(|mail| (is_one || mail.since <= time) && what.ends(mail.id.get(), &mail.user));
    }
    learned
}

/// What a line ends, and its time.
fn revocation(line: &str) -> Option<(Revocation, u64)> {
    let mut words = line.splitn(3, ' ');
    let (kind, time) = (words.next()?, words.next()?.parse().ok()?);
    let what = match (kind, words.next()) {
        ("session", Some(id)) => Revocation::Session(parse_id(id)?),
        ("user", Some(user)) => Revocation::User(user.to_owned()),
        ("all", None) => Revocation::All,
        _ => return None,
    };
    Some((what, time))
}

/// Compares the store's set with the list: both have everything then.
pub(super) async fn compare(
    mut connection: MultiplexedConnection,
    settings: &Settings,
    (revoked, mails): (&Revoked, &Mails),
    (now, looked): (u64, impl Fn()),
) -> redis::RedisResult<Compared> {
    let (mut found, mut there, mut seen, mut cursor) = (Compared::default(), HashSet::new(), 0, 0_u64);
    loop {
        let mut page = redis::cmd("ZSCAN");
        page.arg(settings.key("ended")).arg(cursor).arg("COUNT").arg(PAGE);
        let (next, entries): (u64, Vec<Vec<u8>>) = page.query_async(&mut connection).await?;
        looked();
        for entry in entries.iter().step_by(2).filter(|entry| entry.len() <= LONGEST) {
            seen += 1;
            let plain = settings.crypt.open(Kind::Ended, entry).and_then(|plain| String::from_utf8(plain).ok());
            let Some(line) = plain else {
                found.refused += 1;
                continue;
            };
            match learn(&line, settings.lifetime, (revoked, mails)) {
                Learned::News => found.learned += 1,
                Learned::Known => {}
                Learned::Nonsense => found.refused += 1,
            }
            there.insert(settings.crypt.print(&[line.as_bytes()]));
        }
        cursor = next;
        if cursor == 0 || seen > MOST {
            break;
        }
    }
    let is_missing = |line: &String| {
        lives(line, settings.lifetime).is_some() && !there.contains(&settings.crypt.print(&[line.as_bytes()]))
    };
    let missing: Vec<String> = revoked.lines().into_iter().filter(is_missing).collect();
    found.told = missing.len();
    for part in missing.chunks(PAGE) {
        tell(&mut connection, settings, part, now).await?;
        looked();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;
    use crate::mails::Mail;

    #[test]
    fn a_line_lives_as_long_as_what_it_ends_could() {
        let now = seconds_now();
        let of = |line: &str| lives(line, 100).map(|lives| lives / 1000);
        assert!(of(&format!("session {} x", now + 50)).is_some_and(|lives| (109..=110).contains(&lives)));
        assert!(of(&format!("user {now} alice")).is_some_and(|lives| (159..=160).contains(&lives)));
        assert_eq!(of("session 5 x"), None);
        assert_eq!(of(&format!("all {}", now - 200)), None);
        assert!(of(&format!("session {} x", u64::MAX)).is_some_and(|lives| lives < 10_000));
    }

    #[test]
    fn a_line_that_comes_late_spares_what_began_after_it() {
        let (revoked, mails, now) = (Revoked::default(), Mails::default(), seconds_now());
        let open = |user| {
            let mail = Mail::new(Protocol::Imap, (user, "node"), std::net::Ipv4Addr::LOCALHOST.into());
            mails.begin(mail, 0).expect("a place")
        };
        let (_alice, _bob) = (open("alice"), open("bob"));
        assert_eq!(learn(&format!("user {} alice", now - 50), 1000, (&revoked, &mails)), Learned::News);
        assert_eq!(learn(&format!("user {} bob", now + 50), 1000, (&revoked, &mails)), Learned::News);
        assert_eq!(mails.end(|mail| mail.user == "bob"), 0, "it was told to end");
        assert_eq!(mails.end(|mail| mail.user == "alice"), 1, "it was not");
    }

    #[test]
    fn what_a_line_ends_is_known_by_its_kind() {
        assert_eq!(revocation("all 5"), Some((Revocation::All, 5)));
        assert_eq!(revocation("user 5 zoë x"), Some((Revocation::User("zoë x".to_owned()), 5)));
        let id = "000102030405060708090a0b0c0d0e0f";
        assert!(matches!(revocation(&format!("session 5 {id}")), Some((Revocation::Session(_), 5))));
        assert_eq!(revocation("session 5 x"), None);
    }
}
