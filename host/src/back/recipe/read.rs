//! Reads a recipe, with its settings put in, and reports every fault with its place.
//!
//! Pure.

use std::collections::BTreeMap;

use doorward_wire::form;
use hyper::Method;
use hyper::header::HeaderName;
use serde_json::Value as Json;

use super::placeholders::PLACEHOLDERS;
use super::{
    Algorithm, Choice, Extract, From, Landing, Logout, Pattern, Payload, Recipe, Sign, Stage, Step, Template, Test,
    Tree, Verdict,
};
use crate::config::{Place, Table};

/// What would stand in the back-end's logs.
const NOT_IN_URLS: [&str; 4] = ["password", "basic", "otp", "secret"];
/// What there is only once.
const ONLY_AT_LOGIN: [&str; 9] =
    ["otp", "lang", "target", "origin", "timestamp-ms", "signature", "device", "template", "interface"];
/// A program for regular expressions may be so large: some hundred times a usual one.
const PATTERN_SIZE: usize = 256 << 10;

/// Reads with settings in place.
struct Reader {
    settings: BTreeMap<String, String>,
    interface: BTreeMap<String, String>,
    known: Vec<String>,
    /// Names of extracts that are paths.
    paths: Vec<String>,
}

/// Reads a recipe's top table. `place` is that of the back-end, for faults of its settings.
pub(super) fn recipe(t: &Table<'_>, choice: Choice<'_>, place: &Place) -> Recipe {
    let own = |t: &Table<'_>| t.keys().into_iter().map(|key| (key.clone(), t.text(&key).unwrap_or_default())).collect();
    let mut settings: BTreeMap<String, String> = t.table("settings", own).unwrap_or_default();
    for (name, text) in choice.settings {
        if let Some(setting) = settings.get_mut(name) {
            setting.clone_from(text);
        } else {
            let fault = place.key("recipe-settings").key(name).fault("no setting of the recipe", "");
            t.collector().add(fault.none_of(name, "a setting of the recipe", settings.keys().map(String::as_str)));
        }
    }
    let known = PLACEHOLDERS.map(str::to_owned).to_vec();
    let mut reader = Reader { settings, interface: BTreeMap::new(), known, paths: Vec::new() };
    reader.interface = t.table("interface", |t| reader.interface(t)).unwrap_or_default();
    if !reader.interface.is_empty() {
        reader.known.push("interface".to_owned());
    }
    let mut paths = Vec::new();
    let extracts = t.tables("extract", |t| {
        let extract = reader.extract(t);
        if t.choice("as", &[("value", false), ("path", true)]) == Some(true) {
            paths.push(extract.name.clone());
        }
        extract
    });
    reader.known.extend(extracts.iter().map(|extract| extract.name.clone()));
    reader.paths = paths;
    reader.whole(t, extracts, choice)
}

