//! How one kind of back-end is logged in to, as data.
//!
//! Pure.

mod placeholders;
mod read;
mod test;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hyper::header::HeaderName;
use hyper::{Method, Uri};

pub(super) use placeholders::{Escape, Missing, Template, Tree};
pub use test::Answered;
pub(super) use test::{Pattern, Test};

use crate::config::{Faults, Place, Source, read};
use crate::reserved::Reserved;
use crate::secret::{Secret, Values};

/// The recipes that ship with Doorward.
pub const BUILT_IN: [(&str, &str); 14] = [
    ("roundcube", include_str!("../../../recipes/roundcube.toml")),
    ("sogo", include_str!("../../../recipes/sogo.toml")),
    ("snappymail", include_str!("../../../recipes/snappymail.toml")),
    ("rainloop", include_str!("../../../recipes/rainloop.toml")),
    ("horde", include_str!("../../../recipes/horde.toml")),
    ("zimbra", include_str!("../../../recipes/zimbra.toml")),
    ("zimbra-preauth", include_str!("../../../recipes/zimbra-preauth.toml")),
    ("axigen", include_str!("../../../recipes/axigen.toml")),
    ("axigen-rest", include_str!("../../../recipes/axigen-rest.toml")),
    ("owa", include_str!("../../../recipes/owa.toml")),
    ("basic", include_str!("../../../recipes/basic.toml")),
    ("trusted-header", include_str!("../../../recipes/trusted-header.toml")),
    ("form", include_str!("../../../recipes/form.toml")),
    ("demo", include_str!("../../../recipes/demo.toml")),
];

/// A recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Whether a connection may be used again. Some servers close theirs after each answer and do not say so; a request
    /// that is sent just then is lost.
    pub keep_connections: bool,
    /// Beginnings of paths below which a name may have an encoded slash, which the back-end takes as part of it.
    pub encoded_slashes: Vec<String>,
    /// Pages to load before the login; their cookies go with the login.
    pub prefetch: Vec<Step>,
    /// Values to find in answers.
    pub extracts: Vec<Extract>,
    /// The login request; none where the headers of each request do it all.
    pub login: Option<Step>,
    /// The request that brings the second factor.
    pub second_factor: Option<Step>,
    /// What the answer to a login means: the first that holds.
    pub verdicts: Vec<(Verdict, Test)>,
    /// Where the browser goes after the login.
    pub landing: Landing,
    /// How a logout is recognised, and made.
    pub logout: Option<Logout>,
    /// How the back-end says that it has forgotten a session.
    pub expired: Test,
    /// Names of the cookies that hold the back-end's session.
    pub session_cookies: Vec<String>,
    /// Their path.
    pub session_path: String,
    /// A parameter that each request has in its query.
    pub session_query: Option<(String, Template)>,
    /// Headers that each request gets.
    pub inject: Vec<(HeaderName, Template)>,
    /// What the back-end calls its interface for each form of device, by the form's name.
    pub interface: BTreeMap<String, String>,
    /// What is signed, and how.
    pub sign: Option<Sign>,
    /// What the proxy and the back-end both know.
    pub secret: Option<Secret>,
}

/// A request of Doorward's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: Template,
    /// Headers over those of the browser; an empty one takes the browser's away.
    pub headers: Vec<(HeaderName, Template)>,
    /// Cookies beside those that the back-end has set.
    pub cookies: Vec<(String, Template)>,
    /// What is sent, and how.
    pub payload: Payload,
    /// So many redirects are followed.
    pub follow: u64,
}

/// What a request sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Nothing.
    Nothing,
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
    /// The same, behind the path.
    Query(Vec<(String, Template)>),
    /// `application/json`.
    Json(Tree),
    /// `text/xml`.
    Xml(Template),
}

