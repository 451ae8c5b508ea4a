//! The admin plane: who is let in, what each role may do, and what is left of it in the audit log.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Backend, Certs, Client, Proxy, Request, Response, Setup};
use serde_json::Value as Json;

use crate::support::{config, log_in, setup, wait_for_file, webmail};

/// Roles, the least first.
pub(crate) const ROLES: [&str; 3] = ["viewer", "operator", "admin"];

/// A table of the admin plane on a loopback address.
pub(crate) const ADMIN: &str = "[admin]\nsocket = \"admin.sock\"\naddress = \"127.0.0.1:0\"\naccounts = \"admins.toml\"\n\
    tokens = \"tokens.toml\"\naudit = \"audit.jsonl\"\n";

/// Runs `doorward admin` in a folder: what it printed.
pub(crate) fn manage(folder: &Path, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(harness::binary());
    command.current_dir(folder).arg("admin").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}

pub(crate) fn password_of(role: &str) -> String {
    format!("{role}-secret-phrase")
}

/// A front door with an account and a token for each role, which are called by it.
pub(crate) struct Desk {
    pub(crate) proxy: Proxy,
    pub(crate) address: SocketAddr,
    tokens: Vec<(String, String)>,
    _node: Backend,
}

impl Desk {
    pub(crate) fn start(admin: &str) -> Self {
        Self::start_in(setup(), admin)
    }

    pub(crate) fn start_in(setup: Setup, admin: &str) -> Self {
        let node = webmail(|_| harness::Answer::text("inbox"));
        let tokens = people(setup.dir());
        let proxy = setup.serve(&config(admin, &[("node-a", &node, "")]));
        let address = proxy.status()["admin"].as_str().expect("an admin address").parse().expect("an address");
        Self { proxy, address, tokens, _node: node }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A client that shows the token of a role.
    pub(crate) fn program(&self, role: &str) -> Client {
        let (_, token) = self.tokens.iter().find(|(of, _)| of == role).expect("a token");
        self.client().header("Authorization", &format!("Bearer {token}"))
    }

    /// Somebody who has logged in at the page.
    pub(crate) fn person(&self, role: &str) -> Client {
        let mut client = self.client();
        let answer = log_in_at(&mut client, role, &password_of(role));
        assert_eq!(answer.status, 303, "{}", answer.text());
        client
    }

    pub(crate) fn audit(&self) -> Vec<Json> {
        let text = std::fs::read_to_string(self.proxy.dir().join("audit.jsonl")).unwrap_or_default();
        // The last one may be on its way.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Waits for a line of the audit log with these in it: that of a stranger may come later than his answer.
    #[track_caller]
    pub(crate) fn assert_audited(&self, fields: &[(&str, &str)]) {
        let is = |line: &Json| fields.iter().all(|(name, value)| line[name].as_str() == Some(value));
        let start = std::time::Instant::now();
        loop {
            let lines = self.audit();
            if lines.iter().any(is) {
                return;
            }
            assert!(start.elapsed() < std::time::Duration::from_secs(60), "{fields:?} is not in {lines:#?}");
            std::thread::yield_now();
        }
    }
}

/// Makes an account and a token for each role.
pub(crate) fn people(folder: &Path) -> Vec<(String, String)> {
    let make = |role: &&str| {
        let input = format!("{}\n", password_of(role));
        manage(folder, &["passwd", role, "--role", role, "--file", "admins.toml"], &input);
        let token = manage(folder, &["token", role, "--role", role, "--file", "tokens.toml"], "");
        ((*role).to_owned(), token.trim().to_owned())
    };
    ROLES.iter().map(make).collect()
}

/// A form as a browser would send it from a page of this server.
pub(crate) fn form(client: &Client, path: &str, fields: &[(&str, &str)]) -> Request {
    let origin = format!("http://{}", client.address());
    Request::new("POST", path).form(fields).header("Origin", &origin).header("Sec-Fetch-Site", "same-origin")
}

fn log_in_at(client: &mut Client, name: &str, password: &str) -> Response {
    let request = form(client, "/login", &[("name", name), ("password", password), ("next", "/")]);
    client.send(request)
}

/// The token that the forms of a page have.
pub(crate) fn token_of(client: &mut Client) -> String {
    let page = client.get("/").expect(200).text();
    let found = page.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    found.unwrap_or_else(|| panic!("no token in {page}")).to_owned()
}

/// The rows of the table of verbs in the documents: name, method, role, whether a reason is asked for.
fn verbs() -> Vec<[String; 4]> {
    let text = include_str!("../../docs/operations.md");
    let below = text.split("\n## The verbs\n").nth(1).expect("the table").split("\n## ").next().unwrap_or_default();
    let rows = below.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() > 7, "{rows:?}");
    rows
}

fn may(role: &str, least: &str) -> bool {
    let rank = |role: &str| ROLES.iter().position(|known| *known == role).expect("a role");
    rank(role) >= rank(least)
}

#[test]
fn without_an_address_nothing_listens_and_one_that_is_not_its_own_or_not_secure_is_a_fault() {
    let node = webmail(|_| harness::Answer::text("inbox"));
    let proxy = setup().serve(&config("[admin]\nsocket = \"admin.sock\"\n", &[("node-a", &node, "")]));
    assert_eq!(proxy.status()["admin"], Json::Null);
    let taken =
        "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:18443\"\n[admin]\naddress = \"127.0.0.1:18443\"\n";
    for (admin, told) in [
        (taken, "admin.address: found 127.0.0.1:18443, where the listener \"public\" listens"),
        ("[admin]\naddress = \"0.0.0.0:0\"\nhosts = [\"doors.test\"]\n", "admin.address: found 0.0.0.0:0 without cert"),
        ("[admin]\naddress = \"192.0.2.1:9443\"\nhosts = [\"doors.test\"]\n", "without certificates"),
    ] {
        let ran = setup().refused(&config(admin, &[("node-a", &node, "")]));
        assert!(ran.stderr.contains(told), "{admin}: {ran:?}");
    }
}

#[test]
fn every_path_without_a_login_answers_the_login_page_or_401() {
    let desk = Desk::start(ADMIN);
    let webmail = log_in(&desk.proxy, "alice");
    let session = webmail.cookie("doorward").expect("a session of the webmail").to_owned();
    let stolen = [("doorward", session.as_str()), ("doorward-admin", session.as_str()), ("doorward-admin", "0")];
    let paths = [
        "/",
        "/status",
        "/nodes",
        "/api/status",
        "/api/nothing",
        "/metrics",
        "/do/reload",
        "/..",
        "/%2e%2e/",
        "/login",
        "/logout",
        "/api",
        "/api/",
        "//",
        "/events?x=1",
    ];
    for path in paths {
        for cookie in [None].into_iter().chain(stolen.map(Some)) {
            for method in ["GET", "POST"] {
                let mut request = Request::new(method, path);
                if let Some((name, value)) = cookie {
                    request = request.header("Cookie", &format!("{name}={value}"));
                }
                let answer = desk.client().send(request);
                assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
                let text = answer.text();
                assert!(text.contains("type=\"password\"") || text.contains("a token is needed"), "{path}: {text}");
                assert!(!text.contains("generation"), "{path}: {text}");
                let policy = answer.header("content-security-policy").expect("a policy");
                assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
            }
        }
    }
    // A cookie of the page is no key to the API.
    let mut person = desk.person("admin");
    person.get("/").expect(200);
    person.get("/api/status").expect(401);
    // What tells nothing is there for balancers and monitors.
    assert_eq!(desk.client().get("/live").status, 200);
    assert_eq!(desk.client().get("/ready").status, 200);
    let told = desk.program("viewer").get("/api/status").expect(200);
    assert_eq!(told.json()["generation"], 1);
    for token in ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer dwt_0"] {
        desk.client().header("Authorization", token).get("/api/status").expect(401);
    }
}

