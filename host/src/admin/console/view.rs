//! Pages, and how each is made from what its verb told.

use std::sync::Arc;

use minijinja::{Environment, Value, context};
use serde_json::{Value as Json, json};

use super::super::call::{Answer, Content};
use super::super::caller::{Caller, Role};
use super::super::privacy;
use super::live::Live;
use super::render;
use crate::feed::{Event, Feed, Filter};
use crate::times::seconds_now;

/// A page: what it is called, which verb tells what is on it, and by which template it is shown.
pub(super) struct Page {
    /// The last part of its path, `/console/NAME`, and its template's name.
    pub name: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What it is for.
    lead: &'static str,
    /// The verb that tells what is on it.
    pub verb: &'static str,
    /// Whether it stands in the list of pages.
    listed: bool,
    /// The least role that sees it in the list.
    role: Role,
    live: bool,
}

const fn page(name: &'static str, title: &'static str, verb: &'static str) -> Page {
    Page { name, title, lead: "", verb, listed: true, role: Role::Viewer, live: false }
}

impl Page {
    const fn about(self, lead: &'static str) -> Self {
        Self { lead, ..self }
    }

    const fn of(self, role: Role) -> Self {
        Self { role, ..self }
    }
}

/// All pages, in the order in which they are listed.
pub(super) const PAGES: &[Page] = &[
    page("overview", "Overview", "overview").about("What is live, and what somebody should look at."),
    page("nodes", "Nodes", "nodes").about("The webmail servers: how they are, and how much they have to do."),
    page("cluster", "Cluster", "cluster")
        .about("The front doors that are one, and the store by which they hear of each other."),
    page("policies", "Policies", "status").about("What decides, and how it does."),
    Page { live: true, ..page("decisions", "Decisions", "decisions") }
        .about("What policies decide, with what they read. Masked values are masked here too."),
    page("request", "Request", "request").about("Everything that is known of one request."),
    page("logins", "Logins", "logins").about("How logins end, who is shut out and why."),
    page("sessions", "Sessions", "sessions")
        .of(Role::Operator)
        .about("Who is logged in: sessions that were seen of late."),
    page("audit", "Audit", "audit").of(Role::Operator).about("Who did what here, or tried to."),
    page("ask", "Ask", "ask")
        .of(Role::Operator)
        .about("Type facts, and see what each policy says to them, live beside its candidate."),
    page("try", "Try a policy", "trial")
        .of(Role::Admin)
        .about("From an upload to a promotion, with what would have been decided otherwise before anything changes."),
    page("configuration", "Configuration", "configuration")
        .of(Role::Operator)
        .about("The file that says what is live; secrets are masked."),
];

/// Where the forms of verbs are, but for those of the overview.
const BACK: &[(&str, &[&str])] = &[
    ("nodes", &["drain", "undrain"]),
    ("policies", &["lift"]),
    ("try", &["try", "shadow", "promote"]),
    ("configuration", &["try-configuration", "apply-configuration"]),
    ("logins", &["release", "purge-routes", "directory-test"]),
    ("sessions", &["revoke", "kick"]),
];

/// How a page is shown, and to whom.
pub(super) struct View<'a> {
    /// Who looks.
    pub caller: &'a Caller,
    /// What his forms have to bring along.
    pub token: &'a str,
    /// The live generation, which his changes are made from.
    pub generation: u64,
}

/// The page of this name.
pub(super) fn find(name: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.name == name)
}

/// The templates, ready to be filled.
pub(super) struct Console {
    environment: Environment<'static>,
}

impl Console {
    /// Reads the templates.
    pub(super) fn new() -> Self {
        Self { environment: render::environment() }
    }