/// A value found in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extract {
    /// What placeholders call it.
    pub name: String,
    /// Where it is.
    pub from: From,
    /// The input's, cookie's or header's name, or the pointer.
    pub key: String,
    /// The part of it that is wanted.
    pub regex: Option<Pattern>,
    /// Whose answers are looked at.
    pub after: Stage,
    /// What it is when it is not there; without it the login fails.
    pub default: Option<String>,
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
    /// A value of JSON.
    Json,
    /// The whole body.
    Body,
}

/// A part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Pages before the login.
    Prefetch,
    /// The login, and the second factor.
    Login,
    /// The logout.
    Logout,
}

/// What the answer to a login means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The back-end wants a second factor.
    SecondFactor,
    /// The password must be changed first.
    PasswordExpired,
    /// Logged in.
    Success,
    /// The back-end could not check the user.
    Down,
    /// The back-end takes no more logins of this user for a while.
    Throttled,
    /// The back-end refuses the user.
    Failure,
}

impl Verdict {
    /// The name of its table in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecondFactor => "second-factor",
            Self::PasswordExpired => "password-expired",
            Self::Success => "success",
            Self::Down => "down",
            Self::Throttled => "throttled",
            Self::Failure => "failure",
        }
    }
}

/// Where the browser goes after the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// Where the back-end's answer leads.
    Location,
    /// Always here.
    Path(Template),
}

/// How a logout is recognised, and made. All that is written must hold; if only [`Logout::call`] is, nothing is recognised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logout {
    /// The request's path, or behind a `*` how it ends.
    pub path: Option<String>,
    /// A parameter of the query, as `name=value`.
    pub query: Option<String>,
    /// How an answer's `Set-Cookie` begins when the logout was done.
    pub done_cookie: Option<String>,
    /// What the answer is like when the logout was done.
    pub done: Test,
    /// The request that logs out.
    pub call: Option<Step>,
}

/// A signature over a text, as hexadecimal digits: an HMAC whose key is the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// The hash.
    pub algorithm: Algorithm,
    /// What is signed.
    pub text: Template,
}

/// Hashes of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
}

/// What a back-end's configuration says of its recipe.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// A built-in recipe's name, or a file.
    pub name: &'a str,
    /// Settings over the recipe's own.
    pub settings: &'a BTreeMap<String, String>,
    /// What the proxy and the back-end both know.
    pub secret: Option<&'a Secret>,
}

impl Recipe {
    /// What the back-end calls its interface for a form of device; that for the desktop where it has no other.
    pub fn interface_for(&self, device: &str) -> Option<&str> {
        self.interface.get(device).or_else(|| self.interface.get("desktop")).map(String::as_str)
    }