#[test]
fn a_foreign_host_is_refused_on_each_kind_of_address_whoever_asks() {
    let certs = Certs::new();
    let pair = certs.server(&["doors.test", "evil.test"]);
    let read = |path: &Path| std::fs::read(path).expect("a PEM file");
    let files = || setup().file("admin.pem", read(&pair.chain)).file("admin.key", read(&pair.key));
    let tls = "certificates = [{ chain = \"admin.pem\", key = \"admin.key\" }]\nhosts = [\"doors.test\"]\n";
    let wildcard = ADMIN.replace("127.0.0.1:0", "0.0.0.0:0") + tls;
    for (kind, admin) in [("loopback", ADMIN.to_owned()), ("named", format!("{ADMIN}{tls}")), ("wildcard", wildcard)] {
        let secure = kind != "loopback";
        let desk = Desk::start_in(files(), &admin);
        let to = SocketAddr::from(([127, 0, 0, 1], desk.address.port()));
        let client = |host: &str| {
            let client = Client::new(to).site(host);
            if secure { client.tls(certs.ca()) } else { client }
        };
        let token = desk.tokens[2].1.clone();
        for path in ["/", "/live", "/ready", "/metrics", "/api/status", "/login", "/nothing"] {
            let answer = client("evil.test").header("Authorization", &format!("Bearer {token}")).get(path);
            assert_eq!(answer.status, 421, "{kind} {path}");
            assert_eq!(client("evil.test").get(path).status, 421, "{kind} {path}");
        }
        let ours = if secure { "doors.test" } else { "localhost" };
        client(ours).get("/live").expect(200);
        client(ours).header("Authorization", &format!("Bearer {token}")).get("/api/status").expect(200);
        // The name by which a wildcard address is reached is none of its own.
        let numbers = client(ours).host(&to.to_string());
        if kind == "loopback" {
            let mut numbers = numbers;
            numbers.get("/live").expect(200);
        }
        desk.assert_audited(&[("verb", "host"), ("error", "a foreign host")]);
    }
}

