//! The table of verbs: all that can be asked of a running Doorward, or told to it. The admin socket, the API, the page and
//! `doorward ctl` read it, and nothing is done that has no row here.
//!
//! Who adds a verb adds its row, the function that does it in a file beside this one, and its row in docs/operations.md;
//! a test holds both tables to each other.

use std::future::Future;
use std::pin::Pin;

use doorward_wire::form;
use hyper::Method;

use super::call::{Answer, Call};
use super::caller::Role;
use super::{asking, cluster, commands, configuration, helpdesk, logins, metrics, nodes, overview, trying, watching};

/// A verb: a row of the table.
pub struct Verb {
    /// What it is called, by `doorward ctl` too. Its path is this name: `/NAME` on the admin socket, `/api/NAME` on the
    /// admin address.
    pub name: &'static str,
    /// Whether it changes anything.
    pub kind: Kind,
    /// The least role that may do it.
    pub role: Role,
    /// Whether it is asked twice.
    pub danger: Danger,
    /// Whether it shows or touches what is known of single people: then the audit log has it, also where it only looks.
    pub personal: bool,
    /// Whether a new generation comes of it: of two who ask at once, and say which generation they saw, one is refused.
    pub makes_generation: bool,
    /// Bytes that may be sent with it.
    pub body: usize,
    /// What may be said besides.
    pub parameters: &'static [&'static str],
    /// Does it.
    pub run: fn(Call) -> Doing,
}

/// A verb on its way.
pub type Doing = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Whether a verb changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only looks: `GET`.
    Look,
    /// It changes something: `POST`.
    Change,
}

/// Whether a verb is dangerous: then a reason is asked for, and on the page the password again where the login is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Danger {
    /// Never.
    Never,
    /// Always.
    Always,
    /// With this parameter.
    With(&'static str),
}

/// What may be said with each verb: why it is done, for the audit log.
pub const REASON: &str = "reason";

