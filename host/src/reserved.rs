//! Headers towards a node that nobody but Doorward writes: those that say who the user is and who and where the client is,
//! what it asked for, and how the request is framed. This is the one list of them.
//!
//! Servers tell such a header by a name that they have made a variable of: letter case does not count, and `_` and `.` may
//! be `-` (CGI, RFC 3875, section 4.1.18; some servers make `_` of whatever is no letter and no digit).
//!
//! Pure.

/// Names, and with a final `*` beginnings of names, in lower case and by their first letters, so that most headers are
/// compared with few of them. From the manuals of the servers and sign-on proxies that read or write them.
const BUILT_IN: &[(u8, &[&str])] = &[
    (b'a', &["akamai-client-ip", "ali-cdn-real-ip", "auth-*"]),
    (
        b'c',
        &[
            "cas-*",
            "cdn-real-ip",
            "cdn-src-ip",
            "cf-access-*",
            "cf-connecting-*",
            "cf-pseudo-*",
            "client-cert*",
            "client-ip",
            "cloudfront-viewer-*",
            "cosign-*",
            "ct-remote-user",
        ],
    ),
    (b'd', &["do-connecting-ip"]),
    (b'e', &["eo-connecting-ip", "eppn"]),
    (b'f', &["fastly-client-*", "fly-client-ip", "forwarded", "forwarded-for"]),
    (b'g', &["gap-auth", "gssapi-*"]),
    (b'i', &["incap-client-ip", "iv-*"]),
    (b'k', &["krb5-*"]),
    (b'm', &["mellon-*"]),
    (b'o', &["oam-*", "oidc-*", "openid-*", "osso-*"]),
    // CGI makes the variable `HTTP_PROXY` of the first.
    (b'p', &["proxy", "proxy-client-ip", "proxy-user"]),
    (b'r', &["remote-*"]),
    (b's', &["saml-*", "script-name", "shib-*", "sm-*", "ssl-*", "sso-*"]),
    (b't', &["tailscale-*", "teleport-jwt-assertion", "true-client-ip"]),
    (b'w', &["webauth-*", "wl-proxy-*"]),
    (
        b'x',
        &[
            "x-accel-mapping",
            "x-amzn-mtls-*",
            "x-amzn-oidc-*",
            "x-apigateway-*",
            "x-appengine-*",
            "x-arr-*",
            "x-auth-email",
            "x-auth-groups",
            "x-auth-id",
            "x-auth-login",
            "x-auth-mail",
            "x-auth-name",
            "x-auth-principal",
            "x-auth-request-*",
            "x-auth-roles",
            "x-auth-subject",
            "x-auth-uid",
            "x-auth-user*",
            "x-authelia-*",
            "x-authenticated-*",
            "x-authentik-*",
            "x-azure-clientip",
            "x-azure-socketip",
            "x-cas-*",
            "x-client-cert*",
            "x-client-dn",
            "x-client-ip",
            "x-client-verify",
            "x-cluster-client-ip",
            "x-consumer-*",
            "x-credential-*",
            "x-doorward-*",
            "x-endpoint-api-userinfo",
            "x-envoy-*",
            "x-forwarded",
            "x-forwarded-*",
            "x-goog-*",
            "x-gssapi-*",
            "x-host",
            "x-http-host-override",
            "x-id-token",
            "x-jwt-*",
            "x-kerberos-*",
            "x-keycloak-*",
            "x-krb-*",
            "x-ldap-*",
            "x-mellon-*",
            "x-ms-client-principal*",
            "x-ms-token-*",
            "x-nf-client-connection-ip",
            "x-oauth-*",
            "x-oidc-*",
            // Some servers take their path from these.
            "x-original-*",
            "x-originating-ip",
            "x-pomerium-*",
            "x-principal*",
            "x-proxy-*",
            "x-proxyuser-*",
            "x-real-ip",
            "x-remote-*",
            "x-request-id",
            "x-rewrite-*",
            "x-saml-*",
            "x-script-name",
            "x-sendfile-type",
            "x-shib*",
            "x-ssl-*",
            "x-sso-*",
            "x-sucuri-clientip",
            "x-tailscale-*",
            "x-tls-client-*",
            "x-trusted-*",
            "x-upn",
            "x-user",
            "x-user-email",
            "x-user-groups",
            "x-user-id",
            "x-user-name",
            "x-userid",
            "x-userinfo",
            "x-username",
            "x-vercel-*",
            "x-vouch-*",
            "x-webauth-*",
            // SOGo's server takes the user and the client from these.
            "x-webobjects-*",
        ],
    ),
];