#[test]
fn a_form_from_elsewhere_or_without_its_sessions_token_changes_nothing_and_is_audited() {
    let desk = Desk::start(ADMIN);
    let mut person = desk.person("admin");
    let token = token_of(&mut person);
    let cookie = format!("doorward-admin={}", person.cookie("doorward-admin").expect("a session"));
    let other = token_of(&mut desk.person("operator"));
    let origin = format!("http://{}", desk.address);
    let post = |origin: Option<&str>, site: Option<&str>, token: &str| {
        let mut request = Request::new("POST", "/do/purge-routes").form(&[("token", token)]).header("Cookie", &cookie);
        for (name, value) in [("Origin", origin), ("Sec-Fetch-Site", site)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        desk.client().send(request)
    };
    let before = desk.audit().len();
    let tries = [
        post(Some("http://evil.test"), Some("cross-site"), &token),
        post(Some("http://127.0.0.1"), None, &token),
        post(Some("null"), None, &token),
        post(None, None, &token),
        post(Some(&origin), Some("same-site"), &token),
        post(Some(&origin), Some("same-origin"), ""),
        post(Some(&origin), Some("same-origin"), &other),
        post(Some(&origin), None, &token[1..]),
    ];
    for answer in &tries {
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    // An image: it asks by GET, which does nothing.
    desk.client().send(Request::new("GET", "/do/purge-routes?user=a").header("Cookie", &cookie));
    let told = desk.audit().split_off(before);
    let refused = told.iter().filter(|line| line["outcome"] == "refused" && line["who"] == "admin").count();
    assert_eq!(refused, tries.len(), "{told:#?}");
    assert!(!told.iter().any(|line| line["outcome"] == "done"), "{told:#?}");
    // A session that is over has no token any more.
    person.send(form(&desk.client(), "/logout", &[("token", &token)])).expect(303);
    let mut again = desk.person("admin");
    again.send(form(&desk.client(), "/do/purge-routes", &[("token", &token)])).expect(403);
    let token = token_of(&mut again);
    again.send(form(&desk.client(), "/do/purge-routes", &[("token", &token)])).expect(200);
    desk.assert_audited(&[("verb", "purge-routes"), ("outcome", "done"), ("who", "admin"), ("how", "session")]);
}

#[test]
fn each_role_may_do_what_the_table_says_and_no_more() {
    let desk = Desk::start(ADMIN);
    for [name, method, least, danger] in verbs() {
        for role in ROLES {
            // Without a reason nothing dangerous is done, but it is told who might.
            let target = if danger.starts_with("with") { format!("/api/{name}?all") } else { format!("/api/{name}") };
            let answer = desk.program(role).send(Request::new(&method, &target));
            assert_eq!(answer.status == 403, !may(role, &least), "{role} {name}: {} {}", answer.status, answer.text());
            assert_ne!(answer.status, 401, "{role} {name}");
            if may(role, &least) && danger != "no" {
                assert_eq!(answer.status, 400, "{name}: {}", answer.text());
                assert_eq!(answer.json()["needs"], "reason", "{name}");
            }
            let other = if method == "GET" { "POST" } else { "GET" };
            desk.program(role).send(Request::new(other, &target)).expect(404);
        }
    }
    for role in ROLES {
        let mut person = desk.person(role);
        let token = token_of(&mut person);
        for [name, method, least, danger] in verbs() {
            if method == "POST" && danger != "no" {
                let fields = [("token", token.as_str()), ("all", "1")];
                let fields = if danger.starts_with("with") { &fields[..] } else { &fields[..1] };
                let answer = person.send(form(&desk.client(), &format!("/do/{name}"), fields));
                let expected = if may(role, &least) { 400 } else { 403 };
                assert_eq!(answer.status, expected, "{role} {name}: {}", answer.text());
            }
        }
    }
    desk.assert_audited(&[("who", "viewer"), ("verb", "reload"), ("outcome", "refused")]);
    // With a reason it is done.
    let lift = Request::new("POST", "/api/lift?digest=sha256:00&reason=it+was+me");
    assert_eq!(desk.program("admin").send(lift).status, 404, "there is no such quarantine");
    desk.assert_audited(&[("verb", "lift"), ("reason", "it was me"), ("outcome", "failed"), ("how", "token")]);
}

#[test]
fn of_two_who_change_the_same_generation_the_second_hears_what_the_first_did() {
    let desk = Desk::start(ADMIN);
    let tag = desk.program("viewer").get("/api/status").header("etag").expect("a generation").to_owned();
    assert_eq!(tag, "\"1\"");
    let file = desk.proxy.dir().join("doorward.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    desk.proxy.write("doorward.toml", format!("drain-timeout = \"7s\"\n{text}"));
    let reload = || Request::new("POST", "/api/reload").header("If-Match", &tag);
    // At once, or one after the other: whoever comes second is refused.
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| desk.program("operator").send(reload()));
        let other = scope.spawn(|| desk.program("admin").send(reload()));
        (one.join().expect("an answer"), other.join().expect("an answer"))
    });
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    // What the watcher of files did in between is another change too.
    assert!(statuses == [200, 412] || statuses == [412, 412], "{} {}", one.text(), other.text());
    let late = desk.program("admin").send(Request::new("POST", "/api/rollback").header("If-Match", &tag));
    assert_eq!(late.status, 412, "{}", late.text());
    let told = late.json();
    assert_eq!(told["generation"], 2, "{told}");
    let why = told["error"].as_str().expect("a reason").to_owned();
    assert!(why.contains("generation 2 is live, and not 1 any more: reload"), "{why}");
    let back = desk.program("admin").send(Request::new("POST", "/api/rollback").header("If-Match", "\"2\""));
    assert_eq!(back.expect(200).json()["generation"], 1);
    let told = desk.program("operator").send(Request::new("POST", "/api/reload").header("If-Match", "2"));
    assert!(told.expect(412).text().contains("rollback by admin"));
    desk.program("operator").send(Request::new("POST", "/api/reload").header("If-Match", "new")).expect(400);
}

