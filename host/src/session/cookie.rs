//! Doorward's own cookies. This is the one list of them: what they are called, who may read them, how they are set and
//! cleared.
//!
//! Pure.

use std::time::Duration;

use hyper::HeaderMap;

use crate::peer::Scheme;
use crate::text;

/// A cookie of ours. Over https its name promises to browsers what it needs (RFC 6265bis, `__Host-`), so that no other
/// host of the domain can set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// The session, sealed.
    Session,
    /// What binds a login form to a browser.
    Form,
    /// With which names this browser has logged in before, sealed.
    Device,
    /// The language that the person chose.
    Language,
    /// The version that the person chose, for phones or for desktops.
    View,
    /// An operator's session at the admin address. Browsers send it to every port of a host, and so to the webmail too, where
    /// nobody is to see it.
    Admin,
}

impl Cookie {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Session, Self::Form, Self::Device, Self::Language, Self::View, Self::Admin];

    /// Its name.
    pub const fn name(self, scheme: Scheme) -> &'static str {
        match (self, scheme) {
            (Self::Session, Scheme::Https) => "__Host-doorward",
            (Self::Session, Scheme::Http) => "doorward",
            (Self::Form, Scheme::Https) => "__Host-doorward-form",
            (Self::Form, Scheme::Http) => "doorward-form",
            (Self::Device, Scheme::Https) => "__Host-doorward-device",
            (Self::Device, Scheme::Http) => "doorward-device",
            (Self::Language, Scheme::Https) => "__Host-doorward-language",
            (Self::Language, Scheme::Http) => "doorward-language",
            (Self::View, Scheme::Https) => "__Host-doorward-view",
            (Self::View, Scheme::Http) => "doorward-view",
            (Self::Admin, Scheme::Https) => "__Host-doorward-admin",
            (Self::Admin, Scheme::Http) => "doorward-admin",
        }
    }

    /// Whether it lets its bearer do something: then no policy reads it.
    pub const fn is_secret(self) -> bool {
        match self {
            Self::Session | Self::Form | Self::Device | Self::Admin => true,
            Self::Language | Self::View => false,
        }
    }

    /// The names of all that no policy reads.
    pub fn secret_names() -> impl Iterator<Item = &'static str> {
        let secret = Self::ALL.into_iter().filter(|cookie| cookie.is_secret());
        secret.flat_map(|cookie| Scheme::ALL.map(|scheme| cookie.name(scheme)))
    }

    /// The values that a request has of it, in order; somebody may have put a second one there.
    pub fn values(self, headers: &HeaderMap, scheme: Scheme) -> impl Iterator<Item = &str> {
        text::cookies_named(headers, self.name(scheme))
    }

    /// The `Set-Cookie` that gives it to a browser, until that is closed.
    pub fn set(self, value: &str, scheme: Scheme) -> String {
        let cookie = set(self.name(scheme), value, "/", scheme);
        // A link from elsewhere leads a user into the mail, and an operator to the login.
        if self == Self::Admin { cookie.replace("SameSite=Lax", "SameSite=Strict") } else { cookie }
    }

    /// The same for a while.
    pub fn set_for(self, value: &str, scheme: Scheme, lifetime: Duration) -> String {
        format!("{}; Max-Age={}", self.set(value, scheme), lifetime.as_secs())
    }

    /// The `Set-Cookie` that takes it away.
    pub fn clear(self, scheme: Scheme) -> String {
        clear(self.name(scheme), "/", scheme)
    }
}

/// Whether a cookie has a name of ours, whoever set it: those never go to a back-end, and none comes from there.
pub fn is_ours(name: &[u8]) -> bool {
    let bare = name.strip_prefix(b"__Host-").or_else(|| name.strip_prefix(b"__Secure-")).unwrap_or(name);
    bare.strip_prefix(b"doorward").is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-"))
}

/// The `Set-Cookie` that takes a cookie away, perhaps one of a node.
pub fn clear(name: &str, path: &str, scheme: Scheme) -> String {
    format!("{}; Max-Age=0", set(name, "", path, scheme))
}

fn set(name: &str, value: &str, path: &str, scheme: Scheme) -> String {
    let secure = if scheme.is_secure() { "; Secure" } else { "" };
    format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cookie_is_ours_in_both_schemes_and_hidden_where_it_is_secret() {
        let hidden: Vec<&str> = Cookie::secret_names().collect();
        for (cookie, scheme) in Cookie::ALL.into_iter().flat_map(|cookie| Scheme::ALL.map(|scheme| (cookie, scheme))) {
            let name = cookie.name(scheme);
            assert!(is_ours(name.as_bytes()), "{name}");
            assert_eq!(name.starts_with("__Host-"), scheme.is_secure(), "{name}");
            assert_eq!(hidden.contains(&name), cookie.is_secret(), "{name}");
        }
        for other in ["doorwards", "sid", "__Host-", "Doorward", "x-doorward", ""] {
            assert!(!is_ours(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn over_https_a_cookie_has_all_that_its_name_promises() {
        let day = Duration::from_secs(86_400);
        assert_eq!(
            Cookie::Device.set_for("x", Scheme::Https, day),
            "__Host-doorward-device=x; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=86400"
        );
        assert_eq!(
            Cookie::Admin.set("x", Scheme::Https),
            "__Host-doorward-admin=x; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(Cookie::Form.set("x", Scheme::Http), "doorward-form=x; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(Cookie::View.clear(Scheme::Http), "doorward-view=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
        assert_eq!(clear("sid", "/SOGo/", Scheme::Http), "sid=; Path=/SOGo/; HttpOnly; SameSite=Lax; Max-Age=0");
    }
}
