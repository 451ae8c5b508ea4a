//! Which template a virtual host shows, by host name and form of device.
//!
//! Pure: reads the host.

#![deny(unsafe_code, missing_docs)]

use std::collections::BTreeMap;

use doorward_policy::host_pattern::{HostMap, HostPattern};
use doorward_policy::{Form, JsonSchema, Policy, Problem, RequestFacts, TemplatePolicy};
use serde::Deserialize;

/// The settings as the operator writes them.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Templates by host name (`mail.example.com`) or wildcard (`*.example.com`, one or more labels before it). The most
    /// specific one counts.
    #[serde(default)]
    pub hosts: BTreeMap<String, Templates>,
    /// The template where none of the hosts matches, or says nothing for the device. Without it the next policy decides.
    pub default: Option<String>,
}

/// What a host shows: the name of one template, or names by form of device.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the name of a template, or names by `desktop`, `mobile`, `tablet`, `bot`")]
pub enum Templates {
    /// The same for every device.
    One(String),
    /// By form of device.
    ByForm(ByForm),
}

/// Template names by form of device; a form not listed has that of `desktop`.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ByForm {
    pub desktop: Option<String>,
    pub mobile: Option<String>,
    pub tablet: Option<String>,
    pub bot: Option<String>,
}

/// The templates, ready to be asked for.
pub struct VirtualHosts {
    hosts: HostMap<ByForm>,
    default: Option<String>,
}

impl Policy for VirtualHosts {
    type Settings = Settings;

    fn configure(settings: Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut hosts = HostMap::default();
        for (text, templates) in settings.hosts {
            let path = format!("hosts.{text}");
            let templates = templates.check(&path, &mut problems);
            match text.parse::<HostPattern>() {
                Ok(pattern) => {
                    if hosts.insert(pattern, templates).is_some() {
                        problems
                            .push(Problem::new(path, "is there twice: letter case and a dot at the end do not count"));
                    }
                }
                Err(message) => problems.push(Problem::new(path, message)),
            }
        }
        if let Some(name) = &settings.default {
            check_template("default", name, &mut problems);
        }
        if problems.is_empty() { Ok(VirtualHosts { hosts, default: settings.default }) } else { Err(problems) }
    }
}

impl TemplatePolicy for VirtualHosts {
    fn select(&self, facts: &RequestFacts, form: Form) -> Option<String> {
        let templates = self.hosts.find(&facts.host());
        templates.and_then(|templates| templates.name(form)).or(self.default.as_deref()).map(String::from)
    }
}

impl Templates {
    /// Brings both ways of writing to one, and checks the names.
    fn check(self, path: &str, problems: &mut Vec<Problem>) -> ByForm {
        let by_form = match self {
            Templates::One(name) => {
                check_template(path, &name, problems);
                return ByForm { desktop: Some(name), mobile: None, tablet: None, bot: None };
            }
            Templates::ByForm(by_form) => by_form,
        };
        let forms = [
            ("desktop", &by_form.desktop),
            ("mobile", &by_form.mobile),
            ("tablet", &by_form.tablet),
            ("bot", &by_form.bot),
        ];
        if forms.iter().all(|(_, name)| name.is_none()) {
            problems.push(Problem::new(path, "names no template"));
        }
        for (form, name) in forms {
            if let Some(name) = name {
                check_template(&format!("{path}.{form}"), name, problems);
            }
        }
        by_form
    }
}

impl ByForm {
    fn name(&self, form: Form) -> Option<&str> {
        let listed = match form {
            Form::Desktop => &self.desktop,
            Form::Mobile => &self.mobile,
            Form::Tablet => &self.tablet,
            Form::Bot => &self.bot,
        };
        listed.as_deref().or(self.desktop.as_deref())
    }
}

/// A template is a directory under `templates/`, so its name must be one part of a path, and none that leads elsewhere.
fn check_template(path: &str, name: &str, problems: &mut Vec<Problem>) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(allowed) {
        let message = format!("`{name}` is not the name of a template: letters, digits, `-`, `_` and inner dots");
        problems.push(Problem::new(path, message));
    }
}

doorward_policy::export!(template: VirtualHosts);
