//! Configurations that many tests share, and a back-end that logs users in as a small webmail would.

use harness::{Answer, Backend, Client, Proxy, Response};

/// People whose passwords are `NAME-secret`: alice at node-a, bob at node-b, nomad nowhere, lost at a node unknown.
pub(crate) const PEOPLE: &str = "\
dn: uid=alice,dc=test\nuid: alice\nmail: alice@a.test\nmailHost: node-a\nmailAuth: bind\nuserPassword: alice-secret\n\n\
dn: uid=bob,dc=test\nuid: bob\nmail: bob@b.test\nmailHost: node-b\nuserPassword: bob-secret\n\n\
dn: uid=nomad,dc=test\nuid: nomad\nuserPassword: nomad-secret\n\n\
dn: uid=lost,dc=test\nuid: lost\nmailHost: 127.0.0.1:25\nuserPassword: lost-secret\n\n\
dn: uid=twin1,dc=test\nuid: twin1\nmail: twin@a.test\nmailHost: node-a\nuserPassword: twin1-secret\n\n\
dn: uid=twin2,dc=test\nuid: twin2\nmail: twin@a.test\nmailHost: node-a\nuserPassword: twin2-secret\n";

/// How the back-end of [`webmail`] is logged in to.
pub(crate) const RECIPE: &str = "\
[login]\npath = \"/login\"\n[login.fields]\nuser = \"{user}\"\npass = \"{password}\"\n\
[success]\nstatus = [303]\n[failure]\nstatus = [401]\n[landing]\npath = \"/inbox\"\n\
[logout]\npath = \"/logout\"\n[session]\ncookies = [\"sid\"]\n";

/// An admin area that is asked by its socket.
pub(crate) const ADMIN: &str = "[admin]\nsocket = \"admin.sock\"\n";

/// A back-end that takes logins whose password is `USER-secret`, and hands everything else to `answer`.
pub(crate) fn webmail(answer: impl Fn(&mut harness::Incoming<'_>) -> Answer + Send + Sync + 'static) -> Backend {
    Backend::start(logins(answer))
}

/// The script of such a back-end.
pub(crate) fn logins(
    answer: impl Fn(&mut harness::Incoming<'_>) -> Answer + Send + Sync + 'static,
) -> impl Fn(&mut harness::Incoming<'_>) -> Answer + Send + Sync + 'static {
    move |request| {
        if request.what() == ("POST", "/login") {
            let body = String::from_utf8_lossy(request.body()).into_owned();
            let field =
                |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).map(str::to_owned);
            let (user, pass) = (field("user").unwrap_or_default(), field("pass").unwrap_or_default());
            return if pass == format!("{user}-secret") {
                Answer::redirect("/inbox").status(303).header("Set-Cookie", &format!("sid={user}; Path=/; HttpOnly"))
            } else {
                Answer::text("no").status(401)
            };
        }
        answer(request)
    }
}

/// A whole configuration in front of these nodes; `extra` comes first, so it may begin with top-level keys.
pub(crate) fn config(extra: &str, nodes: &[(&str, &Backend, &str)]) -> String {
    let mut text = format!(
        "{extra}\n[directory]\nfile = \"people.ldif\"\nexposed-attributes = [\"mailAuth\"]\n\
         [[site]]\nhosts = [\"*\"]\n"
    );
    if !extra.contains("[[listener]]") {
        text.push_str("[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n");
        text.push_str("[listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0\n");
    }
    for (name, node, settings) in nodes {
        text.push_str(&backend(name, &node.url(), settings));
    }
    text
}

/// A node in the configuration.
pub(crate) fn backend(name: &str, url: &str, settings: &str) -> String {
    format!("[[backend]]\nname = \"{name}\"\nurl = \"{url}\"\nrecipe = \"test.toml\"\n{settings}\n")
}

/// A proxy with that configuration.
pub(crate) fn proxy(extra: &str, nodes: &[(&str, &Backend, &str)]) -> Proxy {
    setup().serve(&config(extra, nodes))
}

/// A proxy with one worker, so that a connection to a node that is kept is also the next one used.
pub(crate) fn one_worker(extra: &str, nodes: &[(&str, &Backend, &str)]) -> Proxy {
    proxy(&format!("{extra}\n[threads]\nmax = 1"), nodes)
}

/// The files that [`config`] names.
pub(crate) fn setup() -> harness::Setup {
    harness::Setup::new().file("people.ldif", PEOPLE).file("test.toml", RECIPE)
}

/// The same for another program in the place of Doorward's.
pub(crate) fn setup_with(program: &std::path::Path) -> harness::Setup {
    harness::Setup::with(program).file("people.ldif", PEOPLE).file("test.toml", RECIPE)
}

/// The last answer of a chain.
pub(crate) fn last(chain: Vec<Response>) -> Response {
    chain.into_iter().next_back().expect("at least one answer")
}

/// An attribute of a page's body tag.
pub(crate) fn body_attribute(page: &str, name: &str) -> String {
    let tag = page.split("<body").nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default();
    let value = tag.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    value.unwrap_or_default().to_owned()
}

/// A client with a session, which followed no redirect: the node has seen the login and nothing else.
pub(crate) fn log_in(proxy: &Proxy, name: &str) -> Client {
    let mut client = proxy.client();
    let answer = post_login(&mut client, "/", name, &format!("{name}-secret"));
    assert_eq!(answer.status, 303, "{}", answer.text());
    client
}

/// Loads a page, fills in its login form and sends it; the answer to that.
pub(crate) fn post_login(client: &mut Client, page: &str, name: &str, password: &str) -> Response {
    let page = client.get(page).expect(200).text();
    let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a login form");
    let fields = form.filled(name, password);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    client.post_form(&form.action, &fields)
}

/// Waits until a file says what it should.
#[track_caller]
pub(crate) fn wait_for_file(path: &std::path::Path, says: impl Fn(&str) -> bool) -> String {
    let started = std::time::Instant::now();
    loop {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        if says(&text) {
            return text;
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(120), "{}: {text}", path.display());
        std::thread::yield_now();
    }
}
