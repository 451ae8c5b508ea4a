//! Logs a user in at a node's mail server, and leaves the connection to the door.
//!
//! Invariants: credentials are sent only after the TLS that is configured, to a server that takes them, and never as a line of
//! their own: a name or a password that a protocol has no form for is refused. What a server says before its answer is bounded.

mod challenge;
mod imap;
mod pipe;
mod pop3;
mod said;
mod sieve;
mod submission;
mod talk;

use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward_wire::mail::watch::Watch;

use super::health::{Health, Transition};
use super::login::{LoginError, Pending, Person};
use super::spec::MailSpec;
use super::{Dialogue, Node};
use crate::config::{ClientAddress, Protocol, Token};
use crate::limits::Holder;
use crate::mails::{Mail, Mails};
use crate::peer::Peer;
use crate::reply::Refusal;
use crate::secret::Secret;
pub use pipe::{MailSession, Terms};
pub use said::Challenged;
use said::{Login, Told};
use talk::{Failed, Talk};

/// How long a server may take for a login, once it has greeted: some wait for seconds before they say no.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks mail servers of nodes.
pub struct AtMailServer<'a> {
    /// What the door speaks.
    pub protocol: Protocol,
    /// The client.
    pub peer: &'a Peer,
    /// What the log calls the connection.
    pub id: &'a str,
    /// The client's name for itself (submission), or nothing.
    pub hello: &'a str,
    /// What came in place of a password, and where it is told what the server says of it.
    pub token: Option<(Token, &'a Challenged)>,
    /// The sessions that are open, and how many one user may have.
    pub mails: (&'a Mails, usize),
}

impl Dialogue for AtMailServer<'_> {
    type Opened = MailSession;

    /// Each mail server does, unless somebody logs in there for all.
    fn checks_password(&self, node: &Node) -> bool {
        node.config.mail.master.is_none()
    }

    async fn log_in(&self, node: &Arc<Node>, person: &Person<'_>) -> Result<MailSession, LoginError> {
        let Some((server, health)) = node.mail_at(self.protocol).zip(node.mail_health(self.protocol)) else {
            tracing::warn!(
                backend = node.name(),
                protocol = self.protocol.name(),
                "a node has no mail server of this kind"
            );
            // It is a fault of the configuration, and no wrong password.
            return Err(Refusal::Internal.into());
        };
        let separator = server.master.as_ref().and_then(|master| master.separator.as_deref());
        if separator.is_some_and(|separator| person.user.contains(separator)) {
            tracing::warn!(backend = node.name(), "a name has the separator of the master user in it");
            return Err(LoginError::Wrong);
        }
        let (sessions, logins) = node.mail_gates();
        let place = sessions.enter(Holder::ANYBODY).await.map_err(Refusal::from)?;
        let turn = logins.enter(Holder::login(person.name)).await.map_err(Refusal::from)?;
        if !health.admits(Instant::now()) {
            return Err(Refusal::NodeAway.into());
        }
        let asked = async {
            let talk = self.connect(node, server, health).await?;
            let told = node.config.mail.client_address == ClientAddress::Id;
            let client = told.then_some(Told { peer: self.peer, id: self.id });
            let whole;
            let (authorization, name, password) = match &server.master {
                None => ("", person.user, person.secret),
                Some(master) => match &master.separator {
                    None => (person.user, master.user.as_str(), &master.password),
                    Some(separator) => {
                        whole = format!("{}{separator}{}", person.user, master.user);
                        ("", whole.as_str(), &master.password)
                    }
                },
            };
            let login = Login { authorization, name, password, token: self.token, server, client };
            let conversation = async {
                match self.protocol {
                    Protocol::Imap => imap::log_in(talk, &login).await,
                    Protocol::Pop3 => pop3::log_in(talk, &login).await,
                    Protocol::Sieve => sieve::log_in(talk, &login).await,
                    Protocol::Submission => submission::log_in(talk, &login, self.hello).await,
                    // No door of HTTP asks here.
                    Protocol::Http => Err(Failed::Broken("it is no mail server")),
                }
            };
            tokio::time::timeout(PATIENCE, conversation).await.unwrap_or(Err(Failed::Silent))
        };
        let (talk, mut capabilities) = asked.await.map_err(|failed| self.told(node, failed))?;
        drop(turn);
        let (mails, most) = self.mails;
        let mail = Mail::new(self.protocol, (person.user, node.name()), self.peer.address);
        let open = mails.begin(mail, most).ok_or(Refusal::TooManyConnections)?;
        let watch = match self.protocol {
            Protocol::Imap | Protocol::Sieve if node.config.mail.watch.unwrap_or(talk.goes_back) => {
                // It hides what follows it.
                capabilities = capabilities.map(|list| without(&list, "COMPRESS="));
                Some(Watch::new(self.protocol == Protocol::Imap))
            }
            _ => None,
        };
        let (line, read) = talk.into_parts();
        Ok(MailSession { line, read, capabilities, open, watch, _place: place })
    }

    /// Mail programs have nobody to ask for a code.
    async fn second_factor(&self, _: &Arc<Node>, _: &str, _: (&Pending, &Secret)) -> Result<MailSession, LoginError> {
        Err(Refusal::Internal.into())
    }
}

