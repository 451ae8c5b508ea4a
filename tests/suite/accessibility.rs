//! Pages for everybody: axe-core finds nothing on any page, look, colour scheme, device and language.

use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Answer, Backend, Browser, Device, Proxy, artifacts};

use crate::support::setup;

const LOOKS: [&str; 2] = ["blue", "green"];
const LANGUAGES: [&str; 3] = ["en", "de", "ja"];

/// What the node says of each user, so that every page can be had.
const RECIPE: &str = "\
[login]\npath = \"/login\"\nfields = { user = \"{user}\", pass = \"{password}\" }\n\
[second-factor]\nstatus = [202]\n[second-factor.request]\npath = \"/code\"\nfields = { code = \"{otp}\" }\n\
[password-expired]\nstatus = [410]\n[throttled]\nstatus = [429]\n[success]\nstatus = [303]\n[failure]\nstatus = [401]\n\
[session]\ncookies = [\"sid\"]\n";

fn node() -> Backend {
    Backend::start(|request| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let of = |user: &str| body.ends_with(&format!("user={user}"));
        match request.what() {
            ("POST", "/login") if of("expired") => Answer::text("").status(410),
            ("POST", "/login") if of("slow") => Answer::text("").status(429).header("Retry-After", "300"),
            ("POST", "/login") if of("code") => Answer::text("").status(202),
            ("POST", "/login") => Answer::redirect("/").status(303).header("Set-Cookie", "sid=1; Path=/"),
            _ => Answer::html("<!doctype html><title>inbox</title><p id=inbox>inbox"),
        }
    })
}

/// A front door whose sessions live for so long; the keys are shared with another one, as browsers share cookies between
/// ports.
fn proxy(node: &Backend, keys: &Path, lifetime: &str) -> Proxy {
    let people: String = ["alice", "expired", "slow", "code"]
        .map(|name| format!("dn: uid={name},dc=test\nuid: {name}\nmailHost: node-a\nuserPassword: {name}-secret\n\n"))
        .concat();
    let sites = LOOKS.map(|look| format!("[[site]]\nhosts = [\"{look}.localhost\"]\ntemplate = \"{look}\"\n")).concat();
    setup().file("people.ldif", people).file("test.toml", RECIPE).serve(&format!(
        "[authentication]\nmode = \"back-end\"\n[session]\nabsolute-timeout = \"{lifetime}\"\nkey-file = \"{}\"\nhold-max-size = \"16KiB\"\n\
         [directory]\nfile = \"people.ldif\"\n[directory.account-help]\npassword-expired = \"https://help.test/\"\n{sites}\
         [[policy]]\nname = \"device-detection\"\nasks = \"device\"\n\
         [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0\n\
         [[backend]]\nname = \"node-a\"\nurl = \"{}\"\nrecipe = \"test.toml\"\n",
        keys.display(),
        node.url()
    ))
}

/// A browser, and the address of a site.
struct Reader<'a> {
    browser: &'a Browser,
    base: String,
    /// The same site at the front door whose sessions end at once.
    late: String,
    axe: &'a str,
    /// Names screenshots and faults.
    name: String,
    found: Vec<String>,
}

