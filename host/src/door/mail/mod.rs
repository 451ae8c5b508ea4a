//! Mail programs: what a listener of a mail protocol speaks, from the greeting to the login; after it bytes are copied.
//!
//! Invariants: before the login nothing is forwarded, one bound holds for all that a client may send, and one deadline for all
//! of it together; no byte of a client is in an answer but a valid tag; each session ends in one line of the log.

mod imap;
mod line;
mod pop3;
mod refused;
mod sieve;
mod submission;
mod talk;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_wire::mail::is_tls;
use doorward_wire::mail::scan::{Found, Limits, Literals, Scanner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zeroize::{Zeroize as _, Zeroizing};

use self::imap::Imap;
use self::line::Line;
use self::pop3::Pop3;
use self::refused::No;
use self::sieve::Sieve;
use self::submission::Submission;
use self::talk::{Bye, Heard, Offers, Talk};
use super::client::Client;
use super::drain::{Drain, stopped};
use super::handshake::{self, Channel};
use crate::back::{AtMailServer, Challenged, Closed, MailSession, Moved, Terms};
use crate::config::{Mail, Mode, Protocol, Question, Token, Tokens};
use crate::login::{self, Attempt, Credentials, Neighbours, Outcome, Reason};
use crate::policy::Facts;
use crate::request_id::RequestId;
use crate::secret::Secret;
use crate::session::Session;
use crate::worker::Worker;

/// Answers that may wait until they are written before more is read.
const AHEAD: usize = 16 << 10;
/// So much is read at once before the login.
const STEP: usize = 4 << 10;
/// So much of what a client still sends is thrown away when it was told goodbye.
const UNREAD: usize = 256 << 10;
/// A client that reads nothing, or does not leave, is not told goodbye for longer.
const GOODBYE: Duration = Duration::from_secs(2);
/// How often it is looked whether another process ended a session.
const LOOK: Duration = Duration::from_secs(60);
/// Sessions of a process that ends are closed spread over this part of the time that they have.
const SPREAD: (u32, u32) = (3, 4);

/// A connection until its login.
struct Door<T> {
    client: Client,
    mail: Mail,
    line: Line,
    talk: T,
    scanner: Scanner,
    /// What the client sent and was not taken yet. A password may be in it.
    read: Zeroizing<Vec<u8>>,
    out: Vec<u8>,
    errors: u64,
    auth_errors: u64,
    id: RequestId,
}

/// Who got in, and where.
struct Entered {
    session: Box<Session>,
    node: String,
    at_node: MailSession,
}

/// Serves a connection to its end, in the protocol of its listener.
pub(super) async fn serve(client: Client, channel: Channel) {
    match client.listener.config.protocol {
        Protocol::Imap => speak::<Imap>(client, channel).await,
        Protocol::Pop3 => speak::<Pop3>(client, channel).await,
        Protocol::Sieve => speak::<Sieve>(client, channel).await,
        Protocol::Submission => speak::<Submission>(client, channel).await,
        // It has a door of its own.
        Protocol::Http => {}
    }
}

async fn speak<T: Talk>(client: Client, channel: Channel) {
    let line = match channel {
        Channel::Clear(stream) => Line::Clear(stream),
        Channel::Tls(stream) => Line::Tls(stream),
        // A mail program that does not know that TLS comes first would read an answer as its own protocol's.
        Channel::NotTls(_) => return,
    };
    let (began, stop, worker) = (Instant::now(), client.drain.clone(), client.worker.clone());
    // Boxed: what a login needs is gone when its session begins.
    let mut door = Box::new(Door::<T>::new(client, line));
    let entered = Box::pin(door.run(stop.clone())).await;
    let Door { client, line, out, read, id, mail, .. } = *door;
    let Some(entered) = entered else {
        let (client, protocol) = (client.peer.address, T::PROTOCOL.name());
        return tracing::debug!(%id, %client, protocol, "a mail program left without a login");
    };
    let (mut line, mut early) = (line, read.to_vec());
    early.shrink_to_fit();
    drop((out, read));
    let moved = Moved::default();
    let Entered { session, node, at_node } = entered;
    // Until it is over by itself.
    let told = Cell::new("timeout");
    let mut end = EndOfSession {
        began,
        id,
        client: &client,
        session: &session,
        node: &node,
        moved: &moved,
        protocol: T::PROTOCOL,
        ended: "drain",
    };
    let over = {
        let (open, told, session) = (at_node.open.mail(), &told, &session);
        async move {
            told.set(tokio::select! {
                () = open.told() => "kicked",
                () = revoked(&worker, session) => "kicked",
                () = spread(stop, worker.live().drain_timeout) => "drain",
            });
            told.get() == "drain"
        }
    };
    let terms = Terms { idle: mail.idle_timeout(T::PROTOCOL), over, bye: T::BYE };
    end.ended = match at_node.run(&mut line, early, &moved, terms).await {
        Closed::InOrder => "whole",
        Closed::Client => "client",
        Closed::Node => "node",
        Closed::Deadline => told.get(),
        Closed::Refused => "refused",
    };
}

/// Until the session was ended by an operator in another process, which tells this one so.
async fn revoked(worker: &Worker, session: &Session) {
    loop {
        tokio::time::sleep(LOOK).await;
        if worker.shared.state.revoked.has(session) {
            return;
        }
    }
}

/// Until the process ends, and then for a while of this session's own: clients come back at once, and not all of them at the
/// same moment.
async fn spread(mut stop: Drain, timeout: Duration) {
    stopped(&mut stop).await;
    let (part, of) = SPREAD;
    let share = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    tokio::time::sleep((timeout * part / of).mul_f64(share)).await;
}

/// The one line of a session, however it ends.
struct EndOfSession<'a> {
    began: Instant,
    id: RequestId,
    client: &'a Client,
    session: &'a Session,
    node: &'a str,
    moved: &'a Moved,
    protocol: Protocol,
    ended: &'static str,
}

