//! What an attempt's end means, and what to do about it: for an operator, who may know what the person may not.
//!
//! Pure.

use serde_json::{Value as Json, json};

use super::{Reason, Record};
use crate::auth::Problem;
use crate::times::{millis, since_1970};

impl Reason {
    /// What it means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Blank => "the password was blank, so nobody was asked",
            Self::Unknown => "nobody has this name",
            Self::Wrong => "the password is wrong",
            Self::NodeRefused => "the directory takes the user, and the node does not",
            Self::Account(Problem::PasswordExpired) => "the password is right, and has expired",
            Self::Account(Problem::MustChange) => "the password is right, and has to be changed first",
            Self::Account(Problem::Locked) => "the password is right, and the account is locked",
            Self::Account(Problem::Disabled) => "the password is right, and the account is switched off",
            Self::Account(Problem::Expired) => "the password is right, and the account has expired",
            Self::Account(Problem::NotNow) => {
                "the password is right, and the account may not log in now, or not from there"
            }
            Self::Policy => "a policy refuses this login",
            Self::PolicyFailed => "a policy failed, and nobody logs in without its answer",
            Self::Later => "a route policy lets this user in at no node for now",
            Self::WrongCode => "the code of the second factor is wrong",
            Self::CodeTooLate => "the page for the code was too old, was used before, or belongs to another browser",
            Self::FormToken => "the login form was not shown to this browser, or more than a day ago",
            Self::ClearText => "the password came in clear text, so nothing of it was checked",
            Self::Token => "a token came, and the mode checks passwords here: only a node can check tokens",
            Self::Throttled => "too many logins have failed, so this one was not checked",
            Self::NodeThrottled => "the node takes no more logins of this user for a while",
            Self::DirectoryAway => "the directory gives no answer",
            Self::NoNode => "no node of the configuration has the mailbox",
            Self::NodeDrained => "the node takes no new logins",
            Self::NodeDown => "the node cannot be reached, or says that it cannot check logins",
            Self::NodeTimeout => "the node did not answer in time",
            Self::NodeBroken => "the node's answer is not what its recipe says",
            Self::TooManySessions => "the user has as many sessions of mail programs as there may be",
            Self::NodeBusy => "the node's queue is full, or took too long",
            Self::Shortage => "this machine has no descriptor, port or memory left for a connection to the node",
            Self::StoreAway => "the store of the cluster is away, and cluster.when-away refuses logins then",
            Self::ClientGone => "the client left before the end",
            Self::Internal => "a fault of Doorward, or a recipe that checks no password in the mode back-end",
        }
    }

    /// What to do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Blank => "the user has to type a password",
            Self::Unknown => "compare the name with the directory: doorward ctl directory-test --user NAME",
            Self::Wrong => "let the user try again, or set a new password",
            Self::NodeRefused => {
                "give both the same password, see whether the mailbox is there, or use the mode back-end"
            }
            Self::Account(Problem::PasswordExpired | Problem::MustChange) => "the user has to change the password",
            Self::Account(Problem::Locked) => "unlock the account in the directory",
            Self::Account(Problem::Disabled) => "switch the account on in the directory, if it should be",
            Self::Account(Problem::Expired) => "extend the account in the directory, if it should be",
            Self::Account(Problem::NotNow) => "see the account's hours and workstations in the directory",
            Self::Policy => "see the policy's settings",
            Self::PolicyFailed => "see the lines \"a policy failed\" in the log; repair the policy, or roll back",
            Self::Later => "see the settings of the route policy, and the state of the nodes: doorward ctl status",
            Self::WrongCode => "the user has to type the code that is shown now; clocks may differ",
            Self::CodeTooLate => "the user has to log in from the start",
            Self::FormToken => "the user has to load the page again, and the browser has to keep cookies of this site",
            Self::ClearText => "switch TLS on in the mail program; whoever was on the way may know the password",
            Self::Token => "let the auth-mode policy select back-end for tokens, or have the user type a password",
            Self::Throttled => "wait, or: doorward ctl release --user NAME, or --network NETWORK",
            Self::NodeThrottled => "wait, or name Doorward as a proxy in the node's settings",
            Self::DirectoryAway => "see which servers answer: doorward ctl directory-test --user NAME",
            Self::NoNode => "correct the user's host attribute in the directory, or add the back-end or an alias",
            Self::NodeDrained => "end its drain, or move the user to another node",
            Self::NodeDown => "see whether the node runs, and its own log",
            Self::NodeTimeout => "see whether the node hangs, and its own log",
            Self::NodeBroken => "see each step: doorward recipe test",
            Self::TooManySessions => {
                "close programs, or: doorward ctl kick --user NAME; or raise mail.user-max-connections"
            }
            Self::NodeBusy => "see its load: doorward ctl top; or raise its max-connections",
            Self::Shortage => "allow more descriptors, or fewer connections",
            Self::StoreAway => "see the store: doorward ctl cluster",
            Self::ClientGone => "see what took so long: who waits for long leaves",
            Self::Internal => "see the other lines with this id in the log",
        }
    }
}

impl Record {
    /// What happened.
    pub fn told(&self) -> &'static str {
        match self.reason {
            Some(reason) => reason.meaning(),
            None if self.outcome == "second-factor" => "the password was right, and the node asked for a code",
            None => "logged in",
        }
    }

    /// What to do; nothing where nothing is wrong.
    pub fn advice(&self) -> Option<&'static str> {
        self.reason.map(Reason::advice)
    }

    /// As it is shown to an operator.
    pub fn shown(&self) -> Json {
        let seconds = since_1970(self.time);
        json!({
            "time": seconds.as_secs(),
            "id": &*self.id,
            "protocol": self.protocol.name(),
            "site": &*self.site,
            "host": self.host,
            "typed": self.typed,
            "user": self.user,
            "client": self.client.to_string(),
            "outcome": self.outcome,
            "reason": self.reason_word(),
            "policy": self.policy,
            "mode": self.mode,
            "node": self.node,
            "route": self.route,
            "usual": self.usual,
            "ms": millis(self.took),
            "wait": self.retry_after.map(|wait| wait.as_secs()),
            "session": self.session,
            "what": self.told(),
            "to-do": self.advice(),
        })
    }
}
