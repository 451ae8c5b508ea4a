//! What templates must have beyond being right: blocks that somebody shows, and forms that can be sent.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::page::Page;
use crate::own_path::OwnPath;

/// A block of a template that no template above it has, so that nobody shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// The template.
    pub template: String,
    /// The block.
    pub block: String,
    /// What it extends.
    pub above: String,
    /// The blocks that can be filled there.
    pub known: BTreeSet<String>,
}

/// What a template says of itself.
#[derive(Debug, Default)]
struct Outline {
    extends: Option<String>,
    /// All its blocks.
    blocks: BTreeSet<String>,
    /// Those that stand in no other.
    outer: BTreeSet<String>,
}

/// The first block of a template that is lost. Only blocks that stand in no other can be: those within are new ones.
pub(super) fn lost_block(templates: &BTreeMap<String, String>) -> Option<Lost> {
    // A pattern of our own; without it nothing is found.
    let tag = Regex::new(r#"\{%[-+]?\s*(extends|block|endblock)\b\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_]*))"#).ok()?;
    let aside = Regex::new(r"(?s)\{#.*?#\}|\{%[-+]?\s*raw\s*[-+]?%\}.*?\{%[-+]?\s*endraw\s*[-+]?%\}").ok()?;
    let outlines: BTreeMap<&str, Outline> =
        templates.iter().map(|(name, text)| (name.as_str(), outline(&aside.replace_all(text, ""), &tag))).collect();
    for (name, own) in &outlines {
        let (mut known, mut above) = (BTreeSet::new(), own.extends.as_deref());
        let Some(first) = above else { continue };
        // A circle does not render.
        for _ in 0..outlines.len() {
            let Some(outline) = above.and_then(|above| outlines.get(above)) else { break };
            known.extend(outline.blocks.iter().cloned());
            above = outline.extends.as_deref();
        }
        if let Some(block) = own.outer.iter().find(|block| !known.contains(*block)) {
            return Some(Lost { template: (*name).to_owned(), block: block.clone(), above: first.to_owned(), known });
        }
    }
    None
}

fn outline(text: &str, tag: &Regex) -> Outline {
    let (mut outline, mut depth) = (Outline::default(), 0_usize);
    for found in tag.captures_iter(text) {
        let word = found.iter().skip(2).flatten().next().map_or("", |word| word.as_str()).to_owned();
        match &found[1] {
            "extends" => outline.extends = Some(word),
            "block" => {
                if depth == 0 {
                    outline.outer.insert(word.clone());
                }
                outline.blocks.insert(word);
                depth += 1;
            }
            _ => depth = depth.saturating_sub(1),
        }
    }
    outline
}

/// What a rendered page lacks to be of use: its form, or one of the fields that go back with it.
pub(super) fn missing(page: Page, html: &str) -> Option<String> {
    let (action, fields): (_, &[&str]) = match page {
        Page::Login => (Some(OwnPath::Login.path()), &["username", "password", "token", "next", "held"]),
        Page::SecondFactor => (Some(OwnPath::SecondFactor.path()), &["code", "token", "state"]),
        // It leads wherever the form did that is sent again, with the sample's field.
        Page::Held => (None, &["name"]),
        Page::Account | Page::Throttled | Page::LoggedOut | Page::Notice | Page::Error => return None,
    };
    let forms = html.split("<form").skip(1).map(|form| form.split("</form").next().unwrap_or(form));
    let mut forms = forms.filter(|form| {
        let head = form.split('>').next().unwrap_or_default();
        action.is_none_or(|action| has(head, "action", action)) && has(&head.to_lowercase(), "method", "post")
    });
    let Some(form) = forms.next() else {
        let action = action.map(|action| format!(" and action=\"{action}\"")).unwrap_or_default();
        return Some(format!("a form with method=\"post\"{action}"));
    };
    let absent = fields.iter().find(|field| !form.split('<').any(|tag| has(tag, "name", field)));
    absent.map(|field| format!("the field \"{field}\" in its form"))
}

/// What a site may set and its login page shows, by the setting's key, with what shows it in a page of the sample.
const SETTINGS: [(&str, &str); 5] = [
    ("logo", "sample-logo"),
    ("accent-color", "sample-accent-color"),
    ("links", "sample-links"),
    ("announcement", "sample-announcement"),
    ("shared-computer", "name=\"shared\""),
];

/// Settings of sites that a rendered login page does not show.
pub(super) fn unshown(page: Page, html: &str) -> impl Iterator<Item = &'static str> {
    let settings = SETTINGS.iter().filter(move |(_, sign)| page == Page::Login && !html.contains(sign));
    settings.map(|(key, _)| *key)
}