impl Reader<'_> {
    /// Lets axe look at the page that is there.
    fn look(&mut self, what: &str, page: &str, language: &str) {
        let name = format!("{}-{language}-{what}", self.name);
        self.browser.wait_for(&format!("body[data-page={page}]"));
        assert_eq!(self.browser.attr("html", "lang").as_deref(), Some(language), "{name}");
        self.browser.script(self.axe);
        let found = self.browser.script(
            "return axe.run({ resultTypes: ['violations'] }).then(r => r.violations.flatMap(v => \
             v.nodes.map(n => v.id + ': ' + n.html + ' ' + n.any.map(a => a.message).join(' '))))",
        );
        let found = found.as_array().unwrap_or_else(|| panic!("{name}: axe says {found}"));
        self.found.extend(found.iter().map(|fault| format!("{name}: {fault}")));
        let wide = self.browser.script("return document.documentElement.scrollWidth - innerWidth");
        if wide.as_i64().is_none_or(|more| more > 0) {
            self.found.push(format!("{name}: {wide} pixels too wide"));
        }
        if language != "en" || what == "held" {
            self.browser.screenshot(artifacts().join(format!("page-{name}.png")));
        }
    }

    fn goto(&self, path: &str) {
        self.browser.goto(&format!("{}{path}", self.base));
    }

    fn log_in(&self, user: &str) {
        self.browser.script(&format!(
            "username.value = '{user}'; password.value = '{user}-secret'; username.form.requestSubmit()"
        ));
    }

    /// Sends a form when the session has just ended.
    fn send_too_late(&self) {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            self.browser.goto(&format!("{}/.doorward/login", self.late));
            self.browser.script(
                "const form = document.createElement('form'); form.method = 'post'; form.action = '/send'; \
                 for (const [name, value] of [['subject', 'Hello'], ['text', 'A long line. '.repeat(40)]]) { \
                 const field = document.createElement('input'); [field.name, field.value] = [name, value]; \
                 form.append(field) } document.body.append(form); document.body.id = 'before'; form.submit()",
            );
            self.browser.wait_for("body:not(#before)");
            if self.browser.count("input[name=held]") > 0 {
                return;
            }
        }
        panic!("the form is not held: {}", self.browser.source());
    }

    fn read(&mut self, language: &str) {
        self.goto("/.doorward/login");
        self.log_in("alice");
        self.browser.wait_for("#inbox");
        self.goto(&format!("/.doorward/preferences?language={language}&back=/.doorward/login?gone"));
        self.look("login", "login", language);
        for (what, page, path) in
            [("logged-out", "logged-out", "/.doorward/logged-out"), ("not-found", "error", "/.doorward/nothing")]
        {
            self.goto(path);
            self.look(what, page, language);
        }
        for (user, page) in [("expired", "account"), ("slow", "throttled"), ("code", "second-factor")] {
            self.goto("/.doorward/login");
            self.log_in(user);
            self.look(user, page, language);
        }
        self.send_too_late();
        self.log_in("alice");
        self.look("held", "held", language);
    }
}

fn read_all([port, late]: [u16; 2], axe: &str, device: Device, scheme: &str) -> Vec<String> {
    let dark = scheme == "dark";
    let browser = Browser::start(device, &[&format!("--blink-settings=preferredColorScheme={}", u8::from(!dark))]);
    let mut found = Vec::new();
    for look in LOOKS {
        let base = format!("http://{look}.localhost:{port}");
        let late = format!("http://{look}.localhost:{late}");
        let name = format!("{look}-{device:?}-{scheme}").to_lowercase();
        let mut reader = Reader { browser: &browser, base, late, axe, name, found: Vec::new() };
        reader.goto("/");
        let is_dark = browser.script("return matchMedia('(prefers-color-scheme: dark)').matches");
        assert_eq!(is_dark.as_bool(), Some(dark));
        // Colours are the same in every language, and lines break alike in both schemes.
        for language in LANGUAGES.into_iter().filter(|language| !dark || *language == "en") {
            reader.read(language);
        }
        found.append(&mut reader.found);
    }
    found
}

#[test]
fn axe_finds_nothing_on_any_page_and_none_is_too_wide() {
    let axe = Path::new(env!("CARGO_MANIFEST_DIR")).join("axe/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe).unwrap_or_else(|e| panic!("{}: {e}: tests/run packages", axe.display()));
    let node = node();
    let folder = harness::temp_dir();
    let keys = folder.path().join("session.keys");
    let doors = ["1h", "1s"].map(|lifetime| proxy(&node, &keys, lifetime));
    let found: Vec<String> = std::thread::scope(|scope| {
        let combinations = [Device::Desktop, Device::Phone].map(|device| [(device, "light"), (device, "dark")]);
        let readers = combinations.as_flattened().iter().map(|&(device, scheme)| {
            let ports = [0, 1].map(|door: usize| doors[door].address("public").port());
            let axe = axe.as_str();
            scope.spawn(move || read_all(ports, axe, device, scheme))
        });
        let readers: Vec<_> = readers.collect();
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect()
    });
    assert!(found.is_empty(), "{}\n{}", found.len(), found.join("\n"));
}
