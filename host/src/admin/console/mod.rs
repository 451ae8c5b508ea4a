//! The operator's page: HTML over what the verbs tell. It has no state of its own, and does nothing that no verb does. The
//! gate was passed by whoever comes here.
//!
//! Invariants: works without script; what is shown comes from a verb, with the caller's role; texts of strangers are text.

mod live;
mod render;
#[cfg(test)]
mod tests;
mod view;

use std::sync::LazyLock;

use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use self::view::{Console, Page, View};
use super::call::{Answer, Content};
use super::reply::{Reply, html, of_kind};
use super::verbs::{self, Verb};
use super::visit::Visit;
use super::watching;

/// The templates, which are part of the program.
static CONSOLE: LazyLock<Console> = LazyLock::new(Console::new);

/// What the page of the login has to say.
pub struct Login<'a> {
    /// Why the last try failed.
    pub failed: Option<&'a str>,
    /// The path to go on to.
    pub next: &'a str,
}

/// The page of the login: a form to `/login` with the fields `name`, `password` and `next`.
pub fn login(status: StatusCode, login: &Login<'_>) -> Reply {
    html(status, CONSOLE.login(login.failed, login.next))
}

/// What is there without a login: styles and the like, never anything that this Doorward knows.
pub fn asset(path: &str) -> Option<Reply> {
    let (kind, bytes) = render::asset(path.strip_prefix("/assets/")?)?;
    let mut reply = of_kind(StatusCode::OK, kind, bytes);
    // They are other ones with another version of the program.
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=300"));
    Some(reply)
}

/// A page, or what a form of a page asks for, other than a verb alone.
pub async fn answer(visit: Visit) -> Reply {
    match (visit.is_form, visit.path.as_str()) {
        (false, "/decisions/live") => live(&visit).await,
        (true, "/configuration") => configuration(&visit).await,
        (false, path) => match view::find(if path == "/" { "overview" } else { path.trim_start_matches('/') }) {
            Some(page) => show(&visit, page).await,
            None => nothing(&visit),
        },
        (true, _) => nothing(&visit),
    }
}

/// What came of a verb that a form asked for by `POST /do/NAME`.
pub fn outcome(visit: &Visit, verb: &Verb, answer: &Answer) -> Reply {
    html(answer.status, CONSOLE.outcome(verb.name, &view_of(visit), answer))
}

fn nothing(visit: &Visit) -> Reply {
    let answer = Answer::refused(StatusCode::NOT_FOUND, "There is nothing at this address.");
    html(StatusCode::NOT_FOUND, CONSOLE.outcome("", &view_of(visit), &answer))
}

fn view_of(visit: &Visit) -> View<'_> {
    let generation = visit.control().generations().generation();
    View { caller: &visit.caller, token: visit.token.expose(), generation }
}

/// What the page's verb takes of the query.
fn said<'a>(visit: &'a Visit, verb: &str) -> Vec<(&'a str, &'a str)> {
    let verb = verbs::find(verb);
    let said = visit.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    said.filter(|(name, value)| !value.is_empty() && verb.is_some_and(|verb| verb.takes(name))).collect()
}

async fn show(visit: &Visit, page: &Page) -> Reply {
    let answer = visit.ask(page.verb, &said(visit, page.verb)).await;
    html(answer.status, CONSOLE.show(page, &view_of(visit), &answer, None))
}

/// Decisions as they are made. That somebody looks at them is told of with the page.
async fn live(visit: &Visit) -> Reply {
    let said = said(visit, "decisions");
    let answer = visit.ask("decisions", &said).await;
    if !answer.is_done() {
        return html(answer.status, String::new());
    }
    let feed = &visit.control().generations().proxy().shared().desk.feed;
    let pass = visit.pass();
    let said: Vec<_> = said.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let live = CONSOLE.live(feed, watching::filter(&said), visit.caller.clone(), move || pass.is_alive());
    match live {
        Some(live) => {
            let mut reply = Response::new(live.boxed_unsync());
            reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            reply
        }
        None => of_kind(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "too many watch already\n"),
    }
}

/// Another configuration, tried or applied: where it is not applied, it stays in the form.
async fn configuration(visit: &Visit) -> Reply {
    let field =
        |wanted: &str| visit.form.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str());
    let verb = if field("do") == "apply" { "apply-configuration" } else { "try-configuration" };
    let (text, reason) = (field("text").to_owned(), field("reason"));
    let said: &[(&str, &str)] = if reason.is_empty() { &[] } else { &[("reason", reason)] };
    let mut answer = visit.change(verb, said, Bytes::from(text.clone())).await;
    if verb == "apply-configuration" && answer.is_done() {
        return html(answer.status, CONSOLE.outcome(verb, &view_of(visit), &answer));
    }
    let Some(page) = view::find("configuration") else { return nothing(visit) };
    if answer.is_done() {
        return html(answer.status, CONSOLE.show(page, &view_of(visit), &answer, None));
    }
    let notice = view::notice_of(verb, &answer);
    let shown = visit.ask(page.verb, &[]).await;
    if let Content::Json(mut data) = shown.content {
        (data["proposed"], data["reason"]) = (json!(text), json!(reason));
        answer.content = Content::Json(data);
    }
    let told = Answer { status: StatusCode::OK, ..answer.clone() };
    html(answer.status, CONSOLE.show(page, &view_of(visit), &told, Some(notice)))
}