/// A verb that only looks.
const fn look(name: &'static str, role: Role, parameters: &'static [&'static str], run: fn(Call) -> Doing) -> Verb {
    Verb { kind: Kind::Look, ..change(name, role, parameters, run) }
}

/// A verb that changes something.
const fn change(name: &'static str, role: Role, parameters: &'static [&'static str], run: fn(Call) -> Doing) -> Verb {
    Verb {
        name,
        kind: Kind::Change,
        role,
        danger: Danger::Never,
        personal: false,
        makes_generation: false,
        body: 0,
        parameters,
        run,
    }
}

impl Verb {
    /// It is dangerous.
    const fn dangerous(self, danger: Danger) -> Self {
        Self { danger, ..self }
    }

    /// It is about single people.
    const fn personal(self) -> Self {
        Self { personal: true, ..self }
    }

    /// So many bytes may be sent with it.
    const fn taking(self, body: usize) -> Self {
        Self { body, ..self }
    }

    /// A new generation comes of it.
    const fn making_a_generation(self) -> Self {
        Self { makes_generation: true, ..self }
    }

    /// The method of its requests.
    pub const fn method(&self) -> Method {
        match self.kind {
            Kind::Look => Method::GET,
            Kind::Change => Method::POST,
        }
    }

    /// Whether it is dangerous with these parameters.
    pub fn is_dangerous(&self, parameters: &[(String, String)]) -> bool {
        match self.danger {
            Danger::Never => false,
            Danger::Always => true,
            Danger::With(name) => parameters.iter().any(|(key, _)| key == name),
        }
    }

    /// Whether it takes this parameter.
    pub fn takes(&self, parameter: &str) -> bool {
        parameter == REASON || self.parameters.contains(&parameter)
    }

    /// The target of its requests on the admin socket.
    pub fn target(&self, parameters: &[(&str, &str)]) -> String {
        let query = form::write(parameters.iter().copied());
        if query.is_empty() { format!("/{}", self.name) } else { format!("/{}?{query}", self.name) }
    }
}

/// All verbs. docs/operations.md has the same table; a test compares them.
pub static VERBS: &[Verb] = &[
    look("status", Role::Viewer, &[], |call| Box::pin(commands::status(call))),
    look("metrics", Role::Viewer, &[metrics::FORMAT], |call| Box::pin(commands::metrics(call))),
    look("audit", Role::Operator, &["lines"], |call| Box::pin(commands::audit(call))).personal(),
    look("top", Role::Viewer, &[], |call| Box::pin(helpdesk::top(call))),
    look("why", Role::Operator, &["user"], |call| Box::pin(helpdesk::why(call))).personal(),
    look("sessions", Role::Operator, &["node", "user"], |call| Box::pin(helpdesk::sessions(call))).personal(),
    change("directory-test", Role::Operator, &["user"], |call| Box::pin(helpdesk::directory_test(call)))
        .personal()
        .taking(helpdesk::PASSWORD),
    change("trace", Role::Admin, &["user", "for"], |call| Box::pin(helpdesk::trace(call)))
        .personal()
        .dangerous(Danger::Always),
    change("release", Role::Operator, &["user", "network"], |call| Box::pin(helpdesk::release(call))).personal(),
    change("reload", Role::Operator, &["accept-shrink"], |call| Box::pin(commands::reload(call))).making_a_generation(),
    change("reopen-logs", Role::Operator, &[], |call| Box::pin(commands::reopen_logs(call))),
    change("rollback", Role::Operator, &["generation"], |call| Box::pin(commands::rollback(call))),
    change("drain", Role::Operator, &["backend", "for"], |call| Box::pin(commands::drain(call))),
    change("undrain", Role::Operator, &["backend"], |call| Box::pin(commands::undrain(call))),
    change("purge-routes", Role::Operator, &["user"], |call| Box::pin(commands::purge_routes(call))).personal(),
    change("revoke", Role::Operator, &["user", "session", "all"], |call| Box::pin(commands::revoke(call)))
        .personal()
        .dangerous(Danger::With("all")),
    change("kick", Role::Operator, &["user", "node"], |call| Box::pin(commands::kick(call))).personal(),
    change("lift", Role::Admin, &["digest"], |call| Box::pin(commands::lift(call))).dangerous(Danger::Always),
    change("upgrade", Role::Admin, &[], |call| Box::pin(commands::upgrade(call))).dangerous(Danger::Always),
    look("overview", Role::Viewer, &[], |call| Box::pin(overview::overview(call))),
    look("cluster", Role::Viewer, &[], |call| Box::pin(cluster::cluster(call))),
    look("nodes", Role::Viewer, &[], |call| Box::pin(nodes::nodes(call))),
    look("decisions", Role::Viewer, watching::FILTER, |call| Box::pin(watching::decisions(call))).personal(),
    look("request", Role::Viewer, &["id"], |call| Box::pin(watching::request(call))).personal(),
    look("logins", Role::Viewer, &["user", "outcome"], |call| Box::pin(logins::logins(call))).personal(),
    look("ask", Role::Operator, &["policy", "facts"], |call| Box::pin(asking::ask(call))),
    look("configuration", Role::Operator, &[], |call| Box::pin(configuration::configuration(call))),
    change("try-configuration", Role::Admin, &[], |call| Box::pin(configuration::try_configuration(call)))
        .taking(configuration::LONGEST),
    change("apply-configuration", Role::Admin, &[], |call| Box::pin(configuration::apply_configuration(call)))
        .taking(configuration::LONGEST)
        .making_a_generation()
        .dangerous(Danger::Always),
    look("trial", Role::Admin, &["policy"], |call| Box::pin(trying::trial(call))),
    change("try", Role::Admin, &["policy", "vectors"], |call| Box::pin(trying::try_policy(call)))
        .taking(trying::LARGEST),
    change("shadow", Role::Admin, &["policy"], |call| Box::pin(trying::shadow(call))).making_a_generation(),
    change("promote", Role::Admin, &["policy"], |call| Box::pin(trying::promote(call)))
        .making_a_generation()
        .dangerous(Danger::Always),
];

/// The verb of this name.
pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of docs/operations.md: name, method, role, whether it is asked twice, whether it is about people.
    fn documented() -> Vec<[String; 5]> {
        let text = include_str!("../../../docs/operations.md");
        let below = text.split("\n## The verbs\n").nth(1).expect("the table").split("\n## ").next().unwrap_or_default();
        let rows = below.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| {
            let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        })
        .collect()
    }

    #[test]
    fn every_verb_has_its_row_in_the_documents_and_no_other_has() {
        let row = |verb: &Verb| {
            let danger = match verb.danger {
                Danger::Never => "no".to_owned(),
                Danger::Always => "yes".to_owned(),
                Danger::With(parameter) => format!("with `{parameter}"),
            };
            let personal = if verb.personal { "yes" } else { "no" };
            [verb.name.to_owned(), verb.method().to_string(), verb.role.name().to_owned(), danger, personal.to_owned()]
        };
        let rows: Vec<_> = VERBS.iter().map(row).collect();
        assert_eq!(documented(), rows);
    }

    #[test]
    fn verbs_are_named_once_and_say_what_they_take() {
        for (at, verb) in VERBS.iter().enumerate() {
            assert!(VERBS[..at].iter().all(|other| other.name != verb.name), "{} twice", verb.name);
            assert!(std::ptr::eq(find(verb.name).unwrap(), verb));
            if let Danger::With(parameter) = verb.danger {
                assert!(verb.takes(parameter), "{} is dangerous with what it does not take", verb.name);
            }
            assert!(verb.kind == Kind::Change || verb.danger == Danger::Never, "{} only looks", verb.name);
        }
        assert_eq!(find("rollback").unwrap().target(&[("generation", "7")]), "/rollback?generation=7");
        assert_eq!(find("status").unwrap().target(&[]), "/status");
        let all = [("all".to_owned(), String::new())];
        assert!(find("revoke").unwrap().is_dangerous(&all) && !find("revoke").unwrap().is_dangerous(&[]));
    }
}
