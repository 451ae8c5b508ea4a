//! What a site's pages have of its own: picture, colour, links, what is told, and computers that others use too.

use std::time::Duration;

use harness::{Answer, Backend, Browser, Device, Proxy, Request, Setup, artifacts};

use crate::support::{backend, config, setup, webmail};

const LONG: Duration = Duration::from_secs(120);

const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 3\"><path d=\"M0 0h9v3H0z\"/></svg>";

/// All that a site may have.
const SETTINGS: &str = "\
title = \"Stadtwerke\"\nlogo = \"logo.svg\"\naccent-color = \"#b5121b\"\nshared-computer = \"ask\"\n\
announcement = { en = \"Down on <b>Sunday</b>.\", de = \"Am Sonntag nicht da.\" }\n\
links = [ { text = \"forgot_password\", url = \"https://password.test/\" },\n\
  { text = { de = \"Hilfe am Telefon\" }, url = \"mailto:help@a.test\" } ]\n";

fn node() -> Backend {
    webmail(|_| Answer::text("inbox"))
}

/// The site for everybody has these settings, and one more has none.
fn text(extra: &str, node: &Backend, settings: &str) -> String {
    let text = config(extra, &[("node-a", node, "")]);
    text.replace("hosts = [\"*\"]", &format!("hosts = [\"*\"]\n{settings}\n[[site]]\nhosts = [\"plain.test\"]\n"))
}

fn serve(extra: &str, node: &Backend, settings: &str) -> Proxy {
    setup().file("logo.svg", LOGO).serve(&text(extra, node, settings))
}

/// The page's own words: without the references that its attributes are written with.
fn page(proxy: &Proxy, lang: &str) -> String {
    proxy.client().header("Accept-Language", lang).get("/").expect(200).text().replace("&#x2f;", "/")
}

/// The address of the site's picture.
fn logo_in(page: &str) -> String {
    let start = page.find("/.doorward/site/logo?v=").unwrap_or_else(|| panic!("no picture in {page}"));
    page[start..].split('"').next().expect("an address").to_owned()
}

#[test]
fn a_site_shows_its_own_things_and_another_one_does_not() {
    let node = node();
    let proxy = serve("", &node, SETTINGS);
    let english = page(&proxy, "en");
    for part in [
        "<p lang=\"en\">Down on &lt;b&gt;Sunday&lt;/b&gt;.</p>",
        "<a href=\"https://password.test/\" lang=\"en\" rel=\"noreferrer\">Forgot your password?</a>",
        // A text that the language lacks is told in one that there is, which is said.
        "<a href=\"mailto:help@a.test\" lang=\"de\" rel=\"noreferrer\">Hilfe am Telefon</a>",
        "<input type=\"checkbox\" name=\"shared\"",
    ] {
        assert!(english.contains(part), "{part} in {english}");
    }
    let german = page(&proxy, "de-AT");
    assert!(german.contains("<p lang=\"de\">Am Sonntag nicht da.</p>") && german.contains("Passwort vergessen?"));
    assert!(page(&proxy, "ja").contains("<p lang=\"en\">Down on"), "the default language");
    let plain = proxy.client().host("plain.test").get("/").expect(200).text();
    assert!(!plain.contains("site&#x2f;") && !plain.contains("shared") && !plain.contains("<section"), "{plain}");
    proxy.client().host("plain.test").get("/.doorward/site/logo").expect(404);
    proxy.client().host("plain.test").get("/.doorward/site/style.css").expect(404);
}