/// In the proper spelling the framing is written anew; in another it must not get to a node.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// What an operator and a recipe add to the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved(Vec<Box<str>>);

impl Reserved {
    /// Names and beginnings of names. One that cannot be read is no part of it.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(read).collect())
    }

    /// Whether a header is on it, in any spelling.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| fits(name.as_bytes(), pattern))
    }
}

/// A name as an operator writes it: a token, perhaps with a final `*` (RFC 9110, section 5.6.2). None where it is none, or
/// one that no request can do without.
pub fn read(written: &str) -> Option<Box<str>> {
    let name = written.strip_suffix('*').unwrap_or(written);
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let needed = ["host", "cookie", "content-length", "content-type", "transfer-encoding"];
    let good = !name.is_empty() && name.bytes().all(right) && !needed.iter().any(|one| name.eq_ignore_ascii_case(one));
    good.then(|| written.to_ascii_lowercase().into_boxed_str())
}

/// Whether a header is on the built-in list, in any spelling.
pub fn is_reserved(name: &str) -> bool {
    let name = name.as_bytes();
    let Some(first) = name.first().map(u8::to_ascii_lowercase) else { return false };
    let group = BUILT_IN.iter().find(|(letter, _)| *letter == first);
    let twin = || FRAMING.iter().any(|framing| fits(name, framing) && !name.eq_ignore_ascii_case(framing.as_bytes()));
    group.is_some_and(|(_, patterns)| patterns.iter().any(|pattern| fits(name, pattern))) || twin()
}

fn fits(name: &[u8], pattern: &str) -> bool {
    let (wanted, open) = match pattern.as_bytes().split_last() {
        Some((b'*', beginning)) => (beginning, true),
        _ => (pattern.as_bytes(), false),
    };
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
    let right_length = if open { name.len() >= wanted.len() } else { name.len() == wanted.len() };
    right_length && name.iter().zip(wanted).all(|(a, b)| plain(*a) == plain(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_we_write_is_known_in_every_spelling() {
        let ours = [
            "X-Forwarded-For",
            "x_forwarded-x",
            "X_Doorward_",
            "remote_USER",
            "Proxy",
            "content_length",
            "X.Real.IP",
            "X-Auth-User",
            "X-Auth-Request-Email",
            "X-Remote-User",
            "X-Forwarded-User",
            "X-Webauth-User",
            "X-Authenticated-User",
            "X-authentik-username",
            "Remote-Groups",
            "X-SSL-Client-S-DN",
            "X-Client-Cert",
            "X-Original-URL",
            "X-Rewrite-URL",
            "Forwarded",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "Client-IP",
            "X-GSSAPI-Name",
            "X-Ldap-User",
            "X-Vouch-User",
            "X-Shib-User",
            "x-webobjects-remote-user",
            "Ssl-Client-Verify",
            "Tailscale-User-Login",
            "Transfer_Encoding",
            "Cas_User",
            "X-Amzn-Oidc-Identity",
            "X-Auth-Subject",
            "X-MS-TOKEN-AAD-ID-TOKEN",
            "Auth-Mail",
            "CT_REMOTE_USER",
            "OAM-Remote-User",
            "X-JWT-Assertion",
            "CloudFront-Viewer-Address",
        ];
        for name in ours {
            assert!(is_reserved(name), "{name}");
        }
        let others = [
            "",
            "x",
            "x-forwarde-for",
            "content-length",
            "transfer-encoding",
            "proxyx",
            "remote",
            "x-requested-with",
            "x-xsrf-token",
            "x-auth-token",
            "accept",
            "authorization",
            "user-agent",
            "origin",
            "referer",
            "x-client-version",
        ];
        for name in others {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn the_list_is_in_lower_case_and_by_first_letters() {
        for (letter, patterns) in BUILT_IN {
            for pattern in *patterns {
                assert_eq!(pattern.as_bytes().first(), Some(letter), "{pattern}");
                assert_eq!(read(pattern).as_deref(), Some(*pattern));
            }
        }
    }

    #[test]
    fn an_operator_adds_names_and_beginnings() {
        let more = Reserved::new(["X-Corp-User", "Corp_*", "*", "", "a b", "Host"]);
        assert!(more.has("x_corp_user") && more.has("CORP-Role") && more.has("corp-"));
        assert!(!more.has("x-corp-users") && !more.has("corp") && !more.has("host"));
    }
}