    /// A built-in recipe, or a file. `place` is that of the back-end.
    ///
    /// # Errors
    /// Every fault of the file, or the names of the built-in ones.
    pub fn load(choice: Choice<'_>, base: &Path, place: &Place) -> Result<Self, Faults> {
        let name = choice.name;
        let built_in = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
        let source = match built_in {
            Some((name, text)) => Source::new(format!("<built-in recipe {name}>"), *text),
            None if !name.contains(['.', '/']) => {
                let names = BUILT_IN.iter().map(|(name, _)| *name);
                return Err(place.key("recipe").unknown(name, "a file, or a built-in recipe", names).into());
            }
            None => {
                let path = base.join(name);
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    place.key("recipe").fault(format!("{}: {error}", path.display()), "a readable recipe")
                })?;
                Source::new(path, text)
            }
        };
        let recipe = read(&Arc::new(source), |t| read::recipe(t, choice, place))?;
        if recipe.secret.is_none() && recipe.uses(&["secret", "signature"]) {
            let expected = "a file, since the recipe needs what the back-end also knows";
            return Err(place.key("recipe-secret-file").fault("nothing", expected).into());
        }
        Ok(recipe)
    }

    /// Whether the back-end itself checks the password at the login. One that does not must never be the only one to
    /// be asked.
    pub fn checks_password(&self) -> bool {
        let placeholders = self.login.iter().flat_map(Step::templates).flat_map(|template| template.placeholders());
        placeholders.into_iter().any(|placeholder| matches!(placeholder, "password" | "basic"))
    }

    /// Whether any request after the login needs this value, so that it must be kept for it.
    pub fn keeps(&self, name: &str) -> bool {
        let templates = self.inject.iter().map(|(_, template)| template);
        let templates = templates.chain(self.session_query.iter().map(|(_, template)| template));
        let call = self.logout.iter().filter_map(|logout| logout.call.as_ref());
        templates
            .chain(call.flat_map(Step::templates))
            .flat_map(Template::placeholders)
            .any(|placeholder| placeholder == name)
    }

    /// Whether the logout call alone ends the back-end's session: it needs what was found at the login, and not cookies
    /// only, which the browser loses anyway.
    pub fn ends_by_call(&self) -> bool {
        let call = self.logout.iter().filter_map(|logout| logout.call.as_ref());
        let mut placeholders = call.flat_map(Step::templates).flat_map(Template::placeholders);
        placeholders.any(|placeholder| self.extracts.iter().any(|extract| extract.name == placeholder))
    }

    /// Whether the second factor, or what comes after it, needs this value.
    pub fn needs_for_second_factor(&self, name: &str) -> bool {
        let landing = match &self.landing {
            Landing::Path(template) => Some(template),
            Landing::Location => None,
        };
        let signed = self.sign.iter().map(|sign| &sign.text);
        let templates = self.second_factor.iter().flat_map(Step::templates).chain(landing).chain(signed);
        self.keeps(name) || templates.flat_map(Template::placeholders).any(|placeholder| placeholder == name)
    }

    /// Whether anything but the back-end's name is needed of the directory's entry.
    pub fn needs_entry(&self) -> bool {
        self.attributes().next().is_some()
    }

    /// The attributes of the directory's entry that it is filled with.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        let steps = self.prefetch.iter().chain(&self.login).flat_map(Step::templates);
        let others = self.inject.iter().map(|(_, template)| template).chain(self.sign.iter().map(|sign| &sign.text));
        steps.chain(others).flat_map(Template::placeholders).filter_map(|placeholder| placeholder.strip_prefix("attr."))
    }

    /// The headers by which it tells the back-end who the user is: nobody else may send them. Those of `[inject]`, and of
    /// its other requests the ones that are filled with the user or the secret; but `Authorization`, which some clients
    /// send of their own.
    pub fn identity_headers(&self) -> Reserved {
        let steps = self.prefetch.iter().chain(&self.login).chain(&self.second_factor);
        let calls = self.logout.iter().filter_map(|logout| logout.call.as_ref());
        let tells = |placeholder: &str| {
            let starts = |beginning| placeholder.starts_with(beginning);
            starts("user") || starts("attr.") || matches!(placeholder, "secret" | "signature" | "password" | "basic")
        };
        let of_steps = steps.chain(calls).flat_map(|step| &step.headers);
        let of_steps = of_steps.filter(|(_, template)| template.placeholders().any(tells));
        let names = self.inject.iter().chain(of_steps).map(|(name, _)| name.as_str());
        Reserved::new(names.filter(|name| *name != "authorization"))
    }

    fn uses(&self, names: &[&str]) -> bool {
        let steps = self.prefetch.iter().chain(&self.login).chain(&self.second_factor);
        let mut placeholders = steps.flat_map(Step::templates).flat_map(Template::placeholders);
        self.sign.is_some()
            || placeholders.any(|placeholder| names.contains(&placeholder))
            || names.iter().any(|name| self.keeps(name))
    }

    /// What an answer to a login means, if the recipe says so.
    pub fn verdict(&self, answer: &Answered<'_>) -> Option<Verdict> {
        self.verdicts.iter().find(|(_, test)| test.holds(answer)).map(|(verdict, _)| *verdict)
    }

    /// Whether it changes what goes to the node with any request, or looks at what comes of it.
    pub fn touches_requests(&self) -> bool {
        !self.inject.is_empty() || self.session_query.is_some() || self.reads_bodies()
    }

    /// Whether the body of any answer after the login is looked at.
    pub fn reads_bodies(&self) -> bool {
        self.expired.reads_bodies() || self.logout.as_ref().is_some_and(|logout| logout.done.reads_bodies())
    }

    /// Whether the body of this answer could tell that the session is over.
    pub fn depends_on_body(&self, target: &Uri, answer: &Answered<'_>) -> bool {
        self.expired.depends_on_body(answer)
            || self.logout.as_ref().is_some_and(|logout| logout.asks(target) && logout.done.depends_on_body(answer))
    }

    /// Whether a request, by its answer, was a logout that is done.
    pub fn is_logout(&self, target: &Uri, answer: &Answered<'_>) -> bool {
        self.logout.as_ref().is_some_and(|logout| logout.asks(target) && logout.is_done(answer))
    }

    /// The values that requests after the login need.
    pub fn kept(&self, values: &Values) -> Values {
        // The user is known from the session, and the secret from the configuration.
        values.only(|name| name != "secret" && !name.starts_with("user") && self.keeps(name))
    }
}