impl Reader {
    fn whole(&self, t: &Table<'_>, extracts: Vec<Extract>, choice: Choice<'_>) -> Recipe {
        let login = t.table("login", |t| self.step(t, &Method::POST, &["otp"]));
        let inject = t.table("inject", |t| self.headers(t, &ONLY_AT_LOGIN)).unwrap_or_default();
        if login.is_none() && inject.is_empty() {
            t.fault("login", "nothing", "the login request ([login]), or headers for each request ([inject])");
        }
        let mut second_factor = None;
        let mut verdicts = Vec::new();
        for verdict in [
            Verdict::SecondFactor,
            Verdict::PasswordExpired,
            Verdict::Success,
            Verdict::Down,
            Verdict::Throttled,
            Verdict::Failure,
        ] {
            let test = t.table(verdict.name(), |t| {
                if verdict == Verdict::SecondFactor {
                    second_factor = t.table("request", |t| self.step(t, &Method::POST, &[]));
                    if second_factor.is_none() {
                        t.fault("request", "nothing", "the request that brings the second factor");
                    }
                }
                self.test(t)
            });
            if verdict == Verdict::Success && login.is_some() && test.as_ref().is_none_or(Test::is_empty) {
                t.fault("success", "nothing", "at least one part of a test: how is a login known?");
            }
            verdicts.extend(test.map(|test| (verdict, test)));
        }
        let session = t.table("session", |t| self.session(t));
        let (session_cookies, session_path, session_query) = session.unwrap_or((Vec::new(), "/".to_owned(), None));
        Recipe {
            keep_connections: t.flag("keep-connections", true),
            encoded_slashes: self.beginnings(t, "encoded-slashes"),
            prefetch: self.prefetch(t),
            extracts,
            login,
            second_factor,
            verdicts,
            landing: t.table("landing", |t| self.landing(t)).unwrap_or(Landing::Path(Template::parse("/"))),
            logout: t.table("logout", |t| self.logout(t)),
            expired: t.table("expired", |t| self.test(t)).unwrap_or_default(),
            session_cookies,
            session_path,
            session_query,
            inject,
            interface: self.interface.clone(),
            sign: t.table("sign", |t| {
                let algorithms = [("hmac-sha1", Algorithm::Sha1), ("hmac-sha256", Algorithm::Sha256)];
                let algorithm = t.choice("algorithm", &algorithms).unwrap_or(Algorithm::Sha256);
                let never = [&NOT_IN_URLS[..], &["signature"]].concat();
                Sign { algorithm, text: self.template(t, "text", &never).unwrap_or_default() }
            }),
            secret: choice.secret.cloned(),
        }
    }

    /// Names of the back-end's interfaces by device, with settings put in.
    fn interface(&self, t: &Table<'_>) -> BTreeMap<String, String> {
        if !t.has("desktop") {
            t.fault("desktop", "nothing", "the interface for desktops, which every other device gets as well");
        }
        let of = |device: &str| Some((device.to_owned(), self.text(t, device)?));
        ["desktop", "mobile", "tablet", "bot"].into_iter().filter_map(of).collect()
    }

    /// One page before the login, or several.
    fn prefetch(&self, t: &Table<'_>) -> Vec<Step> {
        let read =
            |t: &Table<'_>| Step { follow: t.count("follow", 5, 0..=10), ..self.step(t, &Method::GET, &["otp"]) };
        let steps = match t.is_list("prefetch") {
            true => t.tables("prefetch", read),
            false => t.table("prefetch", read).into_iter().collect(),
        };
        steps.into_iter().filter(Step::is_wanted).collect()
    }