/// A list without what begins like this.
fn without(list: &str, beginning: &str) -> String {
    list.split(' ').filter(|name| !name.to_ascii_uppercase().starts_with(beginning)).collect::<Vec<_>>().join(" ")
}

impl AtMailServer<'_> {
    /// Connects within `connect-timeout`, TLS included, and hears the greeting.
    async fn connect(&self, node: &Node, server: &MailSpec, health: &Health) -> Result<Talk, Failed> {
        let connecting = async {
            let mut talk = Talk::connect(node, server, self.peer).await?;
            talk.greeting().await?;
            // Who is greeted like that is not served: it counts for the server's health.
            if ["* BYE", "-ERR", "BYE", "421", "554"].iter().any(|no| talk.greeting.starts_with(no)) {
                return Err(Failed::Unwilling);
            }
            Ok(talk)
        };
        let connected = tokio::time::timeout(node.config.connect_timeout, connecting).await;
        let connected = connected.unwrap_or(Err(Failed::Silent));
        let now = Instant::now();
        let transition = match &connected {
            Ok(_) => health.reached(now),
            Err(Failed::Shortage(_)) => Transition::Same,
            Err(_) => health.failed(now),
        };
        let (backend, protocol) = (node.name(), self.protocol.name());
        match transition {
            Transition::Same => {}
            Transition::Down => tracing::error!(backend, protocol, "a mail server is down"),
            Transition::Up(after) => {
                tracing::warn!(backend, protocol, seconds = after.as_secs(), "a mail server is up again");
            }
        }
        connected
    }

    /// What is told of a failure; the cause is in the log.
    fn told(&self, node: &Node, failed: Failed) -> LoginError {
        let (backend, protocol) = (node.name(), self.protocol.name());
        match failed {
            Failed::Wrong | Failed::Expired if node.config.mail.master.is_some() => {
                tracing::error!(backend, protocol, "a mail server does not let its master user in");
                Refusal::Internal.into()
            }
            Failed::Wrong => LoginError::Wrong,
            Failed::Expired => LoginError::PasswordExpired,
            Failed::Busy => LoginError::Throttled(None),
            Failed::Away(error) => {
                tracing::error!(backend, protocol, error, "a mail server cannot be reached");
                Refusal::NodeAway.into()
            }
            Failed::Shortage(error) => {
                tracing::error!(
                    backend,
                    protocol,
                    error,
                    "no connection to a node can be opened: this machine lacks something"
                );
                Refusal::Shortage.into()
            }
            Failed::Silent => {
                tracing::error!(backend, protocol, "a mail server does not answer in time");
                Refusal::NodeTimeout.into()
            }
            Failed::Unwilling => {
                tracing::warn!(backend, protocol, "a mail server cannot check logins");
                Refusal::NodeDown.into()
            }
            Failed::TakesNoPassword => {
                tracing::error!(backend, protocol, "a mail server takes no passwords as it is connected to");
                Refusal::Internal.into()
            }
            Failed::Unsafe(how) => {
                tracing::error!(backend, protocol, how, "a mail server would let its users become others");
                Refusal::Internal.into()
            }
            Failed::Broken(how) => {
                tracing::warn!(backend, protocol, how, "a mail server's answer is broken");
                Refusal::NodeBroken.into()
            }
        }
    }
}
