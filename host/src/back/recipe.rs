//! How one kind of back-end is logged in to, as data.
//!
//! Pure.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Faults, Place, Source, Table, read};

/// The recipes that ship with Doorward.
const BUILT_IN: [(&str, &str); 2] =
    [("roundcube", include_str!("../../recipes/roundcube.toml")), ("demo", include_str!("../../recipes/demo.toml"))];

/// A recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Page to load before the login; its cookies go with the login.
    pub prefetch: Option<String>,
    /// Values to find in that page.
    pub extracts: Vec<Extract>,
    /// The login request.
    pub login: Login,
    /// All of it holds after a login that worked.
    pub success: Test,
    /// Any of it holds when the back-end could not check the user.
    pub down: Test,
    /// Any of it holds when the back-end refused the user.
    pub failure: Test,
    /// Where the browser goes after the login.
    pub landing: Landing,
    /// How a logout is recognised.
    pub logout: Option<Logout>,
    /// How the back-end says that it has forgotten a session.
    pub expired: Test,
    /// Names of the cookies that hold the back-end's session.
    pub session_cookies: Vec<String>,
}

/// A value found in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extract {
    /// What the login request calls it.
    pub name: String,
    /// Where it is.
    pub from: From,
    /// The input's, cookie's or header's name.
    pub key: String,
}

/// Where a value is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The value of an `<input>` of the page.
    HtmlInput,
    /// A cookie that was set.
    Cookie,
    /// A header of the answer.
    Header,
}

/// The login request. Texts have holes: `{user}`, `{user.local}`, `{user.domain}`, `{password}`, and each extract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Path and query.
    pub path: String,
    /// How the fields are sent.
    pub encoding: Encoding,
    /// Fields in order of their names.
    pub fields: Vec<(String, String)>,
}

/// How fields are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// A JSON object of strings.
    Json,
}

/// What may be asked of an answer. Empty parts are not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Test {
    /// One of these status codes.
    pub status: Vec<u16>,
    /// The `Location` holds this text.
    pub location: Option<String>,
    /// A cookie of this name is set, to something that is no deletion.
    pub cookie: Option<String>,
    /// The body holds one of these texts.
    pub body: Vec<String>,
}

/// Where the browser goes after the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// Where the back-end's answer leads.
    Location,
    /// Always here.
    Path(String),
}

/// How a logout is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// The request's path; any when missing.
    pub path: Option<String>,
    /// A parameter of the query, as `name=value`; any when missing.
    pub query: Option<String>,
    /// How an answer's `Set-Cookie` begins when the logout was done; any answer will do when missing.
    pub done_cookie: Option<String>,
}

impl Recipe {
    /// A built-in recipe, or a file.
    ///
    /// # Errors
    /// Every fault of the file, or the names of the built-in ones.
    pub fn load(name: &str, base: &Path, place: &Place) -> Result<Self, Faults> {
        let built_in = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
        let source = match built_in {
            Some((name, text)) => Source { path: format!("<built-in recipe {name}>").into(), text: (*text).to_owned() },
            None if !name.contains(['.', '/']) => {
                let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                let expected = format!("a built-in recipe ({}) or a file", names.join(", "));
                return Err(place.key("recipe").fault(format!("\"{name}\""), expected).into());
            }
            None => {
                let path = base.join(name);
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    place.key("recipe").fault(format!("{}: {error}", path.display()), "a readable recipe")
                })?;
                Source { path, text }
            }
        };
        read(&Arc::new(source), recipe)
    }

    /// Whether the answer to a logout shows that it was done.
    pub fn logout_done(&self, headers: &hyper::HeaderMap) -> bool {
        let wanted = self.logout.as_ref().and_then(|logout| logout.done_cookie.as_ref());
        let mut cookies = headers.get_all(hyper::header::SET_COOKIE).iter();
        wanted.is_none_or(|wanted| cookies.any(|cookie| cookie.as_bytes().starts_with(wanted.as_bytes())))
    }

    /// Whether a request asks the back-end to log out.
    pub fn is_logout(&self, path: &str, query: Option<&str>) -> bool {
        self.logout.as_ref().is_some_and(|logout| {
            logout.path.as_ref().is_none_or(|wanted| wanted == path)
                && logout
                    .query
                    .as_ref()
                    .is_none_or(|wanted| query.unwrap_or("").split('&').any(|parameter| parameter == wanted))
        })
    }
}

