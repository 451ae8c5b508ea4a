//! The operator's page: HTML over the verbs. The gate was passed by whoever comes here.

use hyper::StatusCode;

use super::call::{Answer, Content};
use super::reply::{Reply, html, see_other};
use super::verbs::Verb;
use super::visit::Visit;
use crate::text::escape_html;

/// What the page of the login has to say.
pub struct Login<'a> {
    /// Why the last try failed.
    pub failed: Option<&'a str>,
    /// The path to go on to.
    pub next: &'a str,
}

/// The page of the login: a form to `/login` with the fields `name`, `password` and `next`.
pub fn login(status: StatusCode, login: &Login<'_>) -> Reply {
    let failed = login.failed.map_or_else(String::new, |why| format!("<p role=\"alert\">{}</p>", escape_html(why)));
    let form = format!(
        "{failed}<form method=\"post\" action=\"/login\"><input type=\"hidden\" name=\"next\" value=\"{}\">\
         <p><label>Name <input name=\"name\" autocomplete=\"username\" required autofocus></label></p>\
         <p><label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label></p>\
         <p><button>Log in</button></p></form>",
        escape_html(login.next)
    );
    html(status, page("Log in", &form))
}

/// What is there without a login: styles and the like, never anything that this Doorward knows.
pub fn asset(_path: &str) -> Option<Reply> {
    None
}

/// A page, or what a form of a page asks for, other than a verb alone.
pub async fn answer(visit: Visit) -> Reply {
    if visit.path != "/" || visit.is_form {
        return html(StatusCode::NOT_FOUND, page("Nothing here", "<p>There is nothing at this address.</p>"));
    }
    let status = visit.ask("status", &[]).await;
    let Content::Json(told) = status.content else { return see_other("/") };
    let who = escape_html(&format!("{} ({})", visit.caller.proof, visit.caller.role.name()));
    let logout = format!(
        "<form method=\"post\" action=\"/logout\"><input type=\"hidden\" name=\"token\" value=\"{}\">\
         <p>{who} <button>Log out</button></p></form>",
        visit.token.expose()
    );
    let told = serde_json::to_string_pretty(&told).unwrap_or_default();
    html(StatusCode::OK, page("Status", &format!("{logout}<pre>{}</pre>", escape_html(&told))))
}

/// What came of a verb that a form asked for by `POST /do/NAME`.
pub fn outcome(_visit: &Visit, verb: &Verb, answer: &Answer) -> Reply {
    let told = match &answer.content {
        Content::Json(json) => serde_json::to_string_pretty(json).unwrap_or_default(),
        Content::Text(_, text) => text.clone(),
    };
    let title = if answer.is_done() { "Done" } else { "Refused" };
    html(answer.status, page(title, &format!("<p>{}</p><pre>{}</pre>", verb.name, escape_html(&told))))
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} – Doorward</title>\
         <meta name=\"viewport\" content=\"width=device-width\"></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )
}
