//! What is read in the program itself: manifests of policies, and answers that recipes look at.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use doorward::back::{Answered, BUILT_IN, Choice, Recipe};
use doorward::config::{Place, Source};
use doorward::directory::{Filter, FilterTemplate};
use doorward::policy::manifest_of;
use doorward::secret::Secret;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode, Uri};

/// A component is what it says, as a whole only; what it imports is bounded by its bytes.
pub(super) fn manifests(data: &[u8]) {
    let Ok(manifest) = manifest_of(data) else { return };
    assert!(!manifest.questions.is_empty());
    let names = manifest.facts.iter().chain(&manifest.wasi).map(String::len).sum::<usize>();
    assert!(names <= 64 * data.len(), "{names} bytes of names in {} bytes", data.len());
    for end in 0..data.len() {
        // Custom sections may be missing from the end, and then it is the same component.
        if let Ok(part) = manifest_of(&data[..end]) {
            assert_eq!(part.questions, manifest.questions, "the first {end} bytes");
        }
    }
}

thread_local! {
    static RECIPES: Vec<Recipe> = BUILT_IN.iter().map(|(name, _)| load(name)).collect();
}

fn load(name: &str) -> Recipe {
    let secret = Secret::new("s".to_owned());
    let choice = Choice { name, settings: &BTreeMap::new(), secret: Some(&secret) };
    let place = Place::whole(&Arc::new(Source::new("fuzz", "")));
    Recipe::load(choice, Path::new("."), &place).unwrap_or_else(|faults| panic!("{name}: {faults}"))
}

/// Any page is looked at by each recipe; where a recipe says that it need not be read, it changes nothing.
pub(super) fn recipes(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let status = [200, 302, 401, 403, 404, 500, 204, 303][usize::from(first & 7)];
    let status = StatusCode::from_u16(status).expect("a status");
    let kind = ["text/html", "application/json", "text/xml; charset=utf-8", "image/png"][usize::from(first >> 3 & 3)];
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let page = String::from_utf8_lossy(data);
    RECIPES.with(|recipes| {
        for recipe in recipes {
            let (whole, empty) = (Answered::new(status, &headers, &page), Answered::new(status, &headers, ""));
            let _ = recipe.verdict(&whole);
            for target in ["/", "/?_task=logout", "/logout", "/SOGo/so/alice/logoff"] {
                let target = Uri::from_static(target);
                if !recipe.depends_on_body(&target, &empty) {
                    let (read, unread) = (recipe.is_logout(&target, &whole), recipe.is_logout(&target, &empty));
                    assert_eq!(read, unread, "{target}, whose page is not read");
                }
            }
        }
    });
}

/// A filter is read or refused, however deep it is; and whatever name fills a template, it finds the entry of that name and
/// no other.
pub(super) fn filters(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let entry = |name: &str| BTreeMap::from([("uid".to_owned(), vec![name.to_owned()])]);
    if let Ok(filter) = Filter::parse(&text) {
        let _ = filter.fits(&entry("alice"));
    }
    let other = format!("{text}x");
    for template in ["(uid={user})", "(&(|(uid={user})(mail={user}))(!(phone=*)))"] {
        let filled = FilterTemplate::parse(template).expect("a template").fill(&text);
        let filter = Filter::parse(&filled).unwrap_or_else(|error| panic!("{text:?}: {error} in {filled}"));
        assert!(filter.fits(&entry(&text)), "{text:?}: {filled}");
        assert!(!filter.fits(&entry(&other)), "{text:?}: {filled}");
    }
    // Of a name in two parts, neither part is lost and none is read as something else.
    let filled = FilterTemplate::parse("(&(uid={user.local})(o={user.domain}))").expect("a template").fill(&text);
    let filter = Filter::parse(&filled).unwrap_or_else(|error| panic!("{text:?}: {error} in {filled}"));
    let (local, domain) = match text.split_once('\\') {
        Some((domain, local)) => (local, domain),
        None => text.rsplit_once('@').unwrap_or((&text, "")),
    };
    let mut parts = entry(local);
    parts.insert("o".to_owned(), vec![domain.to_owned()]);
    assert!(filter.fits(&parts), "{text:?}: {filled}");
}