#[test]
fn wrong_passwords_are_throttled_and_a_stolen_cookie_dies_at_logout_and_at_idle_time() {
    let desk = Desk::start(&format!("{ADMIN}idle-timeout = \"2s\"\n"));
    let person = desk.person("admin");
    let stolen = format!("doorward-admin={}", person.cookie("doorward-admin").expect("a cookie"));
    // Nobody is there any more: what a page asks for by itself keeps no session.
    let ask = || Request::new("GET", "/").header("Accept", "text/event-stream").header("Cookie", &stolen);
    let start = std::time::Instant::now();
    while desk.client().send(ask()).status != 401 {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "it lives on");
        std::thread::yield_now();
    }
    desk.client().get("/").expect(401);
    let mut tries = 0;
    let throttled = loop {
        let answer = log_in_at(
            &mut desk.client().timeout(std::time::Duration::from_secs(60)),
            "admin",
            &format!("wrong{tries}"),
        );
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 401, "{}", answer.text());
        tries += 1;
        assert!(tries < 20, "nobody is throttled");
    };
    assert!(throttled.header("retry-after").is_some());
    let right = log_in_at(&mut desk.client(), "admin", &password_of("admin"));
    assert_eq!(right.status, 429, "not even the right one is looked at");
    assert_eq!(log_in_at(&mut desk.client(), "operator", &password_of("operator")).status, 303, "another name");
    desk.assert_audited(&[("verb", "login"), ("name", "admin"), ("error", "throttled")]);
    desk.assert_audited(&[("verb", "login"), ("name", "admin"), ("error", "wrong name or password")]);
    desk.assert_audited(&[("verb", "login"), ("who", "operator"), ("outcome", "done")]);
    let text = std::fs::read_to_string(desk.proxy.dir().join("audit.jsonl")).expect("the audit log");
    assert!(!text.contains("wrong0") && !text.contains("secret-phrase"), "{text}");
}

#[test]
fn a_cookie_is_nothing_any_more_after_its_logout() {
    let desk = Desk::start(ADMIN);
    let mut person = desk.person("admin");
    let stolen = format!("doorward-admin={}", person.cookie("doorward-admin").expect("a cookie"));
    let mut thief = desk.client().header("Cookie", &stolen);
    thief.get("/").expect(200);
    let token = token_of(&mut person);
    person.send(form(&desk.client(), "/logout", &[("token", &token)])).expect(303);
    assert_eq!(person.cookie("doorward-admin"), None);
    thief.get("/").expect(401);
    desk.assert_audited(&[("verb", "logout"), ("who", "admin")]);
}