impl Test {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn recipe(t: &Table<'_>) -> Recipe {
    let login = t.table("login", login).unwrap_or_else(|| {
        t.fault("login", "nothing", "the login request ([login])");
        Login { path: String::new(), encoding: Encoding::Form, fields: Vec::new() }
    });
    let success = t.table("success", test).unwrap_or_default();
    if success.is_empty() {
        t.fault("success", "nothing", "at least one of status, location, cookie and body: how is a login known?");
    }
    let landing = t.table("landing", |t| match t.choice("from", &[("location", ())]) {
        Some(()) => Landing::Location,
        None => Landing::Path(t.text("path").unwrap_or_else(|| "/".to_owned())),
    });
    let recipe = Recipe {
        prefetch: t.table("prefetch", |t| path(t, "path")),
        extracts: t.tables("extract", extract),
        login,
        success,
        down: t.table("down", test).unwrap_or_default(),
        failure: t.table("failure", test).unwrap_or_default(),
        landing: landing.unwrap_or(Landing::Path("/".to_owned())),
        logout: t.table("logout", logout),
        expired: t.table("expired", test_of_head).unwrap_or_default(),
        session_cookies: t.table("session", |t| t.texts("cookies")).unwrap_or_default(),
    };
    check_holes(t, &recipe);
    recipe
}

fn login(t: &Table<'_>) -> Login {
    // Only POST: a password in a URL would be in the node's logs.
    t.choice("method", &[("POST", ())]);
    let encoding = t.choice("encoding", &[("form", Encoding::Form), ("json", Encoding::Json)]);
    let fields = t
        .table("fields", |t| t.keys().into_iter().map(|key| (key.clone(), t.text(&key).unwrap_or_default())).collect());
    Login { path: path(t, "path"), encoding: encoding.unwrap_or(Encoding::Form), fields: fields.unwrap_or_default() }
}

fn extract(t: &Table<'_>) -> Extract {
    let from = t.choice("from", &[("html-input", From::HtmlInput), ("cookie", From::Cookie), ("header", From::Header)]);
    Extract { name: t.required("name"), from: from.unwrap_or(From::HtmlInput), key: t.required("key") }
}

fn logout(t: &Table<'_>) -> Logout {
    if !t.has("path") && !t.has("query") {
        t.fault("path", "neither path nor query", "at least one: otherwise every request would be a logout");
    }
    Logout { path: t.text("path"), query: t.text("query"), done_cookie: t.text("done-cookie") }
}

/// A test of an answer whose body goes to the browser unread.
fn test_of_head(t: &Table<'_>) -> Test {
    Test { body: Vec::new(), ..test_parts(t) }
}

fn test(t: &Table<'_>) -> Test {
    Test { body: t.texts("body"), ..test_parts(t) }
}

fn test_parts(t: &Table<'_>) -> Test {
    let status = t.counts("status", 100..=599).into_iter().filter_map(|code| u16::try_from(code).ok());
    Test { status: status.collect(), location: t.text("location"), cookie: t.text("cookie"), body: Vec::new() }
}

fn path(t: &Table<'_>, key: &str) -> String {
    let text = t.required(key);
    if !text.is_empty() && !text.starts_with('/') {
        t.fault(key, format!("\"{text}\""), "a path that begins with \"/\"");
    }
    text
}

/// Every hole of the login must be one that gets filled.
fn check_holes(t: &Table<'_>, recipe: &Recipe) {
    let mut known = vec!["user", "user.local", "user.domain", "password"];
    known.extend(recipe.extracts.iter().map(|extract| extract.name.as_str()));
    for (name, text) in &recipe.login.fields {
        for hole in text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(hole, _)| hole) {
            if !known.contains(&hole) {
                let place = t.place_of("login").key("fields").key(name);
                t.collector().add(place.fault(format!("{{{hole}}}"), format!("one of {}", known.join(", "))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::whole(&Arc::new(Source { path: "test".into(), text: String::new() }))
    }

    #[test]
    fn the_built_in_recipes_are_right() {
        for (name, _) in BUILT_IN {
            let recipe = Recipe::load(name, Path::new("."), &place()).unwrap();
            assert!(!recipe.session_cookies.is_empty(), "{name}");
        }
        assert!(Recipe::load("nope", Path::new("."), &place()).is_err());
    }

    #[test]
    fn a_logout_is_recognised_by_path_and_query() {
        let recipe = Recipe::load("roundcube", Path::new("."), &place()).unwrap();
        assert!(recipe.is_logout("/", Some("_task=logout&_token=x")));
        assert!(!recipe.is_logout("/", Some("x_task=logout")) && !recipe.is_logout("/", None));
    }

    #[test]
    fn a_wrong_recipe_is_told_fault_by_fault() {
        let text = "[login]\npath = \"x\"\nmethod = \"GET\"\n[login.fields]\na = \"{b}\"\n[success]\nstatus = [7]\n";
        let faults = read(&Arc::new(Source { path: "r".into(), text: text.to_owned() }), recipe).unwrap_err();
        let told = faults.to_string();
        for part in ["r:2: login.path", "r:3: login.method", "login.fields.a: found {b}", "r:7: success.status"] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}