impl Drop for EndOfSession<'_> {
    fn drop(&mut self) {
        let Self { node, protocol, ended, .. } = self;
        let id = self.id.as_str();
        let peer = &self.client.peer;
        let (client, listener, protocol) = (peer.address, &peer.listener, protocol.name());
        let tls = peer.tls.as_ref().map_or("-", |tls| tls.version);
        let (session, site, user) = (self.session.id(), self.session.site(), self.session.user());
        let (received, sent) = (self.moved.received.get(), self.moved.sent.get());
        let seconds = self.began.elapsed().as_secs();
        tracing::info!(
            target: "access", id, protocol, %client, listener, tls, site, user, session, node, received, sent, seconds, ended,
            "mail session"
        );
    }
}

impl<T: Talk> Door<T> {
    fn new(client: Client, line: Line) -> Self {
        let mail = client.worker.live().mail.clone();
        let scanner = Scanner::new(T::LITERALS, T::limits(&mail));
        let talk = T::new(offers(&client, &mail, &line));
        let (read, out, id) = (Zeroizing::new(Vec::new()), Vec::new(), RequestId::next());
        let mut door = Self { client, mail, line, talk, scanner, read, out, errors: 0, auth_errors: 0, id };
        door.talk.configure(&door.mail, &door.site().1);
        door
    }

    /// Until somebody is logged in; none when the connection is over.
    async fn run(&mut self, mut stop: Drain) -> Option<Entered> {
        let deadline = self.mail.login_timeout;
        let bye = tokio::select! {
            entered = self.until_login() => match entered {
                Ok(entered) => return Some(entered),
                Err(bye) => bye,
            },
            () = tokio::time::sleep(deadline) => Some(Bye::TimedOut),
            () = stopped(&mut stop) => Some(Bye::Draining),
        };
        let farewell = async {
            if let Some(bye) = bye {
                self.talk.bye(bye, &mut self.out);
            }
            let _ = self.flush().await;
            let _ = self.line.shutdown().await;
            self.let_go().await;
        };
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
        None
    }

    /// Reads on for a while, and throws it away: what a client has sent and nobody reads makes the system close its connection
    /// so that the goodbye is lost.
    async fn let_go(&mut self) {
        let (mut step, mut left) = (Zeroizing::new([0; STEP]), UNREAD);
        while let Ok(length @ 1..) = self.line.read(&mut step[..]).await {
            left = left.saturating_sub(length);
            if left == 0 {
                return;
            }
        }
    }

    async fn until_login(&mut self) -> Result<Entered, Option<Bye>> {
        self.talk.greet(&mut self.out);
        loop {
            let limits = T::limits(&self.mail);
            // A response may hold a token, and has no literals but where it is a string.
            let found = if self.talk.awaits_response() {
                let long = Limits { command: limits.long, ..limits };
                let is_string = T::LITERALS == Literals::NonSynchronizing;
                Scanner::new(if is_string { T::LITERALS } else { Literals::None }, long).scan(&self.read)
            } else {
                self.scanner.scan(&self.read)
            };
            match found {
                Found::More => self.read().await?,
                Found::Command(length) => {
                    if let Some(entered) = self.command(length).await? {
                        return Ok(entered);
                    }
                }
                Found::Waits(length) if self.talk.takes_literal(self.read.get(..length).unwrap_or_default()) => {
                    self.out.extend_from_slice(b"+ OK\r\n");
                    self.scanner.invited(&self.read);
                }
                Found::Waits(length) => self.refuse(length, false)?,
                Found::Refuse(length) => self.refuse(length, true)?,
                Found::TooLarge => return Err(Some(Bye::TooLarge)),
                Found::Nul => return Err(Some(Bye::TooManyErrors)),
            }
            if self.out.len() > AHEAD {
                self.flush().await?;
            }
        }
    }