    fn session(&self, t: &Table<'_>) -> (Vec<String>, String, Option<(String, Template)>) {
        let query = t.table("query", |t| {
            let never = [&NOT_IN_URLS[..], &ONLY_AT_LOGIN].concat();
            (self.required(t, "name"), self.template(t, "value", &never).unwrap_or_default())
        });
        let path = self.text(t, "path").filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') || path.contains(|c: char| c == ';' || c.is_control()) {
            t.fault("path", format!("\"{path}\""), "a path that begins with \"/\"");
        }
        // A setting may have several names: none has a comma (RFC 6265, section 4.1.1).
        let cookies: Vec<String> = t.texts("cookies").iter().map(|names| self.put_in(t, "cookies", names)).collect();
        let cookies = cookies.iter().flat_map(|names| names.split(',')).map(str::trim);
        (cookies.filter(|name| !name.is_empty()).map(str::to_owned).collect(), path, query)
    }

    fn landing(&self, t: &Table<'_>) -> Landing {
        let location = t.choice("from", &[("location", ())]).is_some();
        let path = t.has("path").then(|| self.path_template(t, &["signature"]));
        match path {
            Some(path) if !location && path != Template::default() => Landing::Path(path),
            None if !location => Landing::Path(Template::parse("/")),
            _ => Landing::Location,
        }
    }

    fn extract(&self, t: &Table<'_>) -> Extract {
        let froms = [
            ("html-input", From::HtmlInput),
            ("cookie", From::Cookie),
            ("header", From::Header),
            ("json", From::Json),
            ("body", From::Body),
        ];
        let from = t.choice("from", &froms).unwrap_or(From::HtmlInput);
        let name = self.required(t, "name");
        if PLACEHOLDERS.contains(&name.as_str())
            || !Template::parse(&format!("{{{name}}}")).placeholders().any(|placeholder| placeholder == name)
        {
            t.fault(
                "name",
                format!("\"{name}\""),
                "a name of letters, digits, \"-\" and \"_\" that no other placeholder has",
            );
        }
        let regex = self.pattern(t, "regex");
        if from == From::Body && regex.is_none() && !t.has("regex") {
            t.fault("regex", "nothing", "what is wanted of the body");
        }
        let key = if from == From::Body { String::new() } else { self.required(t, "key") };
        let after = t.choice("after", &[("prefetch", Stage::Prefetch), ("login", Stage::Login)]);
        Extract { name, from, key, regex, after: after.unwrap_or(Stage::Prefetch), default: self.text(t, "default") }
    }

    fn step(&self, t: &Table<'_>, usual: &Method, never: &[&str]) -> Step {
        let method = t.choice("method", &[("GET", &Method::GET), ("POST", &Method::POST)]).unwrap_or(usual).clone();
        let encodings = [("form", 0), ("json", 1), ("xml", 2), ("query", 3)];
        let encoding = t.choice("encoding", &encodings).unwrap_or(0);
        let payload = match encoding {
            1 => t.json("fields").map(|json| Payload::Json(self.tree(t, &json, never, "fields"))),
            2 => Some(Payload::Xml(self.template(t, "body", never).unwrap_or_default())),
            3 => {
                let never = [&NOT_IN_URLS[..], never].concat();
                t.table("fields", |t| Payload::Query(self.fields(t, &never)))
            }
            _ => t.table("fields", |t| Payload::Form(self.fields(t, never))),
        };
        let payload = self.with_more_fields(t, payload.unwrap_or(Payload::Nothing), never);
        if method == Method::GET && !matches!(payload, Payload::Nothing | Payload::Query(_)) {
            t.fault("method", "\"GET\"", "\"POST\", since there is a body");
        }
        Step {
            method,
            path: self.path_template(t, never),
            headers: t.table("headers", |t| self.headers(t, never)).unwrap_or_default(),
            cookies: t.table("cookies", |t| self.fields(t, never)).unwrap_or_default(),
            payload,
            follow: t.count("follow", 0, 0..=10),
        }
    }

    /// Adds the fields of `more-fields`, which are written as a form is sent: names and values of a setting.
    fn with_more_fields(&self, t: &Table<'_>, payload: Payload, never: &[&str]) -> Payload {
        let Some(more) = self.text(t, "more-fields").filter(|more| !more.is_empty()) else { return payload };
        let read = |never: &[&str]| {
            let fields = form::read(more.as_bytes()).into_iter();
            fields.map(|(name, value)| (name, self.checked(t, "more-fields", &value, never))).collect::<Vec<_>>()
        };
        match payload {
            Payload::Nothing => Payload::Form(read(never)),
            Payload::Form(fields) => Payload::Form([fields, read(never)].concat()),
            Payload::Query(fields) => Payload::Query([fields, read(&[&NOT_IN_URLS[..], never].concat())].concat()),
            other => {
                t.fault("more-fields", format!("\"{more}\""), "none: only forms and queries have fields of this kind");
                other
            }
        }
    }

    fn logout(&self, t: &Table<'_>) -> Logout {
        // A setting that is left empty asks nothing.
        let text = |key: &str, is_good: fn(&str) -> bool, expected: &str| {
            let text = self.text(t, key).filter(|text| !text.is_empty());
            if let Some(text) = text.as_ref().filter(|text| !is_good(text)) {
                t.fault(key, format!("\"{text}\""), expected);
            }
            text
        };
        let is_path = |text: &str| {
            let end = text.strip_prefix('*').unwrap_or(text);
            !end.is_empty() && !end.contains(['*', '?', '#']) && (text.starts_with('/') || text.starts_with('*'))
        };
        let path = "a path without its query, or \"*\" and how it ends, such as \"*/logoff\"";
        let query = "one parameter of the query as it is sent, such as \"task=logout\"";
        let cookie = "how the Set-Cookie begins, such as \"session=deleted\"";
        let logout = Logout {
            path: text("path", is_path, path),
            query: text("query", |text| !text.contains(['*', '&', '#', ' ']) && !text.starts_with('?'), query),
            done_cookie: text("done-cookie", |text| !text.contains('*'), cookie),
            done: t.table("done", |t| self.test(t)).unwrap_or_default(),
            call: t.table("call", |t| self.step(t, &Method::GET, &ONLY_AT_LOGIN)).filter(Step::is_wanted),
        };
        if !["path", "query", "done", "call"].into_iter().any(|key| t.has(key)) {
            t.fault(
                "path",
                "neither path, query, done nor call",
                "at least one: otherwise every request would be a logout",
            );
        }
        logout
    }

    fn test(&self, t: &Table<'_>) -> Test {
        let status = t.counts("status", 100..=599).into_iter().filter_map(|code| u16::try_from(code).ok());
        // A setting that is left empty asks nothing.
        let text = |key: &str| self.text(t, key).filter(|text| !text.is_empty());
        let headers = t.table("headers", |t| {
            let keys = t.keys().into_iter();
            keys.filter_map(|key| Some((self.header_name(t, &key)?, self.pattern(t, &key)?))).collect()
        });
        let json = t.json("json").and_then(|json| match json {
            Json::Object(pointers) => Some(pointers.into_iter().collect::<Vec<_>>()),
            _ => {
                t.fault("json", "no table", "a table of pointers and values, such as { \"/ok\" = true }");
                None
            }
        });
        let json = json.unwrap_or_default();
        for (pointer, _) in json.iter().filter(|(pointer, _)| !pointer.is_empty() && !pointer.starts_with('/')) {
            t.fault("json", format!("\"{pointer}\""), "pointers that begin with \"/\" (RFC 6901)");
        }
        Test {
            status: status.collect(),
            location: text("location"),
            location_regex: self.pattern(t, "location-regex"),
            cookie: text("cookie"),
            headers: headers.unwrap_or_default(),
            json,
            body: t.texts("body").iter().map(|text| self.put_in(t, "body", text)).filter(|s| !s.is_empty()).collect(),
            body_regex: self.pattern(t, "body-regex"),
            not: t.table("not", |t| self.test(t)).filter(|test| !test.is_empty()).map(Box::new),
            or: t.tables("or", |t| self.test(t)).into_iter().filter(|test| !test.is_empty()).collect(),
        }
    }

    /// Beginnings of paths.
    fn beginnings(&self, t: &Table<'_>, key: &str) -> Vec<String> {
        let paths: Vec<String> = t.texts(key).iter().map(|path| self.put_in(t, key, path)).collect();
        for path in paths.iter().filter(|path| !path.starts_with('/')) {
            t.fault(key, format!("\"{path}\""), "the beginning of a path, such as \"/download/\"");
        }
        paths
    }

    /// A text with its settings put in.
    fn text(&self, t: &Table<'_>, key: &str) -> Option<String> {
        t.text(key).map(|text| self.put_in(t, key, &text))
    }

    fn required(&self, t: &Table<'_>, key: &str) -> String {
        let text = t.required(key);
        self.put_in(t, key, &text)
    }

    fn put_in(&self, t: &Table<'_>, key: &str, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, inner)) = rest.split_once("{settings.") {
            let (name, after) = inner.split_once('}').unwrap_or((inner, ""));
            filled.push_str(before);
            match self.settings.get(name) {
                Some(setting) => filled.push_str(setting),
                None => {
                    let fault = t.place_of(key).fault(format!("{{settings.{name}}}"), "");
                    t.collector().add(fault.none_of(name, "a setting", self.settings.keys().map(String::as_str)));
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }

    fn template(&self, t: &Table<'_>, key: &str, never: &[&str]) -> Option<Template> {
        self.text(t, key).map(|text| self.checked(t, key, &text, never))
    }

    /// A template, each of whose placeholders is one that gets filled, and may stand here.
    fn checked(&self, t: &Table<'_>, key: &str, text: &str, never: &[&str]) -> Template {
        let template = Template::parse(text).with_paths(&self.paths);
        for placeholder in template.placeholders() {
            let known = self.known.iter().any(|known| known == placeholder) || placeholder.starts_with("attr.");
            if !known {
                let fault = t.place_of(key).fault(format!("{{{placeholder}}}"), "");
                let known = self.known.iter().map(String::as_str);
                t.collector().add(fault.none_of(placeholder, "attr.NAME, or one of these", known));
            } else if never.contains(&placeholder) {
                t.fault(
                    key,
                    format!("{{{placeholder}}}"),
                    "another placeholder: here it would be logged, or is not known",
                );
            }
        }
        template
    }

    fn path(&self, t: &Table<'_>, key: &str) -> String {
        let text = self.required(t, key);
        if !text.is_empty() && !text.starts_with('/') {
            t.fault(key, format!("\"{text}\""), "a path that begins with \"/\"");
        }
        text
    }

    fn path_template(&self, t: &Table<'_>, never: &[&str]) -> Template {
        let text = self.path(t, "path");
        self.checked(t, "path", &text, &[&NOT_IN_URLS[..], never].concat())
    }

    fn fields(&self, t: &Table<'_>, never: &[&str]) -> Vec<(String, Template)> {
        let fields = t.keys().into_iter().filter_map(|key| {
            let name = self.put_in(t, &key, &key);
            Some((name, self.template(t, &key, never)?))
        });
        // A field whose name a setting left empty is not sent.
        fields.filter(|(name, _)| !name.is_empty()).collect()
    }

    fn headers(&self, t: &Table<'_>, never: &[&str]) -> Vec<(HeaderName, Template)> {
        let keys = t.keys().into_iter();
        let header = |key: String| Some((self.header_name(t, &key)?, self.template(t, &key, never)?));
        keys.filter_map(header).collect()
    }

    fn header_name(&self, t: &Table<'_>, key: &str) -> Option<HeaderName> {
        let name = self.put_in(t, key, key).parse().ok();
        // Framing and routing are not a recipe's to write.
        let name = name.filter(|name: &HeaderName| {
            !matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "connection" | "upgrade")
        });
        if name.is_none() {
            t.text(key);
            t.fault(key, format!("\"{key}\""), "a header's name (RFC 9110, section 5.1), not of framing");
        }
        name
    }

    fn tree(&self, t: &Table<'_>, json: &Json, never: &[&str], key: &str) -> Tree {
        match json {
            Json::String(text) => Tree::Text(self.checked(t, key, &self.put_in(t, key, text), never)),
            Json::Array(items) => Tree::List(items.iter().map(|item| self.tree(t, item, never, key)).collect()),
            Json::Object(members) => {
                let member =
                    |(name, json): (&String, &Json)| (self.put_in(t, key, name), self.tree(t, json, never, key));
                Tree::Object(members.iter().map(member).collect())
            }
            plain => Tree::Plain(plain.clone()),
        }
    }

    fn pattern(&self, t: &Table<'_>, key: &str) -> Option<Pattern> {
        let text = self.text(t, key).filter(|text| !text.is_empty())?;
        let built = regex::RegexBuilder::new(&text).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build();
        match built {
            Ok(regex) => Some(Pattern(regex)),
            Err(error) => {
                let error = error.to_string();
                let last = error.lines().last().unwrap_or("").trim().to_owned();
                t.fault(key, format!("\"{text}\" ({last})"), "a regular expression of the regex crate");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Source, read};

    fn told(text: &str) -> String {
        let source = Arc::new(Source::new("r", text));
        let settings = BTreeMap::new();
        let choice = Choice { name: "r", settings: &settings, secret: None };
        read(&source, |t| recipe(t, choice, &t.place())).map(|_| String::new()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn a_wrong_recipe_is_told_fault_by_fault() {
        let text = "[login]\npath = \"x\"\nmethod = \"PUT\"\n[login.fields]\na = \"{b}\"\n[success]\nstatus = [7]\n";
        let told = told(text);
        for part in ["r:2: login.path", "r:3: login.method", "login.fields.a: found {b}", "r:7: success.status"] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }

    #[test]
    fn each_mistake_is_found() {
        let right = "[login]\npath = \"/\"\n[success]\nstatus = [200]\n";
        assert_eq!(told(right), "");
        for (mistake, part) in [
            ("[success]\nstatus = [200]\n", "login: found nothing"),
            ("[login]\npath = \"/\"\n", "success: found nothing"),
            ("[login]\npath = \"/?p={password}\"\n[success]\nstatus = [200]\n", "login.path: found {password}"),
            (
                "[login]\npath = \"/\"\nencoding = \"query\"\nfields = { p = \"{password}\" }\n[success]\nstatus = [200]\n",
                "login.fields.p: found {password}",
            ),
            ("[login]\npath = \"/\"\nmethod = \"GET\"\nfields = { a = \"b\" }\n", "\"POST\", since there is a body"),
        ] {
            assert!(told(mistake).contains(part), "{part} in {}", told(mistake));
        }
        for (mistake, part) in [
            ("[failure]\nbody-regex = \"(\"\n", "failure.body-regex: found \"(\""),
            ("[failure]\nbody-regex = \"(a{1000}){1000}\"\n", "failure.body-regex"),
            ("[failure]\njson = { ok = 1 }\n", "failure.json: found \"ok\""),
            ("[failure]\nheaders = { \"a b\" = \"x\" }\n", "failure.headers.a b"),
            ("[second-factor]\nstatus = [202]\n", "second-factor.request: found nothing"),
            ("[inject]\nX-A = \"{otp}\"\n", "inject.X-A: found {otp}"),
            ("[inject]\nHost = \"x\"\n", "inject.Host"),
            ("[sign]\ntext = \"{signature}\"\n", "sign.text: found {signature}"),
            ("[landing]\npath = \"/{settings.x}\"\n", "landing.path: found {settings.x}"),
            ("[logout]\ndone-cookie = \"x\"\n", "logout.path: found neither"),
            ("[logout]\npath = \"/x/*\"\n", "logout.path: found \"/x/*\""),
            ("[logout]\npath = \"*/x/*\"\n", "logout.path: found \"*/x/*\""),
            ("[logout]\npath = \"*\"\n", "logout.path: found \"*\""),
            ("[logout]\npath = \"/?logout\"\n", "logout.path: found \"/?logout\""),
            ("[logout]\npath = \"logout\"\n", "logout.path: found \"logout\""),
            ("[logout]\nquery = \"_task=*\"\n", "logout.query: found \"_task=*\""),
            ("[logout]\nquery = \"?_task=x\"\n", "logout.query: found \"?_task=x\""),
            ("[logout]\npath = \"/\"\ndone-cookie = \"sid=*\"\n", "logout.done-cookie: found \"sid=*\""),
            ("[logout]\n[logout.done]\nbody-regex = \"(\"\n", "logout.done.body-regex: found \"(\""),
            ("[[extract]]\nname = \"user\"\nkey = \"x\"\n", "extract[0].name: found \"user\""),
            ("[[extract]]\nname = \"x\"\nfrom = \"body\"\n", "extract[0].regex: found nothing"),
            ("[[extract]]\nname = \"x\"\nkey = \"k\"\nas = \"url\"\n", "extract[0].as: found \"url\""),
            ("[second-factor]\nstatus = [1]\n", "second-factor.status"),
            (
                "[second-factor.request]\npath = \"/\"\nmore-fields = \"a={nope}\"\n",
                "request.more-fields: found {nope}",
            ),
            (
                "[logout.call]\npath = \"/\"\nmethod = \"POST\"\nencoding = \"json\"\nfields = {}\nmore-fields = \"a=1\"\n",
                "logout.call.more-fields: found \"a=1\"",
            ),
            ("[session]\nquery = { name = \"_h\", value = \"{password}\" }\n", "session.query.value: found {password}"),
        ] {
            let told = told(&format!("{right}{mistake}"));
            assert!(told.contains(part), "{part} in {told}");
        }
    }
}