#[test]
fn a_line_that_is_taken_out_of_the_audit_log_is_found() {
    let desk = Desk::start(ADMIN);
    for user in ["alice", "bob", "carol"] {
        assert_eq!(desk.proxy.admin("POST", &format!("/purge-routes?user={user}")).0, 200);
    }
    let path = desk.proxy.dir().join("audit.jsonl");
    let text = wait_for_file(&path, |text| text.lines().count() >= 3);
    let verify = |arguments: &[&str]| {
        let output =
            Command::new(harness::binary()).args(["audit", "verify"]).args(arguments).output().expect("an end");
        (output.status.success(), String::from_utf8(output.stdout).expect("text"))
    };
    let (good, told) = verify(&[path.to_str().expect("a path")]);
    assert!(good && told.contains("3 lines, each as it was written"), "{told}");
    let last = told.lines().find_map(|line| line.strip_prefix("last: ")).expect("a hash").to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let copy = desk.proxy.dir().join("copy.jsonl");
    let check = |lines: &[&str], arguments: &[&str]| {
        std::fs::write(&copy, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).expect("a copy");
        let copy = copy.to_str().expect("a path");
        verify(&[&[copy][..], arguments].concat())
    };
    let (good, told) = check(&[lines[0], lines[2]], &[]);
    assert!(!good && told.contains("copy.jsonl:2: it does not follow the line before it"), "{told}");
    let changed = lines[1].replace("bob", "eve");
    assert!(!check(&[lines[0], &changed, lines[2]], &[]).0);
    assert!(!check(&[lines[1], lines[0], lines[2]], &[]).0);
    assert!(check(&lines, &["--last", &last]).0);
    let (good, told) = check(&lines[..2], &["--last", &last]);
    assert!(!good && told.contains("there were lines behind it"), "{told}");
    // As people read it, with what was said for it.
    let ctl = |arguments: &[&str]| {
        let mut command = Command::new(harness::binary());
        let output = command.current_dir(desk.proxy.dir()).args(["ctl", "--socket", "admin.sock"]).args(arguments);
        String::from_utf8(output.output().expect("an end").stdout).expect("text")
    };
    ctl(&["purge-routes", "dave", "--reason", "he moved"]);
    let told = ctl(&["audit", "--lines", "1"]);
    let line = told.lines().last().expect("a line");
    for word in ["uid ", "purge-routes", "done", "he moved"] {
        assert!(line.contains(word), "{word}: {told}");
    }
    // Who may see names may see it; the look is in it too.
    let seen = desk.program("operator").get("/api/audit?lines=2").expect(200).json();
    assert_eq!(seen["lines"][0]["arguments"]["user"], "dave", "{seen}");
    desk.program("viewer").get("/api/audit").expect(403);
    // Nobody who may not do it sends anything.
    let large = Request::new("POST", "/api/lift").body(vec![b'x'; 1 << 20]);
    assert!(desk.program("viewer").try_send(large).is_ok_and(|answer| answer.status == 403));
    desk.assert_audited(&[("verb", "audit"), ("who", "operator"), ("outcome", "done")]);
    desk.assert_audited(&[("verb", "audit"), ("who", "viewer"), ("outcome", "refused")]);
}

#[test]
fn a_broken_file_of_accounts_ends_the_pages_sessions_and_nothing_else() {
    let desk = Desk::start(ADMIN);
    let mut user = log_in(&desk.proxy, "alice");
    let mut person = desk.person("operator");
    person.get("/").expect(200);
    let file = desk.proxy.dir().join("admins.toml");
    let good = std::fs::read(&file).expect("the accounts");
    for broken in [Some("[[account"), None, Some("[[account]]\nname = \"operator\"\nrole = \"root\"\n")] {
        match broken {
            Some(text) => desk.proxy.write("admins.toml", text),
            None => std::fs::remove_file(&file).expect("it was there"),
        }
        person.get("/").expect(401);
        assert_eq!(log_in_at(&mut desk.client(), "admin", &password_of("admin")).status, 401);
        assert_eq!(desk.proxy.admin("POST", "/reload").0, 200, "the socket works, and so does a reload");
        assert_eq!(user.get("/").expect(200).text(), "inbox");
        desk.program("admin").get("/api/status").expect(200);
        desk.proxy.write("admins.toml", &good);
        person.get("/").expect(401);
        assert_eq!(log_in_at(&mut person, "operator", &password_of("operator")).status, 303);
        person.get("/").expect(200);
    }
    desk.proxy.wait_for_log("a file of operators cannot be read", std::time::Duration::from_secs(60));
    // Another password, or another role, ends what was begun with the one before.
    manage(desk.proxy.dir(), &["passwd", "operator", "--file", "admins.toml"], "another-secret-phrase\n");
    person.get("/").expect(401);
    assert_eq!(log_in_at(&mut person, "operator", "another-secret-phrase").status, 303);
    manage(desk.proxy.dir(), &["remove", "operator", "--file", "admins.toml"], "");
    person.get("/").expect(401);
    manage(desk.proxy.dir(), &["remove", "admin", "--token", "--file", "tokens.toml"], "");
    desk.program("admin").get("/api/status").expect(401);
}

