//! Files that pages refer to, and those that programs ask a site for.

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use super::own::append;
use super::{Answer, Body, Exchange, Visit};
use crate::reply::Refusal;

/// What programs ask a site for by themselves, by its name among a look's assets: a site that has none of it says so, and
/// shows them no login page.
pub(super) fn of_programs(path: &str) -> Option<String> {
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

impl Exchange {
    /// A file that our pages refer to, by its look and name.
    pub(super) fn asset(&self, visit: &Visit, path: &str) -> Result<Answer, Refusal> {
        let asset = self.snapshot.pages.asset(path).ok_or(Refusal::NotFound)?;
        let known =
            visit.head.headers.get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == asset.tag.as_bytes());
        let mut answer = Response::new(Body::whole(if known { Default::default() } else { asset.bytes.clone() }));
        if known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
        }
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
        answer.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        append(&mut answer, header::ETAG, &asset.tag);
        Ok(answer)
    }
}
