//! A browser's cookie jar: RFC 6265, per host.

use std::time::{Duration, SystemTime};

#[derive(Clone, Debug)]
struct Cookie {
    host: String,
    host_only: bool,
    name: String,
    value: String,
    path: String,
    secure: bool,
    expires: Option<SystemTime>,
}

/// The cookies of one browser, for any number of hosts.
#[derive(Clone, Debug, Default)]
pub struct Cookies {
    kept: Vec<Cookie>,
    refused: Vec<String>,
}

impl Cookies {
    /// Takes one `Set-Cookie` line of an answer to `target` at `host` (without port).
    pub fn take(&mut self, host: &str, target: &str, secure: bool, line: &str) {
        if let Err(why) = self.store(host, target, secure, line) {
            self.refused.push(format!("{why}: {line}"));
        }
    }

    fn store(&mut self, host: &str, target: &str, secure: bool, line: &str) -> Result<(), &'static str> {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts.next().and_then(|p| p.split_once('=')).ok_or("no name=value")?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return Err("no name");
        }
        let path = target.split(['?', '#']).next().unwrap_or("/");
        let mut cookie = Cookie {
            host: host.to_ascii_lowercase(),
            host_only: true,
            name: name.to_owned(),
            value: value.to_owned(),
            path: path.rfind('/').filter(|&i| i > 0).map_or("/", |i| &path[..i]).to_owned(),
            secure: false,
            expires: None,
        };
        let mut max_age = None;
        for part in parts {
            let (key, val) = part.split_once('=').unwrap_or((part, ""));
            let val = val.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "secure" => cookie.secure = true,
                "path" if val.starts_with('/') => cookie.path = val.to_owned(),
                "domain" if !val.is_empty() => {
                    let domain = val.trim_start_matches('.').to_ascii_lowercase();
                    if !within(&cookie.host, &domain) {
                        return Err("a Domain that is not this host");
                    }
                    (cookie.host, cookie.host_only) = (domain, false);
                }
                "max-age" => max_age = val.parse::<i64>().ok(),
                // PHP writes "Thu, 01-Jan-1970 00:00:00 GMT"
                "expires" => cookie.expires = httpdate::parse_http_date(&val.replace('-', " ")).ok(),
                _ => {}
            }
        }
        if let Some(seconds) = max_age {
            let ahead = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            cookie.expires = Some(SystemTime::now() + ahead);
        }
        if cookie.secure && !secure {
            return Err("Secure, but set over plain HTTP");
        }
        let host_prefix = name.starts_with("__Host-");
        let wide = host_prefix && !(cookie.host_only && cookie.path == "/");
        if wide || ((host_prefix || name.starts_with("__Secure-")) && !cookie.secure) {
            return Err("against the rules of its prefix");
        }
        self.kept.retain(|c| (&c.name, &c.host, &c.path) != (&cookie.name, &cookie.host, &cookie.path));
        if cookie.expires.is_none_or(|at| at > SystemTime::now()) {
            self.kept.push(cookie);
        }
        Ok(())
    }

    /// The `Cookie` header for a request, empty when there is none to send.
    pub fn header(&self, host: &str, target: &str, secure: bool) -> String {
        let path = target.split(['?', '#']).next().unwrap_or("/");
        let now = SystemTime::now();
        let mut fit: Vec<&Cookie> = self
            .kept
            .iter()
            .filter(|c| if c.host_only { c.host.eq_ignore_ascii_case(host) } else { within(host, &c.host) })
            .filter(|c| path == c.path || path.starts_with(&format!("{}/", c.path.trim_end_matches('/'))))
            .filter(|c| (secure || !c.secure) && c.expires.is_none_or(|at| at > now))
            .collect();
        fit.sort_by_key(|c| std::cmp::Reverse(c.path.len()));
        fit.iter().map(|c| format!("{}={}", c.name, c.value)).collect::<Vec<_>>().join("; ")
    }

    /// The value of a cookie that would be sent to `/` of a host, or anywhere below it.
    pub fn get(&self, host: &str, name: &str) -> Option<&str> {
        self.kept.iter().find(|c| c.name == name && within(host, &c.host)).map(|c| c.value.as_str())
    }

    /// Puts a cookie there as if the host had set it for `/`.
    pub fn set(&mut self, host: &str, name: &str, value: &str) {
        self.take(host, "/", true, &format!("{name}={value}; Path=/"));
    }

    /// The names of all cookies of a host.
    pub fn names(&self, host: &str) -> Vec<&str> {
        self.kept.iter().filter(|c| within(host, &c.host)).map(|c| c.name.as_str()).collect()
    }

    /// `Set-Cookie` lines that a browser drops, each with the reason.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.kept.clear();
    }
}

fn within(host: &str, domain: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}
