//! The keys of `[http]` about both neighbours: which proxies in front are believed, what nodes and browsers are told.

use hyper::header::HeaderValue;

use super::Table;
use super::network::{Network, Networks};
use crate::reserved::{self, Reserved};

/// Who is believed, and how nodes are told.
#[derive(Debug, Clone)]
pub struct Forwarding {
    /// Proxies in front whose headers about their clients are believed.
    pub trusted: Networks,
    /// Which headers those proxies write.
    pub reads: Style,
    /// Whether nodes get `X-Forwarded-For`, `-Proto`, `-Host` and `X-Real-IP`.
    pub tells_x_forwarded: bool,
    /// Whether nodes get `Forwarded`.
    pub tells_forwarded: bool,
    /// Headers towards nodes that nobody but Doorward writes, besides the built-in ones.
    pub identity: Reserved,
    /// `Strict-Transport-Security`, said to whoever comes by TLS.
    pub hsts: Option<HeaderValue>,
}

/// How a proxy tells of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

const STYLES: [(&str, Style); 2] = [("x-forwarded", Style::XForwarded), ("forwarded", Style::Forwarded)];

impl Default for Forwarding {
    /// Nobody is believed.
    fn default() -> Self {
        Self {
            trusted: Networks::default(),
            reads: Style::XForwarded,
            tells_x_forwarded: true,
            tells_forwarded: false,
            identity: Reserved::default(),
            hsts: None,
        }
    }
}

pub(super) fn forwarding(t: &Table<'_>) -> Forwarding {
    let default = Forwarding::default();
    let told = t.texts("forwarded-headers");
    for word in told.iter().filter(|word| !STYLES.iter().any(|(name, _)| name == word)) {
        t.fault("forwarded-headers", format!("\"{word}\""), "\"x-forwarded\", \"forwarded\", or both");
    }
    let tells =
        |word: &str, default: bool| if t.has("forwarded-headers") { told.iter().any(|w| w == word) } else { default };
    let trusted = t.networks("trusted-proxies");
    if trusted.0.iter().any(Network::is_everybody) {
        let found = "everybody: whoever connects says who he is, and no limit for peers holds";
        t.warn("trusted-proxies", found, "the addresses of the proxies in front");
    }
    Forwarding {
        trusted,
        reads: t.choice("trusted-proxies-header", &STYLES).unwrap_or(default.reads),
        tells_x_forwarded: tells("x-forwarded", default.tells_x_forwarded),
        tells_forwarded: tells("forwarded", default.tells_forwarded),
        identity: identity(t),
        hsts: t.parsed("hsts", "such as \"max-age=31536000; includeSubDomains\"", hsts),
    }
}

fn identity(t: &Table<'_>) -> Reserved {
    let names = t.texts("identity-headers");
    for name in names.iter().filter(|name| reserved::read(name).is_none()) {
        let expected = "a header's name such as \"X-Corp-User\", or its beginning such as \"X-Corp-*\"";
        t.fault("identity-headers", format!("\"{name}\""), expected);
    }
    Reserved::new(names.iter().map(String::as_str))
}

/// Directives with a `max-age` in seconds among them (RFC 6797, section 6.1).
fn hsts(text: &str) -> Option<HeaderValue> {
    let is_age = |part: &str| {
        let age = part.trim().strip_prefix("max-age=");
        age.is_some_and(|age| !age.is_empty() && age.bytes().all(|byte| byte.is_ascii_digit()))
    };
    text.split(';').any(is_age).then(|| HeaderValue::from_str(text).ok()).flatten()
}