#[test]
fn a_back_end_is_drained_for_a_while_and_taken_up_again() {
    let desk = Desk::start(ADMIN);
    let node = || desk.proxy.status()["backends"][0].clone();
    assert_eq!(node()["drained-until"], Json::Null);
    let mut known = log_in(&desk.proxy, "alice");
    let drain = |query: &str| desk.program("operator").send(Request::new("POST", &format!("/api/drain?{query}")));
    drain("backend=nobody").expect(404);
    for time in ["x", "1s", "31d", "soon"] {
        drain(&format!("backend=node-a&for={time}")).expect(400);
    }
    assert_eq!(drain("backend=node-a&for=30m").expect(200).json()["seconds"], 1800);
    assert_eq!(node()["draining"], true);
    assert!(node()["drained-until"].as_u64().is_some(), "{}", node());
    // Over a reload too.
    let text = std::fs::read_to_string(desk.proxy.dir().join("doorward.toml")).expect("the configuration");
    desk.proxy.write("doorward.toml", format!("drain-timeout = \"7s\"\n{text}"));
    assert_eq!(desk.proxy.admin("POST", "/reload").0, 200);
    assert_eq!(node()["draining"], true);
    assert_eq!(known.get("/").expect(200).text(), "inbox", "who is there stays");
    let answer = crate::support::post_login(&mut desk.proxy.client(), "/", "alice", "alice-secret");
    assert_ne!(answer.status, 303, "nobody new is let in");
    assert_eq!(desk.proxy.admin("POST", "/undrain?backend=node-a").0, 200);
    log_in(&desk.proxy, "alice");
    desk.assert_audited(&[("verb", "drain"), ("who", "operator"), ("outcome", "done")]);
}

#[test]
fn the_address_moves_by_a_reload_and_is_handed_over_in_an_upgrade_which_shows_both_processes() {
    let mut desk = Desk::start(ADMIN);
    let (first, file) = (desk.address, desk.proxy.dir().join("doorward.toml"));
    // Another address, and none: each as the files say, with the sessions that there are.
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let mut person = desk.person("operator");
    let cookie = format!("doorward-admin={}", person.cookie("doorward-admin").expect("a session"));
    person.close();
    desk.proxy
        .write("doorward.toml", text.replace("address = \"127.0.0.1:0\"\naccounts", "address = \"[::1]:0\"\naccounts"));
    assert_eq!(desk.proxy.admin("POST", "/reload").0, 200);
    desk.address = desk.proxy.status()["admin"].as_str().expect("an address").parse().expect("an address");
    assert!(desk.address.is_ipv6());
    desk.client().header("Cookie", &cookie).get("/").expect(200);
    desk.proxy.write("doorward.toml", text.replace("address = \"127.0.0.1:0\"\naccounts", "accounts"));
    assert_eq!(desk.proxy.admin("POST", "/reload").0, 200);
    assert_eq!(desk.proxy.status()["admin"], Json::Null);
    assert!(Client::new(first).try_send(Request::new("GET", "/live")).is_err(), "nobody listens there");
    desk.proxy.write("doorward.toml", &text);
    assert_eq!(desk.proxy.admin("POST", "/reload").0, 200);
    desk.address = desk.proxy.status()["admin"].as_str().expect("an address").parse().expect("an address");
    let process = |desk: &Desk| desk.program("viewer").get("/api/status").expect(200).json();
    let old = process(&desk)["pid"].clone();
    assert_eq!(process(&desk)["older-process"], Json::Null);
    // Somebody is still there, at the process that retires.
    let mut user = log_in(&desk.proxy, "alice");
    user.get("/").expect(200);
    let answer = desk.program("admin").send(Request::new("POST", "/api/upgrade?reason=a+new+version"));
    let new = answer.expect(200).json()["pid"].clone();
    desk.proxy.wait_for_log("another process serves, this one retires", std::time::Duration::from_secs(60));
    let status = desk.proxy.wait_for_status("both processes", |status| status["older-process"] == old);
    assert_eq!(status["pid"], new);
    assert_eq!(process(&desk)["pid"], new, "at the same address");
    user.close();
    desk.proxy.wait_for_status("one process", |status| status["older-process"] == Json::Null);
    // The chain goes on over processes.
    desk.assert_audited(&[("verb", "upgrade"), ("reason", "a new version"), ("outcome", "done")]);
    let path = desk.proxy.dir().join("audit.jsonl");
    let verify = Command::new(harness::binary()).args(["audit", "verify"]).arg(path).output().expect("an end");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    let process = new.as_u64().and_then(|process| rustix::process::Pid::from_raw(process as i32));
    rustix::process::kill_process(process.expect("a process"), rustix::process::Signal::TERM).expect("it runs");
}

