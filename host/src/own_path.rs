//! Doorward's own paths. This is the one list of them, and the one place where a path is read for one.
//!
//! Pure.

/// Where all of them begin; no node is asked for anything below.
pub const PREFIX: &str = "/.doorward/";
/// Where files are that pages refer to.
const ASSETS: &str = "/.doorward/assets/";

/// What is at a path of Doorward's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnPath<'p> {
    /// The login page, and where its form goes.
    Login,
    /// Where the form with the code goes.
    SecondFactor,
    /// The page after a logout.
    LoggedOut,
    /// Ends the session: here, and below any path, since the cookies of a node may have one.
    Logout,
    /// Where a person chooses language and version.
    Preferences,
    /// The site's own picture.
    SiteLogo,
    /// The style sheet with the site's colour.
    SiteStyle,
    /// A file that pages refer to, by its look and name.
    Asset(&'p str),
    /// Nothing.
    Nothing,
}

/// Those with a path of their own.
const NAMED: [OwnPath<'static>; 7] = [
    OwnPath::Login,
    OwnPath::SecondFactor,
    OwnPath::LoggedOut,
    OwnPath::Logout,
    OwnPath::Preferences,
    OwnPath::SiteLogo,
    OwnPath::SiteStyle,
];

impl<'p> OwnPath<'p> {
    /// What is at a path; none where it is not one of Doorward's own.
    pub fn of(path: &'p str) -> Option<Self> {
        if path.ends_with(Self::Logout.path()) {
            return Some(Self::Logout);
        }
        if !path.starts_with(PREFIX) {
            return None;
        }
        if let Some(file) = path.strip_prefix(ASSETS) {
            return Some(Self::Asset(file));
        }
        Some(NAMED.into_iter().find(|own| own.path() == path).unwrap_or(OwnPath::Nothing))
    }

    /// Its path; of assets and of nothing, where they begin.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Login => "/.doorward/login",
            Self::SecondFactor => "/.doorward/second-factor",
            Self::LoggedOut => "/.doorward/logged-out",
            Self::Logout => "/.doorward/logout",
            Self::Preferences => "/.doorward/preferences",
            Self::SiteLogo => "/.doorward/site/logo",
            Self::SiteStyle => "/.doorward/site/style.css",
            Self::Asset(_) => ASSETS,
            Self::Nothing => PREFIX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_is_at_its_path_and_nowhere_else() {
        for own in NAMED {
            assert!(own.path().starts_with(PREFIX));
            assert_eq!(OwnPath::of(own.path()), Some(own));
            assert_ne!(OwnPath::of(&format!("{}/", own.path())), Some(own));
        }
        let check = |path, own| assert_eq!(OwnPath::of(path), own, "{path}");
        check("/.doorward/assets/blue/style.css", Some(OwnPath::Asset("blue/style.css")));
        check("/.doorward/assets/", Some(OwnPath::Asset("")));
        check("/SOGo/.doorward/logout", Some(OwnPath::Logout));
        check("/SOGo/.doorward/login", None);
        check("/.doorward/", Some(OwnPath::Nothing));
        check("/.doorward/Login", Some(OwnPath::Nothing));
        for other in ["/", "/.doorward", "/.doorwards/login", "", "login"] {
            check(other, None);
        }
    }
}