impl Logout {
    /// Whether a request may be one.
    fn asks(&self, target: &Uri) -> bool {
        let parameter = |wanted: &String| target.query().unwrap_or("").split('&').any(|parameter| parameter == wanted);
        (self.path.is_some() || self.query.is_some() || !self.done.is_empty())
            && self.path.as_ref().is_none_or(|wanted| fits(wanted, target.path()))
            && self.query.as_ref().is_none_or(parameter)
    }

    /// Whether its answer shows that it was done.
    fn is_done(&self, answer: &Answered<'_>) -> bool {
        let mut cookies = answer.headers.get_all(hyper::header::SET_COOKIE).iter();
        let begins = |wanted: &String| cookies.any(|cookie| cookie.as_bytes().starts_with(wanted.as_bytes()));
        self.done_cookie.as_ref().is_none_or(begins) && (self.done.is_empty() || self.done.holds(answer))
    }
}

/// Whether a path is the one wanted, or ends as it does behind a `*`.
fn fits(wanted: &str, path: &str) -> bool {
    wanted.strip_prefix('*').map_or(wanted == path, |end| path.ends_with(end))
}

impl Step {
    /// Whether it is sent: a setting may leave its path empty.
    pub fn is_wanted(&self) -> bool {
        self.path != Template::default()
    }