#[test]
fn a_client_certificate_lets_its_account_in_and_a_dangerous_verb_asks_for_the_password_too() {
    let certs = Certs::new();
    let (server, alice, eve) = (certs.server(&["doors.test"]), certs.client("alice"), certs.client("eve"));
    let read = |path: &Path| std::fs::read(path).expect("a PEM file");
    let setup = setup()
        .file("admin.pem", read(&server.chain))
        .file("admin.key", read(&server.key))
        .file("ca.pem", read(certs.ca()));
    let tls = "certificates = [{ chain = \"admin.pem\", key = \"admin.key\" }]\nhosts = [\"doors.test\"]\n\
        client-ca = \"ca.pem\"\n";
    let desk = Desk::start_in(setup, &format!("{ADMIN}{tls}"));
    let arguments = ["passwd", "alice", "--role", "admin", "--subject", "CN=alice", "--file", "admins.toml"];
    manage(desk.proxy.dir(), &arguments, "alice-secret-phrase\n");
    let client = |own| desk.client().site("doors.test").tls_as(certs.ca(), own);
    client(&eve).get("/").expect(401);
    client(&eve).get("/api/status").expect(401);
    desk.client().site("doors.test").tls(certs.ca()).get("/").expect(401);
    client(&alice).get("/api/status").expect(200);
    let mut person = client(&alice);
    let token = token_of(&mut person);
    let origin = format!("https://doors.test:{}", desk.address.port());
    let lift = |more: &[(&str, &str)]| {
        let fields = [&[("token", token.as_str()), ("digest", "sha256:00")], more].concat();
        let request = Request::new("POST", "/do/lift").form(&fields).header("Origin", &origin);
        client(&alice).send(request)
    };
    lift(&[]).expect(400);
    let asked = lift(&[("reason", "a test")]).expect(403).text();
    assert!(asked.contains("password"), "{asked}");
    lift(&[("reason", "a test"), ("password", "wrong")]).expect(403);
    lift(&[("reason", "a test"), ("password", "alice-secret-phrase")]).expect(404);
    desk.assert_audited(&[("who", "alice"), ("how", "certificate"), ("verb", "lift"), ("outcome", "failed")]);
    desk.assert_audited(&[("who", "alice"), ("verb", "confirm"), ("outcome", "refused")]);
    // A browser sends the certificate by itself, to whoever's page asks it to.
    let foreign = Request::new("POST", "/api/reload").header("Origin", "https://evil.test");
    client(&alice).send(foreign).expect(403);
    desk.assert_audited(&[("who", "alice"), ("verb", "reload"), ("error", "a page of another origin")]);
    // Who logs in at the page over TLS has a cookie that no other host can set and no script can read.
    let mut operator = desk.client().site("doors.test").tls(certs.ca());
    let fields = [("name", "operator"), ("password", "operator-secret-phrase"), ("next", "//evil.test")];
    let answer = operator.send(Request::new("POST", "/login").form(&fields).header("Origin", &origin)).expect(303);
    assert_eq!(answer.header("location"), Some("/"), "nobody is led elsewhere");
    let cookie = answer.header("set-cookie").expect("a cookie");
    for word in ["__Host-doorward-admin=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"] {
        assert!(cookie.contains(word), "{cookie}");
    }
}

#[test]
fn a_viewer_sees_no_name_address_or_secret_whatever_he_asks_for() {
    let secret = "a-key-that-nobody-sees";
    let metrics_from = format!("{ADMIN}metrics-from = [\"127.0.0.0/8\"]\n");
    let setup = setup().file("session.keys", "");
    std::fs::remove_file(setup.dir().join("session.keys")).expect("it was there");
    let desk = Desk::start_in(setup, &format!("[session]\nkey-file = \"session.keys\"\n{metrics_from}"));
    log_in(&desk.proxy, "alice");
    crate::support::post_login(&mut desk.proxy.client(), "/", "bob@b.test", secret);
    let key = std::fs::read_to_string(desk.proxy.dir().join("session.keys")).expect("the keys");
    let hidden = ["alice", "bob", secret, key.trim(), "argon2id", "sha256:00", "127.0.0.1:1"];
    let mut seen = vec![desk.client().get("/metrics").expect(200).text()];
    for [name, ..] in verbs() {
        for method in ["GET", "POST"] {
            let request = Request::new(method, &format!("/api/{name}?user=x"));
            seen.push(desk.program("viewer").send(request).text());
            seen.push(desk.program("viewer").send(Request::new(method, &format!("/api/{name}"))).text());
        }
    }
    seen.push(desk.person("viewer").get("/").expect(200).text());
    for text in seen {
        for hidden in hidden {
            assert!(!text.contains(hidden), "{hidden} is in {text}");
        }
    }
    // Elsewhere than the metrics that network opens nothing.
    desk.client().get("/api/metrics").expect(401);
    desk.client().get("/api/status").expect(401);
}

