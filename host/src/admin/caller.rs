//! Who asks for something: how he is known, from where, and what his role lets him do and see.

use std::fmt;
use std::net::IpAddr;

use crate::limits::network_text;

/// What somebody may do. Each may do what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees how it does; names and addresses of people are shortened.
    Viewer,
    /// Sees names, and does what the work of a day asks for.
    Operator,
    /// Does everything.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name, in files, documents and the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// How somebody is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The user of the process at the other end of the admin socket.
    Socket(u32),
    /// An account's session on the page.
    Session(String),
    /// A token of that name.
    Token(String),
    /// A client certificate, of the account with its subject.
    Certificate(String),
    /// An address from which metrics may be read.
    Network,
}

impl Proof {
    /// What the audit log calls it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Socket(_) => "socket",
            Self::Session(_) => "session",
            Self::Token(_) => "token",
            Self::Certificate(_) => "certificate",
            Self::Network => "network",
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(uid) => write!(f, "uid {uid}"),
            Self::Session(name) | Self::Token(name) | Self::Certificate(name) => f.write_str(name),
            Self::Network => f.write_str("metrics-from"),
        }
    }
}

/// Somebody who asks for something, and who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// How he is known.
    pub proof: Proof,
    /// What he may do.
    pub role: Role,
    /// Where he is; nowhere for the socket, whose peers are on this machine.
    pub from: Option<IpAddr>,
}

impl Caller {
    /// Whether names and addresses of people are shown whole.
    pub fn sees_people(&self) -> bool {
        self.role >= Role::Operator
    }

    /// A user's name as this caller may see it.
    pub fn name_of(&self, user: &str) -> String {
        if self.sees_people() { user.to_owned() } else { shortened(user) }
    }

    /// A client's address as this caller may see it.
    pub fn address_of(&self, address: IpAddr) -> String {
        if self.sees_people() { address.to_string() } else { network_text(address) }
    }
}

/// A name that tells nobody who is meant: its first letter, and nothing of how long it is.
fn shortened(name: &str) -> String {
    name.chars().next().map_or_else(String::new, |first| format!("{first}…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_sees_nobody_whole_and_an_operator_does() {
        let caller = |role| Caller { proof: Proof::Token("t".to_owned()), role, from: None };
        let v4: IpAddr = "192.0.2.77".parse().unwrap();
        let v6: IpAddr = "2001:db8:1:2::3".parse().unwrap();
        let viewer = caller(Role::Viewer);
        assert_eq!(viewer.name_of("alice"), "a…");
        assert_eq!(viewer.name_of("ö"), "ö…", "not even how long it is");
        assert_eq!(viewer.name_of(""), "");
        assert_eq!(viewer.address_of(v4), "192.0.2.0/24");
        assert_eq!(viewer.address_of("::ffff:192.0.2.77".parse().unwrap()), "192.0.2.0/24");
        assert_eq!(viewer.address_of(v6), "2001:db8:1::/48");
        for role in [Role::Operator, Role::Admin] {
            assert_eq!(caller(role).name_of("alice"), "alice");
            assert_eq!(caller(role).address_of(v4), "192.0.2.77");
        }
        for role in Role::ALL {
            assert_eq!(Role::parse(role.name()), Some(role));
        }
        assert_eq!(Role::parse("root"), None);
    }
}