#[test]
fn a_picture_is_kept_by_browsers_and_runs_nothing() {
    let node = node();
    let proxy = serve("", &node, SETTINGS);
    let address = logo_in(&page(&proxy, "en"));
    let logo = proxy.client().get(&address).expect(200);
    assert_eq!((logo.text().as_str(), logo.header("content-type")), (LOGO, Some("image/svg+xml; charset=utf-8")));
    assert_eq!(logo.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(proxy.client().get("/.doorward/site/logo?v=0").header("cache-control"), Some("no-cache"));
    proxy.client().send(Request::new("POST", &address)).expect(405);
    // Whatever lies beside pages may be opened by its address.
    for path in [address.as_str(), "/.doorward/assets/blue/logo.svg", "/.doorward/site/style.css"] {
        let asset = proxy.client().get(path).expect(200);
        let policy = asset.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("sandbox"), "{path}: {policy}");
        assert_eq!(asset.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    let style = proxy.client().get("/.doorward/site/style.css").text();
    assert!(style.contains("--accent: #b5121b;") && style.contains("prefers-color-scheme: dark"), "{style}");
}

#[test]
fn a_broken_picture_is_told_and_the_old_one_stays() {
    let node = node();
    let proxy = serve("", &node, SETTINGS);
    let first = logo_in(&page(&proxy, "en"));
    let from = proxy.log().len();
    proxy.write("logo.svg", LOGO.replace("</svg>", "<script>alert(1)</script></svg>"));
    proxy.wait_for_log_after(from, r"site\[0\]\.logo.*<script>", LONG);
    assert_eq!(logo_in(&page(&proxy, "en")), first);
    assert_eq!(proxy.client().get(&first).text(), LOGO);
    let from = proxy.log().len();
    proxy.write("logo.svg", LOGO.replace("h9", "h8"));
    proxy.wait_for_log_after(from, "reloaded", LONG);
    let second = logo_in(&page(&proxy, "en"));
    assert_ne!(second, first);
    // A page from before the change shows what there is now, and keeps it under no wrong address.
    let now = proxy.client().get(&first).expect(200);
    assert!(now.text().contains("h8") && now.header("cache-control") == Some("no-cache"), "{}", now.text());
}

#[test]
fn an_announcement_ends_at_its_time() {
    let node = node();
    for (until, shown) in [("2001-01-01T00:00:00Z", false), ("2999-01-01T00:00:00+01:00", true)] {
        let settings = format!("announcement = \"forgot_password\"\nannouncement-until = {until}\n");
        let proxy = serve("", &node, &settings);
        assert_eq!(page(&proxy, "fr").contains("<p lang=\"fr\">Mot de passe oublié ?</p>"), shown, "{until}");
    }
}

/// A session at a shared computer ends at once here, so that there is nothing to wait for.
#[test]
fn at_a_shared_computer_a_session_is_short_and_the_browser_stays_unknown() {
    let node = node();
    let extra = "[session]\nshared-idle-timeout = \"0s\"\n";
    let log_in = |proxy: &Proxy, shared: &[(&'static str, &'static str)]| {
        let mut client = proxy.client();
        let page = client.get("/").expect(200).text();
        let form = harness::forms(&page).into_iter().find(harness::Form::asks_for_password).expect("a form");
        let fields = form.filled("alice", "alice-secret");
        let fields =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(name, _)| *name != "shared");
        let fields: Vec<_> = fields.chain(shared.iter().copied()).collect();
        let answer = client.post_form(&form.action, &fields).expect(303);
        assert!(
            answer.header("set-cookie").is_some_and(|cookie| !cookie.contains("Max-Age")),
            "it ends with the browser"
        );
        (client.cookie("doorward-device").is_some(), client.get("/x").text() == "inbox")
    };
    for (setting, sent, remembered) in [
        ("ask", &[][..], true),
        ("ask", &[("shared", "on")][..], false),
        ("always", &[][..], false),
        ("never", &[("shared", "on")][..], true),
    ] {
        let proxy = serve(extra, &node, &format!("shared-computer = \"{setting}\""));
        assert_eq!(log_in(&proxy, sent), (remembered, remembered), "{setting} {sent:?}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let site = "[[site]]\nhosts = [\"*\"]\ntemplate = \"own\"\n\
        logo = \"photo.png\"\naccent-color = \"red\"\nannouncement = { xx = \"a\" }\nannouncement-until = 2026-12-01T08:00:00\n\
        shared-computer = \"maybe\"\nlinks = [\n{ text = \"a\", url = \"javascript:x()\" },\n{ text = { yy = \"a\" }, url = \"/a\" },\n{ url = \"//evil.test\" } ]\n";
    let listener = "templates = \"looks\"\n[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:8080\"\n";
    let whole = |site: &str| listener.to_owned() + &backend("b", "http://127.0.0.1:1/", "") + site;
    let login = "<form method=post action=/.doorward/login><input name=username><input name=password><input name=token>\
        <input name=next><input name=held></form>";
    let told = |text: &str, kind: &str| -> Vec<String> {
        let setup = setup().file("doorward.toml", text).file("photo.png", b"\x89PNG\r\n\x1a\n").file("logo.svg", LOGO);
        let ran =
            setup.file("looks/own/desktop/login.html", login).run(&["check", "--config", "doorward.toml", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let faults = report[kind].as_array().expect("a list").iter();
        faults.map(|fault| format!("{} {}", fault["line"], fault["key"].as_str().expect("a key"))).collect()
    };
    let expected = [
        "13 site[0].logo",
        "14 site[0].accent-color",
        "15 site[0].announcement.xx",
        "16 site[0].announcement-until",
        "17 site[0].shared-computer",
        "19 site[0].links[0].url",
        "20 site[0].links[1].text.yy",
        "21 site[0].links[2].text",
        "21 site[0].links[2].url",
    ];
    assert_eq!(told(&whole(site), "faults"), expected);
    // A look of the operator's own serves on, and what it does not show is told.
    let right =
        site.replace("photo.png", "logo.svg").replace("\"red\"", "\"#ffe000\"").replace("xx", "de").replace("yy", "de");
    let right = right.replace("T08:00:00", "T08:00:00Z").replace("maybe", "ask").replace("javascript:x()", "/b");
    let right = right.replace("{ url = \"//evil.test\" }", "");
    assert_eq!(told(&whole(&right), "faults"), [""; 0]);
    let warned = told(&whole(&right), "warnings");
    for key in ["logo", "accent-color", "links", "announcement", "shared-computer"] {
        assert!(warned.iter().any(|told| told.ends_with(&format!(" site[0].{key}"))), "{key} in {warned:?}");
    }
}

#[test]
fn a_kept_generation_keeps_its_picture() {
    let (node, folder) = (node(), harness::temp_dir());
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(folder.path().join("state"))
        .expect("a folder");
    let state =
        format!("state-directory = \"{}\"\n[admin]\nsocket = \"admin.sock\"\n", folder.path().join("state").display());
    let proxy = serve(&state, &node, SETTINGS);
    proxy.wait_for_status("it is kept", |_| folder.path().join("state/generations/1/logos/0").exists());
    let kept = std::fs::read_to_string(folder.path().join("state/generations/1/logos/0")).expect("a picture");
    assert_eq!(kept, LOGO);
}

fn browsers() -> [(Device, &'static str); 4] {
    [Device::Desktop, Device::Phone]
        .map(|device| [(device, "light"), (device, "dark")])
        .concat()
        .try_into()
        .expect("four")
}

fn browser(device: Device, scheme: &str) -> Browser {
    Browser::start(device, &[&format!("--blink-settings=preferredColorScheme={}", u8::from(scheme == "light"))])
}

/// Both looks with everything, in a colour that suits and in one that nobody could read.
#[test]
fn axe_finds_nothing_where_everything_is_shown() {
    let axe = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("axe/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe).unwrap_or_else(|e| panic!("{}: {e}: tests/run packages", axe.display()));
    let (node, mut text) = (node(), String::new());
    for (look, name, color) in [("blue", "red", "#b5121b"), ("green", "yellow", "#ffe000")] {
        let settings = SETTINGS.replace("#b5121b", color);
        text.push_str(&format!("[[site]]\nhosts = [\"{look}-{name}.localhost\"]\ntemplate = \"{look}\"\n{settings}"));
    }
    let device = "[[policy]]\nname = \"device-detection\"\nasks = \"device\"\n";
    let proxy = setup().file("logo.svg", LOGO).serve(&(config(device, &[("node-a", &node, "")]) + &text));
    let port = proxy.address("public").port();
    let look = |device: Device, scheme: &str| {
        let (browser, mut found) = (browser(device, scheme), Vec::new());
        for (site, language) in
            ["blue-red", "green-yellow"].into_iter().flat_map(|site| [(site, "en"), (site, "de"), (site, "ja")])
        {
            let base = format!("http://{site}.localhost:{port}");
            browser.goto(&format!("{base}/.doorward/preferences?language={language}&back=/"));
            browser.wait_for("[data-reveal]:not([hidden])");
            browser.script("username.value = 'alice'; password.value = 'x'; username.form.requestSubmit()");
            browser.wait_for("[role=alert]");
            browser.script(&axe);
            let told = browser.script(
                "return axe.run({ resultTypes: ['violations'] }).then(r => r.violations.flatMap(v => \
                 v.nodes.map(n => v.id + ': ' + n.html + ' ' + n.any.map(a => a.message).join(' '))))",
            );
            let name = format!("branded-{site}-{device:?}-{scheme}-{language}").to_lowercase();
            found.extend(told.as_array().expect("a list").iter().map(|fault| format!("{name}: {fault}")));
            let wide = browser.script("return document.documentElement.scrollWidth - innerWidth");
            assert!(wide.as_i64().is_some_and(|more| more <= 0), "{name}: {wide}");
            let drawn = browser
                .script("const i = document.querySelector('img.logo'); return i.naturalWidth > 0 && i.height > 20");
            assert_eq!(drawn, true, "{name}: its picture");
            browser.screenshot(artifacts().join(format!("{name}.png")));
        }
        found
    };
    let found: Vec<String> = std::thread::scope(|scope| {
        let readers: Vec<_> = browsers().map(|(device, scheme)| scope.spawn(move || look(device, scheme))).into();
        readers.into_iter().flat_map(|reader| reader.join().expect("a reader")).collect()
    });
    assert!(found.is_empty(), "{}\n{}", found.len(), found.join("\n"));
}

/// By keyboard: the box comes behind the password, and is a box for screen readers too. What is sent is a password.
#[test]
fn a_password_is_shown_by_a_box_and_sent_as_a_password() {
    let node = node();
    let proxy = serve("", &node, "");
    let hidden = "<label class=\"check\" data-reveal hidden>";
    assert!(page(&proxy, "en").contains(hidden), "without the script there is no box");
    let browser = Browser::desktop();
    browser.goto(&format!("http://localhost:{}/", proxy.address("public").port()));
    browser.fill("#username", "alice");
    // Tab, Tab and the space bar, as WebDriver writes them.
    browser.fill("#password", "alice-\u{e004} ");
    let seen = browser.script(
        "const box = document.activeElement; return [password.type, box.type, box.checked, box.labels[0].textContent.trim(), \
         box.getAttribute('aria-controls'), password.spellcheck]",
    );
    assert_eq!(seen, serde_json::json!(["text", "checkbox", true, "Show the password", "password", false]));
    browser.screenshot(artifacts().join("password-shown.png"));
    browser.script("addEventListener('submit', event => { event.preventDefault(); window.sent = password.type })");
    browser.click("button[type=submit]");
    assert_eq!(browser.script("return [window.sent, password.type]"), serde_json::json!(["password", "password"]));
}

/// What people choose their language with is whole on a screen of 800 pixels, of which the browser takes some.
#[test]
fn the_foot_of_the_login_page_is_whole_on_a_small_screen() {
    let node = node();
    let looks =
        "[[site]]\nhosts = [\"blue.localhost\"]\n[[site]]\nhosts = [\"green.localhost\"]\ntemplate = \"green\"\n";
    let proxy = Setup::new().file("people.ldif", "").file("test.toml", crate::support::RECIPE);
    let proxy = proxy.serve(&(config("", &[("node-a", &node, "")]) + looks));
    let browser = Browser::start(Device::Desktop, &["--window-size=1280,800"]);
    for (look, language) in ["blue", "green"]
        .into_iter()
        .flat_map(|look| ["de", "en", "es", "fr", "ja", "ro"].map(|language| (look, language)))
    {
        let base = format!("http://{look}.localhost:{}", proxy.address("public").port());
        browser.goto(&format!("{base}/.doorward/preferences?language={language}&back=/"));
        browser.wait_for("[data-reveal]:not([hidden])");
        let below =
            browser.script("return [innerHeight, document.querySelector('.foot').getBoundingClientRect().bottom]");
        let (height, bottom) = (below[0].as_f64().expect("a height"), below[1].as_f64().expect("an edge"));
        assert!(height <= 800.0 && bottom <= height, "{look} {language}: {below}");
        browser.screenshot(artifacts().join(format!("small-{look}-{language}.png")));
    }
}
