//! Real webmails behind Doorward: the same rows for each of them, held against the table in docs/recipes.md.
//!
//! A webmail is a file here that says what its pages and scripts do ([`Webmail`]), and a line in [`all`].

mod dav;
mod horde;
mod jmap;
mod roundcube;
mod rows;
mod sogo;
mod sqwebmail;

use harness::{Client, Proxy, Request, Response, Setup, Stack};

/// Users of these tests: both have their mail behind node A.
const FIRST: &str = "alice";
const SECOND: &str = "carol";

/// Every webmail, in the order of the table's columns.
fn all() -> Vec<Box<dyn Webmail>> {
    use horde::Horde;
    use roundcube::{Place, Roundcube};
    vec![
        Box::new(Roundcube { place: Place::Top }),
        Box::new(Roundcube { place: Place::Root }),
        Box::new(Roundcube { place: Place::Url }),
        Box::new(sogo::Sogo),
        Box::new(Horde { root: "" }),
        Box::new(Horde { root: "/horde" }),
        Box::new(sqwebmail::Sqwebmail::default()),
        Box::new(jmap::Jmap),
        Box::new(dav::Dav::Cyrus),
        Box::new(dav::Dav::Radicale),
    ]
}

/// What one webmail's pages and scripts do in a browser that is logged in through Doorward. Where a webmail has no such
/// thing, the answer is nothing, and so is the cell of the table.
trait Webmail: Sync {
    /// The head of its column.
    fn name(&self) -> &'static str;

    /// The services of the stack that it needs beside the directory, IMAP of node A and its web server.
    fn services(&self) -> &'static [&'static str] {
        &[]
    }

    /// What its `[[backend]]` says besides the name: `url`, `recipe`, settings.
    fn backend(&self, stack: &Stack) -> String;

    /// Where a login that came from `/` leads, without a query.
    fn home(&self) -> String;

    /// Where a login led, in words that are the same each time.
    fn place(&self, landing: &str) -> String {
        landing.split('?').next().unwrap_or_default().to_owned()
    }

    /// The list of the inbox, as a script gets it.
    fn inbox(&self, browser: &mut Client) -> Option<String>;

    /// The text of the message that every inbox has.
    fn message(&self, browser: &mut Client) -> Option<String>;

    /// Saves a draft with this text; the text that is read back.
    fn draft(&self, browser: &mut Client, text: &str) -> Option<String>;

    /// Attaches a file to a draft; what is read back.
    fn attachment(&self, browser: &mut Client, file: &[u8]) -> Option<Vec<u8>>;

    /// What its own "log out" sends; the answer to that.
    fn log_out(&self, browser: &mut Client) -> Option<Response>;

    /// Whether a login of it goes without its IMAP server.
    fn needs_imap(&self) -> bool {
        true
    }

    /// Whose session it can be made to forget.
    fn forgettable(&self) -> &'static str {
        FIRST
    }

    /// Makes it forget that user's session, where that is not in cookies.
    fn forget(&self, _stack: &Stack) {}

    /// Undoes that.
    fn remember(&self, _stack: &Stack) {}

    /// Whether it knows the session of the last login still, asked directly; nothing where it has no sessions.
    fn knows(&self, _stack: &Stack) -> Option<bool> {
        None
    }

    /// Its session's cookies as it has forgotten them: names, and values that it never gave; none where it has none.
    fn forgotten(&self) -> &'static [(&'static str, &'static str)];

    /// A page that needs a session.
    fn page(&self) -> Option<Request>;

    /// What a script asks for that needs a session.
    fn script(&self) -> Option<Request>;

    /// How what a phone gets differs from what a desktop gets; the answer to a login with such a browser led to `home`.
    fn phone(&self, _phone: &mut Client, _desktop: &mut Client) -> Option<String> {
        None
    }
}

/// One webmail behind a Doorward of its own, which asks nobody else about passwords.
struct Bench<'a> {
    webmail: &'a dyn Webmail,
    stack: &'a Stack,
    proxy: Proxy,
}