    /// Answers what waits to be, and reads more.
    async fn read(&mut self) -> Result<(), Option<Bye>> {
        self.flush().await?;
        // A vector that grows leaves copies of a password behind.
        if self.read.capacity() - self.read.len() < STEP {
            let mut larger = Zeroizing::new(Vec::with_capacity(self.read.len() + 2 * STEP));
            larger.extend_from_slice(&self.read);
            self.read = larger;
        }
        let mut step = Zeroizing::new([0; STEP]);
        let length = self.line.read(&mut step[..]).await.map_err(|_| None)?;
        self.read.extend_from_slice(step.get(..length).unwrap_or_default());
        let is_clear = matches!(self.line, Line::Clear(_));
        if length == 0 || (is_clear && is_tls(&self.read)) { Err(None) } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Option<Bye>> {
        if !self.out.is_empty() {
            // What was written is gone at once: who is told goodbye meanwhile gets nothing twice.
            while !self.out.is_empty() {
                let written = self.line.write(&self.out).await.map_err(|_| None)?;
                if written == 0 {
                    return Err(None);
                }
                self.out.drain(..written);
            }
            self.line.flush().await.map_err(|_| None)?;
        }
        Ok(())
    }

    /// Takes a command of so many bytes from what was read.
    fn take(&mut self, length: usize) -> Zeroizing<Vec<u8>> {
        let taken = Zeroizing::new(self.read.get(..length).unwrap_or_default().to_vec());
        let rest = self.read.len() - taken.len();
        self.read.copy_within(taken.len().., 0);
        if let Some(old) = self.read.get_mut(rest..) {
            old.zeroize();
        }
        self.read.truncate(rest);
        self.scanner.next();
        taken
    }

    fn refuse(&mut self, length: usize, is_too_large: bool) -> Result<(), Option<Bye>> {
        let begin = self.take(length);
        self.talk.refuse_literal(&begin, is_too_large, &mut self.out);
        self.is_wrong()
    }

    /// One more error: the connection ends with the last one that is allowed.
    fn is_wrong(&mut self) -> Result<(), Option<Bye>> {
        self.errors += 1;
        if self.errors == self.mail.max_errors { Err(Some(Bye::TooManyErrors)) } else { Ok(()) }
    }

    fn is_denied(&mut self) -> Result<(), Option<Bye>> {
        self.auth_errors += 1;
        if self.auth_errors == self.mail.max_auth_errors { Err(Some(Bye::TooManyErrors)) } else { Ok(()) }
    }

    async fn command(&mut self, length: usize) -> Result<Option<Entered>, Option<Bye>> {
        let command = self.take(length);
        match self.talk.hear(&command, &mut self.out) {
            Heard::Answered => {}
            Heard::Wrong => self.is_wrong()?,
            Heard::Denied => self.is_denied()?,
            Heard::ClearText(name) => {
                self.turn_away(&name);
                self.is_denied()?;
            }
            Heard::StartTls => self.start_tls().await?,
            Heard::Close => return Err(None),
            Heard::Drop => {
                self.out.clear();
                return Err(None);
            }
            Heard::Token { name, token, response } => {
                self.flush().await?;
                let challenged = Challenged::default();
                let response = String::from_utf8_lossy(&response).into_owned();
                let credentials = Credentials::Token(Secret::new(response));
                match Box::pin(self.log_in(&name, &credentials, Some((token, &challenged)))).await {
                    Ok(entered) => return self.welcome(entered).await,
                    Err(No::Credentials) => {
                        let mails = &self.client.worker.shared.state.mails;
                        let challenge = mails.challenge((self.site().1, token), challenged.take());
                        self.talk.challenge(&STANDARD.encode(challenge), &mut self.out);
                    }
                    Err(no) => {
                        self.talk.no(&no, &mut self.out);
                        self.is_denied()?;
                    }
                }
            }
            Heard::LogIn { name, password } => {
                self.flush().await?;
                let (name, credentials) = typed(&name, &password);
                match Box::pin(self.log_in(&name, &credentials, None)).await {
                    Ok(entered) => return self.welcome(entered).await,
                    Err(no) => {
                        // Whatever the reason: each costs the directory, a node or a line of the log.
                        self.talk.no(&no, &mut self.out);
                        self.is_denied()?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// TLS begins with what the client sent behind its command: a client's first message, or something that is none.
    async fn start_tls(&mut self) -> Result<(), Option<Bye>> {
        self.flush().await?;
        let Line::Clear(mut stream) = std::mem::replace(&mut self.line, Line::Gone) else { return Err(None) };
        stream.unread(&self.read);
        self.read.zeroize();
        let Client { worker, listener, peer, .. } = &mut self.client;
        let Some(Channel::Tls(stream)) = handshake::secure(worker, listener, peer, stream).await else {
            return Err(None);
        };
        self.line = Line::Tls(stream);
        self.talk.secured(offers(&self.client, &self.mail, &self.line));
        if T::GREETS_IN_TLS {
            self.talk.greet(&mut self.out);
        }
        Ok(())
    }

    async fn welcome(&mut self, entered: Entered) -> Result<Option<Entered>, Option<Bye>> {
        self.talk.yes(entered.at_node.capabilities.as_deref(), &mut self.out);
        self.flush().await?;
        Ok(Some(entered))
    }

    async fn log_in(
        &mut self,
        name: &str,
        credentials: &Credentials,
        token: Option<(Token, &Challenged)>,
    ) -> Result<Entered, No> {
        let Client { worker, peer, .. } = &self.client;
        let (live, facts) = (worker.live(), Facts::of_connection(peer.clone()));
        let (host, site) = self.site();
        let attempt = Attempt { protocol: T::PROTOCOL, host: &host, site: &site, facts: &facts, device: None };
        let neighbours = Neighbours { worker, snapshot: &live, id: self.id.as_str() };
        let mails = (&worker.shared.state.mails, self.mail.user_max_connections);
        let (id, hello) = (self.id.as_str(), self.talk.hello());
        let dialogue = AtMailServer { protocol: T::PROTOCOL, peer, id, hello, token, mails };
        match login::log_in(neighbours, &attempt, (name, credentials), &dialogue).await {
            Outcome::LoggedIn { session, node, opened, .. } => {
                opened.open.is(session.id_bytes());
                Ok(Entered { session, node: node.name().to_owned(), at_node: opened })
            }
            outcome => Err(No::of(outcome)),
        }
    }

    /// A password came in the clear where none is taken: nobody is asked about it, and the log has it.
    fn turn_away(&self, name: &[u8]) {
        let Client { worker, peer, .. } = &self.client;
        let (live, facts) = (worker.live(), Facts::of_connection(peer.clone()));
        let (host, site) = self.site();
        let attempt = Attempt { protocol: T::PROTOCOL, host: &host, site: &site, facts: &facts, device: None };
        let neighbours = Neighbours { worker, snapshot: &live, id: self.id.as_str() };
        login::turn_away(neighbours, &attempt, &String::from_utf8_lossy(name), Reason::ClearText);
    }

    /// The name that the client came to, and the site that its users belong to: the listener's, or else the one of that name.
    fn site(&self) -> (String, Arc<str>) {
        let live = self.client.worker.live();
        let asked = self.client.peer.tls.as_ref().and_then(|tls| tls.server_name.clone());
        let name = self.client.listener.config.site.as_deref().or(asked.as_deref()).unwrap_or_default();
        let site = live.site(name).unwrap_or_else(|| live.first_site()).name.clone();
        (asked.unwrap_or_default(), site)
    }
}

/// Name and password. Bytes that are no text are nobody's: then nobody is asked, and it counts as any other wrong password
/// does.
fn typed(name: &[u8], password: &[u8]) -> (String, Credentials) {
    let (name, password) = match (std::str::from_utf8(name), std::str::from_utf8(password)) {
        (Ok(name), Ok(password)) if doorward_wire::mail::sasl::is_name(name) => (name.to_owned(), password.to_owned()),
        _ => (String::from_utf8_lossy(name).into_owned(), String::new()),
    };
    (name, Credentials::Password(Secret::new(password)))
}

fn offers(client: &Client, mail: &Mail, line: &Line) -> Offers {
    let is_clear = matches!(line, Line::Clear(_));
    let start_tls = is_clear && client.listener.config.start_tls;
    // Only nodes can check tokens; a token is a password that is good for more than one door.
    let live = client.worker.live();
    let may_ask_nodes = live.mode == Mode::BackEnd || live.policies.answer(Question::AuthMode);
    let tokens = if is_clear || !may_ask_nodes { Tokens::default() } else { mail.tokens };
    Offers { start_tls, passwords: !is_clear || mail.clear_text_from.contain(client.peer.address), tokens }
}