/// Whether a tag has an attribute of this value, in one of the ways of HTML to write it.
fn has(tag: &str, name: &str, value: &str) -> bool {
    tag.match_indices(name).any(|(at, _)| {
        let parted = tag[..at].ends_with(|c: char| c.is_whitespace() || c == '"' || c == '\'');
        let rest = tag[at + name.len()..].trim_start().strip_prefix('=').map(str::trim_start);
        let rest = rest.and_then(|rest| match rest.strip_prefix(['"', '\'']) {
            Some(quoted) => quoted.strip_prefix(value)?.starts_with(['"', '\'']).then_some(()),
            None => {
                let after = rest.strip_prefix(value)?;
                (after.is_empty() || after.starts_with(|c: char| c.is_whitespace() || c == '>' || c == '/'))
                    .then_some(())
            }
        });
        parted && rest.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_no_template_above_has_is_found() {
        let base =
            "{% block heading %}{% endblock %}{% block body %}x{% block inner %}{% endblock %}{% endblock body %}";
        let check = |child: &str, lost: Option<&str>| {
            let templates = [
                ("blue/base.html", base),
                ("own/layout.html", "{% extends 'blue/base.html' %}"),
                ("own/login.html", child),
            ];
            let templates = templates.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
            let found = lost_block(&templates);
            assert_eq!(found.as_ref().map(|lost| lost.block.as_str()), lost, "{child}");
            if let Some(found) = found {
                assert_eq!(found.template, "own/login.html");
            }
        };
        check("{% extends \"blue/base.html\" %}{% block content %}x{% endblock %}", Some("content"));
        check("{%- extends \"own/layout.html\" -%}{%- block content -%}x{%- endblock -%}", Some("content"));
        check("{% extends \"own/layout.html\" %}{% block inner %}x{% endblock %}", None);
        check("{% extends \"blue/base.html\" %}{% block body %}{% block new %}{% endblock %}{% endblock %}", None);
        check("{# {% extends \"blue/base.html\" %} #}{% block content %}x{% endblock %}", None);
        check("{% extends \"blue/base.html\" %}{% raw %}{% block content %}{% endblock %}{% endraw %}", None);
        check("{% block content %}x{% endblock %}", None);
    }

    #[test]
    fn a_form_has_its_fields_however_they_are_written() {
        let form = "<FORM><form action='/.doorward/login' class=x method=POST><input name=username><input value='' \
                    name='password'/><input type=hidden name=\"token\"><input name=next><input name = held></form>";
        let check = |html: &str, missing_: Option<&str>| {
            assert_eq!(missing(Page::Login, html).as_deref(), missing_, "{html}");
        };
        check(form, None);
        check("<h1>x</h1>", Some("a form with method=\"post\" and action=\"/.doorward/login\""));
        check(&form.replace("POST", "get"), Some("a form with method=\"post\" and action=\"/.doorward/login\""));
        check(&form.replace("token", "tokens"), Some("the field \"token\" in its form"));
        check(&form.replace("name=next", "data-name=next"), Some("the field \"next\" in its form"));
        assert_eq!(missing(Page::Error, ""), None);
    }
}
