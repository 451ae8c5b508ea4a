//! The pages: templates compiled in, rendered with everything escaped.

use crate::text::hex;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, PROXY_AUTHORIZATION};
use hyper::{Response, StatusCode};
use minijinja::{Environment, Value, context};
use sha2::{Digest, Sha256};

use super::body::Body;
use super::reply;

/// The one style sheet.
const STYLE: &str = include_str!("html/style.css");

/// The templates. Their names end in `.html`, which is what makes minijinja escape.
const TEMPLATES: [(&str, &str); 8] = [
    ("base.html", include_str!("html/base.html")),
    ("login.html", include_str!("html/login.html")),
    ("inbox.html", include_str!("html/inbox.html")),
    ("message.html", include_str!("html/message.html")),
    ("compose.html", include_str!("html/compose.html")),
    ("uploaded.html", include_str!("html/uploaded.html")),
    ("about.html", include_str!("html/about.html")),
    ("problem.html", include_str!("html/problem.html")),
];

/// The colours a node can have, by the last letter of its name: node-a is blue, node-b is orange.
const ACCENTS: [&str; 4] = ["blue", "orange", "green", "violet"];

/// What a value that must not be shown is shown as.
const MASK: &str = "••••••";

/// All pages of one node.
pub(super) struct Pages {
    templates: Environment<'static>,
    node: String,
    accent: &'static str,
    style_tag: String,
}

impl Pages {
    /// The pages of the node called `node`.
    pub(super) fn new(node: &str) -> Self {
        let mut templates = Environment::new();
        for (name, source) in TEMPLATES {
            // The sources are part of the program; a test renders each of them.
            if let Err(error) = templates.add_template(name, source) {
                tracing::error!(name, %error, "template of the demonstration webmail is broken");
            }
        }
        let letter = node.bytes().last().unwrap_or(b'a').to_ascii_lowercase();
        Self {
            templates,
            node: node.to_owned(),
            accent: ACCENTS[usize::from(letter.wrapping_sub(b'a')) % ACCENTS.len()],
            style_tag: format!("\"{}\"", &hex(&Sha256::digest(STYLE))[..16]),
        }
    }

    /// Renders `template` with `values` and what every page shows.
    pub(super) fn show(&self, status: StatusCode, template: &str, values: Value) -> Response<Body> {
        let values = context! { node => self.node, accent => self.accent, ..values };
        match self.templates.get_template(template).and_then(|template| template.render(values)) {
            Ok(html) => reply::page(status, html),
            Err(error) => {
                tracing::error!(template, %error, "page of the demonstration webmail failed");
                reply::plain(StatusCode::INTERNAL_SERVER_ERROR, "This page could not be made.\n")
            }
        }
    }

    /// The style sheet's text.
    pub(super) fn style() -> &'static str {
        STYLE
    }

    /// The style sheet's entity tag, quotes included.
    pub(super) fn style_tag(&self) -> &str {
        &self.style_tag
    }
}

/// The request's headers for the eyes of a person, in their order, without what would let somebody in.
pub(super) fn shown_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let shown = if *name == COOKIE {
                let names = value.split(';').map(|pair| pair.split_once('=').map_or("", |(name, _)| name.trim()));
                names.map(|name| format!("{name}={MASK}")).collect::<Vec<_>>().join("; ")
            } else if *name == AUTHORIZATION || *name == PROXY_AUTHORIZATION {
                format!("{} {MASK}", value.split_once(' ').map_or("", |(scheme, _)| scheme))
            } else {
                value.into_owned()
            };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn secrets_are_not_shown_among_the_headers() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (COOKIE, "webmail_session=s3cret; other=s3cret=s3cret"),
            (COOKIE, "s3cret"),
            (AUTHORIZATION, "Basic s3cret"),
            (AUTHORIZATION, "s3cret"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let shown = shown_headers(&headers);
        assert!(shown.iter().all(|(_, value)| !value.contains("s3cret")), "{shown:?}");
        assert!(shown.contains(&("cookie".into(), format!("webmail_session={MASK}; other={MASK}"))), "{shown:?}");
        assert!(shown.contains(&("authorization".into(), format!("Basic {MASK}"))), "{shown:?}");
    }

    #[test]
    fn the_first_two_nodes_differ_in_colour() {
        assert_eq!((Pages::new("node-a").accent, Pages::new("node-b").accent), ("blue", "orange"));
    }
}