impl<'a> Bench<'a> {
    fn new(webmail: &'a dyn Webmail, stack: &'a Stack) -> Self {
        let host = &stack.node("A").mail_host;
        let people: String = [FIRST, SECOND, "erin", "grace"]
            .map(|name| format!("dn: uid={name},dc=test\nuid: {name}\nmail: {name}@example.test\nmailHost: {host}\n\n"))
            .concat();
        let config = format!(
            "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
             [listener.limits]\nmax-interval-connections = 0\npeer-max-interval-connections = 0\n\
             [directory]\nfile = \"people.ldif\"\nexposed-attributes = [\"mail\"]\n\
             [authentication]\nmode = \"back-end\"\n[[site]]\nhosts = [\"*\"]\n\
             [[policy]]\nname = \"device-detection\"\nasks = \"device\"\n\
             [[backend]]\nname = \"{host}\"\n{}",
            webmail.backend(stack)
        );
        Self { webmail, stack, proxy: Setup::new().file("people.ldif", people).serve(&config) }
    }

    /// A browser that has logged in, and where that led.
    fn logged_in(&self, name: &str) -> (Client, String) {
        let mut client = self.proxy.client();
        let answer = self.log_in(&mut client, name, &format!("{name}-secret")).expect(303);
        (client.follow(), answer.header("location").unwrap_or_default().to_owned())
    }

    /// Fills in Doorward's login page.
    fn log_in(&self, client: &mut Client, name: &str, password: &str) -> Response {
        let answer = crate::support::post_login(client, "/.doorward/login", name, password);
        // A client that follows is there already.
        self.webmail.place(answer.header("location").unwrap_or(&answer.target));
        answer
    }
}

#[test]
fn every_webmail_goes_through_the_same_rows_and_the_docs_say_what_was_seen() {
    let webmails = all();
    let mut services = vec!["ldap1", "imap-a", "php-a", "web-a"];
    for service in webmails.iter().flat_map(|webmail| webmail.services()) {
        if !services.contains(service) {
            services.push(service);
        }
    }
    let stack = Stack::with(&[("RS_IMAP_AUTH", "static"), ("RS_RC_DESKTOP_SKIN", "larry")], &services);
    let mut benches: Vec<Bench<'_>> = webmails.iter().map(|webmail| Bench::new(&**webmail, &stack)).collect();
    // One after the other, since webmails that share their tables make those of a user at the first login.
    for bench in &benches {
        bench.logged_in(FIRST);
        bench.logged_in(SECOND);
    }
    let mut columns: Vec<Vec<String>> = std::thread::scope(|scope| {
        let running: Vec<_> = benches.iter_mut().map(|bench| scope.spawn(|| rows::all(bench))).collect();
        running.into_iter().map(|column| column.join().expect("a column")).collect()
    });
    stack.ctl(&["kill", "imap-a"]);
    for (bench, column) in benches.iter().zip(&mut columns) {
        column.push(rows::cell(bench, rows::without_imap));
    }
    let names: Vec<&str> = webmails.iter().map(|webmail| webmail.name()).collect();
    let lines = rows::ROWS.iter().map(|(name, _)| *name).chain(["IMAP down"]).enumerate().map(|(nth, name)| {
        let cells: Vec<&str> = columns.iter().map(|column| column[nth].as_str()).collect();
        format!("| {name} | {} |\n", cells.join(" | "))
    });
    let head = format!("| seen | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    let table = head + &lines.collect::<String>();
    let docs = include_str!("../../../docs/recipes.md");
    assert!(docs.contains(&table), "docs/recipes.md has another table than what was seen:\n{table}");
}

/// The media type of what [`multipart`] makes.
const MULTIPART: &str = "multipart/form-data; boundary=----of-this-test";
/// The name of a file that is attached.
const FILE: &str = "numbers.bin";

/// A form with a file, as browsers send it.
fn multipart(fields: &[(&str, &str)], (name, file): (&str, &[u8])) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("------of-this-test\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!(
        "------of-this-test\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{FILE}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    [body.as_bytes(), file, b"\r\n------of-this-test--\r\n"].concat()
}

/// What stands between two texts.
fn between(text: &str, before: &str, behind: &str) -> Option<String> {
    Some(text.split_once(before)?.1.split_once(behind)?.0.to_owned())
}