#[test]
fn who_guesses_many_names_is_shut_out_by_his_network_and_nobody_elsewhere() {
    let desk = Desk::start(ADMIN);
    let patient = || desk.client().timeout(std::time::Duration::from_secs(120));
    let mut tries = 0;
    while log_in_at(&mut patient(), &format!("name{tries}"), "wrong").status != 429 {
        tries += 1;
        assert!(tries < 100, "nobody is throttled");
    }
    assert!(tries >= 20, "a helpdesk may mistype: {tries}");
    assert_eq!(log_in_at(&mut patient().from("127.0.0.9"), "operator", &password_of("operator")).status, 429);
    assert_eq!(log_in_at(&mut patient().from("127.1.0.1"), "operator", &password_of("operator")).status, 303);
    assert_eq!(desk.proxy.admin("POST", "/purge-routes").0, 200, "the socket needs no account");
}

#[test]
fn who_holds_connections_holds_few_and_others_and_the_socket_are_served() {
    let desk = Desk::start(ADMIN);
    // Connections that say nothing: those beyond the bound are closed at once.
    let mut held: Vec<std::net::TcpStream> = Vec::new();
    for _ in 0..200 {
        held.push(std::net::TcpStream::connect(desk.address).expect("the kernel takes it"));
    }
    let mut other = desk.client().from("127.0.0.77");
    other.get("/live").expect(200);
    assert_eq!(desk.proxy.admin("GET", "/status").0, 200);
    let mut beyond = held.pop().expect("a connection");
    beyond.set_read_timeout(Some(std::time::Duration::from_secs(30))).expect("a timeout");
    let read = std::io::Read::read(&mut beyond, &mut [0; 16]);
    assert!(matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    drop(held);
    // Heads and bodies are bounded, and a body is not waited for where nobody is let in.
    let long = "x".repeat(100_000);
    let answer = other.send(Request::new("GET", "/live").header("X-Long", &long));
    assert_eq!(answer.status, 431);
    let mut person = desk.person("admin");
    let token = token_of(&mut person);
    let large = "y".repeat(100_000);
    let fields = [("token", token.as_str()), ("user", large.as_str())];
    assert_eq!(person.send(form(&desk.client(), "/do/purge-routes", &fields)).status, 413);
    desk.program("admin").send(Request::new("POST", "/api/reload").body("a body that nobody asked for")).expect(413);
}

#[test]
fn while_the_audit_log_cannot_be_written_only_the_socket_changes_anything() {
    let node = webmail(|_| harness::Answer::text("inbox"));
    let setup = setup().file("log/x", "");
    let tokens = people(setup.dir());
    let admin = ADMIN.replace("audit.jsonl", "log/audit.jsonl");
    let proxy = setup.serve(&config(&admin, &[("node-a", &node, "")]));
    let address: SocketAddr = proxy.status()["admin"].as_str().expect("an address").parse().expect("an address");
    let post = || {
        let token = format!("Bearer {}", tokens[2].1);
        Client::new(address).header("Authorization", &token).send(Request::new("POST", "/api/purge-routes"))
    };
    post().expect(200);
    std::fs::remove_dir_all(proxy.dir().join("log")).expect("a folder");
    // This one is done, and then it is known that its line is missing.
    post().expect(200);
    let told = post().expect(503).text();
    assert!(told.contains("nothing is changed"), "{told}");
    assert!(proxy.status()["files"]["audit"].as_str().is_some_and(|why| why.contains("audit.jsonl")));
    assert_eq!(proxy.admin("POST", "/purge-routes").0, 200);
    std::fs::create_dir(proxy.dir().join("log")).expect("a folder");
    assert_eq!(proxy.admin("POST", "/purge-routes").0, 200);
    post().expect(200);
    assert_eq!(proxy.status()["files"]["audit"], Json::Null);
}

#[test]
fn what_a_verb_is_sent_besides_its_parameters_is_in_no_line() {
    let desk = Desk::start(ADMIN);
    let mut person = desk.person("operator");
    let token = token_of(&mut person);
    let fields = [("token", token.as_str()), ("user", "alice"), ("body", "alice-secret")];
    person.send(form(&desk.client(), "/do/directory-test", &fields)).expect(200);
    desk.assert_audited(&[("verb", "directory-test"), ("who", "operator"), ("outcome", "done")]);
    let by_api = Request::new("POST", "/api/directory-test?user=alice").body("alice-secret");
    desk.program("operator").send(by_api).expect(200);
    let text = std::fs::read_to_string(desk.proxy.dir().join("audit.jsonl")).expect("the audit log");
    assert!(text.contains("alice") && !text.contains("alice-secret"), "{text}");
    assert!(!desk.proxy.log().iter().any(|line| line.contains("alice-secret")));
}
