//! The questions that policies answer.

/// A question that policies answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// May this client connect?
    Access,
    /// What kind of device is this?
    Device,
    /// Which template is shown?
    Template,
    /// How is a login checked?
    AuthMode,
    /// What happens to a request?
    Filter,
    /// Which node does a login go to?
    Route,
}

impl Question {
    /// All of them, in the order in which a request meets them.
    pub const ALL: [Self; 6] = [Self::Access, Self::Device, Self::Template, Self::Filter, Self::AuthMode, Self::Route];

    /// The word an operator writes, which is also the name of the interface in the WIT.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Device => "device",
            Self::Template => "template",
            Self::AuthMode => "auth-mode",
            Self::Filter => "filter",
            Self::Route => "route",
        }
    }

    /// The question of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|question| question.name() == name)
    }

    /// The world of its policies in the WIT.
    pub fn world(self) -> &'static str {
        match self {
            Self::Access => "access-policy",
            Self::Device => "device-policy",
            Self::Template => "template-policy",
            Self::AuthMode => "auth-mode-policy",
            Self::Filter => "filter-policy",
            Self::Route => "route-policy",
        }
    }

    /// The interfaces of its world: what its policies may import unless the operator grants something else.
    pub fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Access => &["log", "clock", "lists", "connection"],
            Self::Device | Self::Template => &["log", "clock", "lists", "connection", "request"],
            Self::Filter => &["log", "clock", "lists", "connection", "request", "session", "usage"],
            Self::AuthMode => &["log", "clock", "lists", "connection", "request", "login"],
            Self::Route => &["log", "clock", "lists", "connection", "request", "login", "nodes"],
        }
    }

    /// The kinds of its answers; `None` where that is any name.
    pub fn kinds(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Access => Some(&["allow", "deny", "abstain"]),
            Self::Device => Some(&["desktop", "mobile", "tablet", "bot", "none"]),
            Self::Template => None,
            Self::AuthMode => Some(&["ldap-bind", "ldap-password", "back-end", "refuse", "none"]),
            Self::Filter => Some(&["pass", "set", "redirect", "answer", "set-both", "page"]),
            Self::Route => Some(&["keep", "node", "later", "none"]),
        }
    }
}