    /// The page of the login: why the last try failed, and where to go on to.
    pub(super) fn login(&self, failed: Option<&str>, next: &str) -> String {
        let template = self.environment.get_template("login.html");
        let filled = template.and_then(|template| template.render(context! { failed, next }));
        filled.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// A page with what its verb told.
    pub(super) fn show(&self, page: &Page, view: &View<'_>, answer: &Answer, notice: Option<Json>) -> String {
        let data = match &answer.content {
            Content::Json(json) => json.clone(),
            Content::Text(_, text) => json!(text),
        };
        let (notice, data) = if answer.is_done() { (notice, data) } else { (Some(notice_of("", answer)), json!({})) };
        self.fill(&format!("{}.html", page.name), page, view, context! { d => data, notice })
    }

    /// What came of a verb that changes something, and the way back.
    pub(super) fn outcome(&self, verb: &str, view: &View<'_>, answer: &Answer) -> String {
        let title = if answer.is_done() { "Done" } else { "Not done" };
        let page = Page { listed: false, ..page("outcome", title, "") };
        let back = BACK.iter().find(|(_, verbs)| verbs.contains(&verb)).map_or("overview", |(page, _)| page);
        self.fill("outcome.html", &page, view, context! { notice => notice_of(verb, answer), back, d => json!({}) })
    }

    /// One decision as the list shows it.
    fn decision(&self, event: &Json) -> String {
        let template = self.environment.get_template("decision.html");
        template.and_then(|template| template.render(context! { event })).unwrap_or_default()
    }

    /// Begins to send decisions that pass the filter, as they are made; none where too many watch already.
    pub(super) fn live(
        &'static self,
        feed: &Arc<Feed>,
        filter: Filter,
        caller: Caller,
        is_alive: impl Fn() -> bool + Send + 'static,
    ) -> Option<Live> {
        let show = move |event: &Event| self.decision(&privacy::seen(&event.shown, &caller));
        Live::start(feed, filter, show, is_alive)
    }

    fn fill(&self, template: &str, page: &Page, view: &View<'_>, more: Value) -> String {
        let role = view.caller.role;
        let listed = PAGES.iter().filter(|page| page.listed && page.role <= role);
        let pages: Vec<Json> = listed.map(|page| json!({"name": page.name, "title": page.title})).collect();
        let caller = json!({"name": view.caller.proof.to_string(), "role": role.name()});
        let may = json!({"operator": role >= Role::Operator, "admin": role >= Role::Admin});
        let all = json!({"token": view.token, "generation": view.generation});
        let data = more.get_attr("d").and_then(|data| data.get_attr("under_way"));
        // What goes on by itself is loaded again.
        let refresh = data.is_ok_and(|under_way| under_way.is_true()).then_some(2);
        let common = context! {
            refresh,
            all, caller, may, pages, page => page.name, title => page.title, lead => page.lead, live => page.live,
            token => view.token, now => seconds_now(), ..more
        };
        let filled = self.environment.get_template(template).and_then(|template| template.render(common));
        filled.unwrap_or_else(|error| format!("{error:#}"))
    }
}

/// What came of a verb, in words.
pub(super) fn notice_of(verb: &str, answer: &Answer) -> Json {
    let Content::Json(json) = &answer.content else { return json!({"kind": "good", "text": "Done."}) };
    if answer.is_done() {
        let said = json.as_object().into_iter().flatten().map(|(key, value)| match value {
            Json::String(text) => format!("{key}: {text}"),
            Json::Array(_) | Json::Object(_) => {
                format!("{key}: {}", serde_json::to_string_pretty(value).unwrap_or_default())
            }
            other => format!("{key}: {other}"),
        });
        let more: Vec<String> = said.collect();
        return json!({"kind": "good", "text": format!("Done: {verb}."), "more": more.join("\n")});
    }
    let text = match json["faults"].as_array() {
        Some(faults) if !faults.is_empty() => format!("Refused: {} faults. Nothing has changed.", faults.len()),
        _ => json["error"].as_str().unwrap_or("Refused.").to_owned(),
    };
    json!({"kind": "bad", "text": text, "faults": json["faults"]})
}