    /// All templates in it.
    pub fn templates(&self) -> Vec<&Template> {
        let mut all = vec![&self.path];
        all.extend(self.headers.iter().map(|(_, template)| template));
        all.extend(self.cookies.iter().map(|(_, template)| template));
        match &self.payload {
            Payload::Nothing => {}
            Payload::Form(fields) | Payload::Query(fields) => all.extend(fields.iter().map(|(_, template)| template)),
            Payload::Json(tree) => all.extend(tree.templates()),
            Payload::Xml(template) => all.push(template),
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::whole(&Arc::new(Source::new("test", "")))
    }

    fn load(name: &str, settings: &[(&str, &str)]) -> Result<Recipe, Faults> {
        let settings = settings.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let secret = Secret::new("s".to_owned());
        Recipe::load(Choice { name, settings: &settings, secret: Some(&secret) }, Path::new("."), &place())
    }

    #[test]
    fn the_built_in_recipes_are_right() {
        for (name, _) in BUILT_IN {
            let recipe = load(name, &[]).unwrap_or_else(|faults| panic!("{name}: {faults}"));
            assert!(!recipe.session_cookies.is_empty() || !recipe.inject.is_empty() || name == "form", "{name}");
            let trusts = matches!(name, "zimbra-preauth" | "trusted-header");
            assert_eq!(recipe.checks_password(), !trusts, "{name}");
            assert!(!recipe.expired.takes_any_type(), "{name}");
        }
        assert!(load("nope", &[]).is_err());
        let none = Recipe::load(
            Choice { name: "zimbra-preauth", settings: &BTreeMap::new(), secret: None },
            Path::new("."),
            &place(),
        );
        assert!(none.unwrap_err().to_string().contains("recipe-secret-file"));
    }

    #[test]
    fn settings_are_the_recipes_own_and_checked() {
        let recipe = load("form", &[("path", "/enter"), ("user-field", "login"), ("cookie", "sid")]).unwrap();
        let login = recipe.login.unwrap();
        assert_eq!(login.path.shown(), "/enter");
        let Payload::Form(fields) = login.payload else { panic!("a form") };
        assert!(fields.iter().any(|(name, template)| name == "login" && template.shown() == "{user}"));
        let faults = load("form", &[("nope", "x"), ("path", "enter{password}")]).unwrap_err().to_string();
        for part in ["recipe-settings.nope", "login.path: found \"enter{password}\"", "{password}"] {
            assert!(faults.contains(part), "{part} in {faults}");
        }
    }

    fn is_logout(recipe: &Recipe, target: &str, headers: &[(HeaderName, &'static str)], page: &str) -> bool {
        let map = headers.iter().map(|(name, value)| (name.clone(), hyper::header::HeaderValue::from_static(value)));
        let map = map.collect();
        recipe.is_logout(&target.parse().unwrap(), &Answered::new(hyper::StatusCode::OK, &map, page))
    }

    #[test]
    fn a_logout_is_recognised_by_what_was_asked_and_what_was_answered() {
        use hyper::header::SET_COOKIE;
        let recipe = load("roundcube", &[]).unwrap();
        let gone = &[(SET_COOKIE, "roundcube_sessauth=-del-; path=/")];
        assert!(is_logout(&recipe, "/?_task=logout&_token=x", gone, ""));
        assert!(!is_logout(&recipe, "/?_task=logout&_token=x", &[], ""));
        assert!(!is_logout(&recipe, "/?x_task=logout", gone, "") && !is_logout(&recipe, "/", gone, ""));
        let recipe = load("sogo", &[]).unwrap();
        let gone = &[(SET_COOKIE, "0xHIGHFLYxSOGo=discard")];
        assert!(is_logout(&recipe, "/SOGo/so/alice/logoff", gone, ""));
        assert!(!is_logout(&recipe, "/SOGo/so/alice/", gone, ""));
        let recipe = load("horde", &[]).unwrap();
        let gone = &[(SET_COOKIE, "horde_secret_key=deleted; path=/")];
        assert!(is_logout(&recipe, "/login.php?horde_logout_token=x&logout_reason=4", gone, ""));
        let recipe = load("rainloop", &[]).unwrap();
        for (page, done) in [
            (r#"{"Action":"Logout","Result":true,"Time":3}"#, true),
            (r#"{"Action":"Logout","Result":false,"ErrorCode":999}"#, false),
            (r#"{"Action":"Folders","Result":true}"#, false),
        ] {
            assert_eq!(is_logout(&recipe, "/?/Ajax/&q[]=/0/", &[], page), done, "{page}");
        }
        assert!(!is_logout(&load("basic", &[]).unwrap(), "/", &[], ""));
    }

    #[test]
    fn a_webmail_may_be_at_a_path() {
        let recipe = load("horde", &[("root", "/horde")]).unwrap();
        assert_eq!(recipe.login.unwrap().path.shown(), "/horde/login.php");
        assert_eq!(recipe.session_path, "/horde");
        assert_eq!(load("horde", &[]).unwrap().session_path, "/");
        for name in ["horde", "roundcube", "snappymail", "rainloop"] {
            let told = load(name, &[("root", "horde")]).unwrap_err().to_string();
            assert!(told.contains("a path that begins with \"/\""), "{name}: {told}");
        }
    }
}
