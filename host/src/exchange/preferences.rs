//! What a person has chosen for themselves: the language of our pages, and the version for the other kind of device.

use std::sync::LazyLock;
use std::time::Duration;

use doorward_wire::{form, local_path::local_path};
use hyper::HeaderMap;
use hyper::header::{self, HeaderValue};
use memchr::memmem;

use super::own::{self, append};
use super::{Answer, Exchange, Visit};
use crate::own_path::OwnPath;
use crate::pages::{Choice, Language};
use crate::peer::Scheme;
use crate::policy::Form;
use crate::reply::Refusal;
use crate::session::Cookie;

/// A year.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);

/// The view that the person asked for, if they did: it counts for more than what the device policy says. Asked of every
/// request, so those that have no such cookie pay for a look at their cookies and no more.
pub(super) fn view(headers: &HeaderMap, scheme: Scheme) -> Option<Form> {
    static SEARCH: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(b"doorward-view="));
    let chosen = |value: &HeaderValue| SEARCH.find(value.as_bytes()).is_some();
    headers.get_all(header::COOKIE).iter().any(chosen).then_some(())?;
    view_named(Cookie::View.values(headers, scheme).next()?)
}

fn view_named(name: &str) -> Option<Form> {
    match name {
        "mobile" => Some(Form::Mobile),
        "desktop" => Some(Form::Desktop),
        _ => None,
    }
}

impl Exchange {
    /// The language of a person's pages.
    pub(super) fn language(&self, visit: &Visit) -> Option<&Language> {
        let headers = &visit.head.headers;
        let chosen = Cookie::Language.values(headers, self.scheme()).next();
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        self.snapshot.languages.choose(chosen, accepted)
    }

    /// Remembers a choice and goes back to where it was made. A choice that another site makes is none.
    pub(super) fn prefer(&self, visit: &Visit) -> Result<Answer, Refusal> {
        let fields = form::read(visit.head.uri.query().unwrap_or_default().as_bytes());
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let mut answer = own::redirect(field("back").and_then(local_path).unwrap_or("/"));
        if visit.fetch_site() == Some(b"cross-site") {
            return Ok(answer);
        }
        let language = field("language").filter(|tag| self.snapshot.languages.has(tag));
        let view = field("view").filter(|name| view_named(name).is_some());
        let (cookie, value) = match (language, view) {
            (Some(tag), _) => (Cookie::Language, tag),
            (None, Some(name)) => (Cookie::View, name),
            (None, None) => return Err(Refusal::NotFound),
        };
        append(&mut answer, header::SET_COOKIE, &cookie.set_for(&value.to_lowercase(), self.scheme(), LIFETIME));
        Ok(answer)
    }

    /// The languages to choose from, and the other view; each comes back to `back`.
    pub(super) fn choices(&self, visit: &Visit, language: &Language, back: &str) -> (Vec<Choice>, Choice) {
        let href = |key: &str, value: &str| {
            format!("{}?{}", OwnPath::Preferences.path(), form::write([(key, value), ("back", back)]))
        };
        let languages = self.snapshot.languages.all().map(|known| Choice {
            tag: known.tag.clone(),
            name: known.name().to_owned(),
            href: href("language", &known.tag),
            current: known.tag == language.tag,
        });
        let (view, text) =
            if visit.form == Form::Mobile { ("desktop", "desktop_view") } else { ("mobile", "mobile_view") };
        let name = language.text(text).to_owned();
        let other = Choice { tag: view.to_owned(), name, href: href("view", view), current: false };
        (languages.collect(), other)
    }
}
