//! Files that pages refer to, and those that programs ask a site for.

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::own::append;
use super::{Answer, Body, Exchange, Visit};
use crate::own_path::OwnPath;
use crate::pages::Asset;
use crate::reply::Refusal;

/// What programs ask a site for by themselves, by its name among a look's assets.
fn of_programs(path: &str) -> Option<String> {
    const FILES: [&str; 12] = [
        "ads.txt",
        "app-ads.txt",
        "browserconfig.xml",
        "clientaccesspolicy.xml",
        "crossdomain.xml",
        "favicon.ico",
        "humans.txt",
        "manifest.json",
        "robots.txt",
        "security.txt",
        "site.webmanifest",
        "sitemap.xml",
    ];
    let name = path.strip_prefix('/')?;
    if let Some(known) = name.strip_prefix(".well-known/") {
        return Some(format!("well-known/{known}"));
    }
    let icon = name.starts_with("apple-touch-icon") && name.ends_with(".png") && !name.contains('/');
    (icon || FILES.contains(&name)).then(|| name.to_owned())
}

/// A picture that is opened by its address is a document of the site: it may run nothing, and fetch nothing.
const CONTENT_SECURITY_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox");
/// A version never changes.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Asked for each time, and sent only if it is another one.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

impl Exchange {
    /// A file that our pages refer to, by its look and name.
    pub(super) fn asset(&self, visit: &Visit, path: &str) -> Result<Answer, Refusal> {
        self.snapshot.pages.asset(path).map(|asset| answer(visit, asset, NO_CACHE)).ok_or(Refusal::NotFound)
    }

    /// What a program asks a site for by itself: a site that has none of it says so, and shows it no login page.
    pub(super) fn asset_of_programs(&self, visit: &Visit) -> Option<Result<Answer, Refusal>> {
        let name = of_programs(visit.head.uri.path())?;
        Some(self.asset(visit, &format!("{}/{name}", visit.look)))
    }

    /// A file of the site's own. Who asks for another version than the one that is there has a page from just before it
    /// changed.
    pub(super) fn site_asset(&self, visit: &Visit, own: OwnPath<'_>) -> Result<Answer, Refusal> {
        let branding = &visit.site.branding;
        let asset = if own == OwnPath::SiteLogo { &branding.logo } else { &branding.style };
        let asset = asset.as_ref().ok_or(Refusal::NotFound)?;
        let version = visit.head.uri.query().and_then(|query| query.strip_prefix("v="));
        let is_same = version == Some(asset.version());
        Ok(answer(visit, asset, if is_same { FOR_EVER } else { NO_CACHE }))
    }
}

fn answer(visit: &Visit, asset: &Asset, caching: HeaderValue) -> Answer {
    let known =
        visit.head.headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == asset.tag.as_bytes());
    let mut answer = Response::new(Body::whole(if known { Default::default() } else { asset.bytes.clone() }));
    if known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    answer.headers_mut().insert(header::CACHE_CONTROL, caching);
    append(&mut answer, header::ETAG, &asset.tag);
    answer
}
