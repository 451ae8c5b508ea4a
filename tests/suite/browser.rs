//! A real browser, at desktop and phone size: what a person sees, with screenshots kept as artifacts.

use std::path::PathBuf;

use harness::{Browser, Demo, Device, Proxy, Setup, Stack, artifacts};

fn log_in(browser: &Browser, user: &str, password: &str) {
    browser.fill("input[name=username]", user);
    browser.fill("input[name=password]", password);
    browser.click("button[type=submit]");
}

fn shot(browser: &Browser, name: &str) {
    browser.screenshot(artifacts().join(format!("{name}.png")));
}

fn file_of(folder: &tempfile::TempDir, size: usize) -> PathBuf {
    let path = folder.path().join("photo.bin");
    let bytes: Vec<u8> = (0..size).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&path, bytes).expect("a file");
    path
}

#[test]
fn a_person_works_in_the_demo_at_a_desk_and_on_a_phone() {
    let demo = Demo::start();
    for (device, browser) in [("desktop", Browser::desktop()), ("phone", Browser::phone())] {
        let variant = if device == "phone" { "mobile" } else { "desktop" };
        for site in demo.sites() {
            browser.goto(&demo.url_of(&site.host));
            assert_eq!(browser.attr("body", "data-look").as_deref(), Some(site.template.as_str()));
            assert_eq!(browser.attr("body", "data-variant").as_deref(), Some(variant));
            shot(&browser, &format!("demo-{device}-{}", site.template));
            log_in(&browser, "alice", "not her password");
            browser.wait_for("[role=alert]");
            assert_eq!(browser.prop("input[name=username]", "value").as_deref(), Some("alice"));
            assert_eq!(browser.prop("input[name=password]", "value").as_deref(), Some(""));
            shot(&browser, &format!("demo-{device}-{}-wrong", site.template));
        }
        for user in demo.users() {
            browser.goto(&demo.url_of("blue.localhost"));
            log_in(&browser, &user.name, &user.password);
            match &user.node {
                Some(node) => {
                    browser.wait_for(&format!("body[data-node='{node}'][data-user='{}']", user.name));
                    shot(&browser, &format!("demo-{device}-inbox-{node}"));
                    browser.click("form[action='/logout'] button");
                }
                None => browser.wait_for("[role=alert]"),
            }
            browser.wait_for("input[name=password]");
        }
    }
}

#[test]
fn an_upload_arrives_as_it_was_and_a_logout_is_one() {
    let (demo, browser, folder) = (Demo::start(), Browser::desktop(), harness::temp_dir());
    let file = file_of(&folder, 10 << 20);
    let sum = harness::hex(&<sha2::Sha256 as sha2::Digest>::digest(std::fs::read(&file).expect("the file")));
    browser.goto(&format!("{}compose", demo.url_of("green.localhost")));
    log_in(&browser, "bob", "bob-demo");
    browser.wait_for("input[type=file]");
    browser.upload("input[type=file]", &file);
    browser.click("form[enctype='multipart/form-data'] button");
    browser.wait_for("#upload-sha256");
    assert_eq!(browser.text("#upload-sha256").trim(), sum);
    shot(&browser, "demo-desktop-upload");
    browser.goto(&format!("{}inbox", demo.url_of("green.localhost")));
    browser.click("form[action='/logout'] button");
    browser.wait_for("body[data-page=logged-out]");
    browser.goto(&format!("{}inbox", demo.url_of("green.localhost")));
    browser.wait_for("body[data-page=login]");
}

/// One person's way, from the login to the login after the logout. When a session ends by itself, see `accessibility`.
fn a_day(looks: &[(String, String)], device: Device, scheme: &str, file: &std::path::Path) {
    let flag = format!("--blink-settings=preferredColorScheme={}", u8::from(scheme == "light"));
    let browser = Browser::start(device, &[&flag]);
    for (look, base) in looks {
        let name = format!("day-{look}-{device:?}-{scheme}").to_lowercase();
        browser.goto(base);
        log_in(&browser, "alice", "alice-demo");
        browser.wait_for("body[data-user=alice]");
        browser.click("a[href^='/message/']");
        browser.wait_for("body[data-user=alice]:not([data-page=inbox])");
        assert!(browser.url().contains("/message/"), "{}", browser.url());
        browser.goto(&format!("{base}compose"));
        browser.upload("input[type=file]", file);
        browser.click("form[enctype='multipart/form-data'] button");
        browser.wait_for("#upload-sha256");
        shot(&browser, &format!("{name}-sent"));
        browser.click("form[action='/logout'] button");
        browser.wait_for("body[data-page=logged-out]");
        assert_eq!(browser.attr("body", "data-look").as_deref(), Some(look.as_str()));
        shot(&browser, &format!("{name}-goodbye"));
        log_in(&browser, "alice", "alice-demo");
        browser.wait_for("body[data-user=alice]");
        browser.click("form[action='/logout'] button");
        browser.wait_for("body[data-page=logged-out]");
    }
}

#[test]
fn a_day_in_each_look_light_and_dark_at_a_desk_and_on_a_phone() {
    let (demo, folder) = (Demo::start(), harness::temp_dir());
    let file = file_of(&folder, 64 << 10);
    let looks: Vec<_> = demo.sites().iter().map(|site| (site.template.clone(), demo.url_of(&site.host))).collect();
    for device in [Device::Desktop, Device::Phone] {
        std::thread::scope(|scope| {
            for scheme in ["light", "dark"] {
                let (looks, file) = (&looks, &file);
                scope.spawn(move || a_day(looks, device, scheme, file));
            }
        });
    }
}

fn roundcube(stack: &Stack) -> Proxy {
    let (dn, password) = stack.service();
    let mut text = format!(
        "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [listener.limits]\nmax-interval-connections = 0\npeer-max-interval-connections = 0\n\
         [directory]\nkind = \"ldap\"\nurls = {:?}\nca = \"{}\"\nbase = \"{}\"\nbind-dn = \"{dn}\"\n\
         bind-password-file = \"bind.secret\"\n[[site]]\nhosts = [\"*\"]\n\
         [[policy]]\nname = \"device-detection\"\nasks = \"device\"\n",
        stack.ldaps(),
        stack.ca().display(),
        stack.people_dn(),
    );
    for name in ["A", "B"] {
        let node = stack.node(name);
        let (name, url) = (&node.mail_host, &node.http);
        text.push_str(&format!("[[backend]]\nname = \"{name}\"\nurl = \"{url}\"\nrecipe = \"roundcube\"\n"));
    }
    Setup::new().file("bind.secret", password).serve(&text)
}

/// Dovecot may be about to make a new mailbox when Roundcube first looks at it, which then shows an empty list. A person
/// would look again.
fn wait_for_mail(browser: &Browser) {
    browser.wait_for("#messagelist");
    for _ in 0..20 {
        browser.wait_for("#messagelist tbody tr, .listing-info:not(.hidden)");
        if browser.count("#messagelist tbody tr") > 0 {
            return;
        }
        browser.script("location.reload()");
    }
    panic!("the list stays empty: {}", browser.source());
}

#[test]
fn a_person_reads_real_mail_at_a_desk_and_on_a_phone() {
    // Its own: two first logins of one person at a time, here and in another test, make Roundcube show an empty list.
    let stack = Stack::own(&[]);
    let proxy = roundcube(&stack);
    let base = format!("http://localhost:{}/", proxy.address("public").port());
    for (device, browser) in [("desktop", Browser::desktop()), ("phone", Browser::phone())] {
        for (user, node) in [("alice", "A"), ("zoë", "B")] {
            browser.goto(&base);
            log_in(&browser, user, &format!("{user}-secret"));
            wait_for_mail(&browser);
            assert!(browser.source().contains(&format!("You are on node {node}")), "{user}");
            shot(&browser, &format!("roundcube-{device}-{node}"));
            // Its own logout link, with the token that its script adds.
            browser.script("rcmail.command('switch-task', 'logout')");
            browser.wait_for("body[data-page=logged-out]");
            browser.goto(&base);
            browser.wait_for("body[data-page=login]");
        }
    }
}

/// What somebody else may have chosen, on every page that shows it: an element would be there, or the name changed.
#[test]
fn nothing_that_is_shown_becomes_markup() {
    let node = harness::Backend::start(|_| harness::Answer::text("no").status(401));
    let title = "\"><script>window.pwned = 1</script>'";
    let text = format!(
        "{}[[site]]\nhosts = [\"blue.localhost\"]\ntitle = '''{title}'''\n\
         [[site]]\nhosts = [\"green.localhost\"]\ntemplate = \"green\"\ntitle = '''{title}'''\n",
        crate::support::config("", &[]) + &crate::support::backend("node-a", &node.url(), "")
    );
    let proxy = crate::support::setup().serve(&text);
    let browser = Browser::desktop();
    let long = "<b>'\"&".repeat(683);
    let names = [title, "' autofocus onfocus='window.pwned = 1", "<img src=x onerror=window.pwned=1>", &long];
    let clean = |what: &str| {
        let made =
            "return [typeof window.pwned, document.querySelectorAll('script, img[onerror], b, [onfocus]').length]";
        assert_eq!(browser.script(made), serde_json::json!(["undefined", 0]), "{what}: {}", browser.source());
        assert!(browser.title().contains(title), "{what}: {}", browser.title());
    };
    for look in ["blue", "green"] {
        let base = format!("http://{look}.localhost:{}", proxy.address("public").port());
        for name in names {
            browser.goto(&format!("{base}/mail?to=\"><script>window.pwned=1</script>'"));
            clean("where the login leads to");
            browser.script(&format!(
                "username.value = {}; password.value = 'x'; username.form.requestSubmit()",
                serde_json::Value::from(name)
            ));
            browser.wait_for("[role=alert]");
            assert_eq!(browser.prop("#username", "value").as_deref(), Some(name));
            clean(name);
        }
        browser.goto(&format!("{base}/.doorward/\"><script>window.pwned=1</script>"));
        browser.wait_for("body[data-page=error]");
        clean("an error page");
    }
}

/// Webmails of one page keep the place in the fragment, which no server sees: it is there again after the login, also after
/// a wrong password, and whatever it is made of stays text.
#[test]
fn the_fragment_of_a_link_is_there_again_after_the_login() {
    let demo = Demo::start();
    let user = demo.users().iter().find(|user| user.node.is_some()).expect("a user with a node");
    for (fragment, browser) in
        [("#!/Mail/0/INBOX/7", Browser::desktop()), ("#'><script>pwned=1</script>", Browser::phone())]
    {
        browser.goto(&format!("{}?folder=x{fragment}", demo.url_of("green.localhost")));
        log_in(&browser, &user.name, "not the password");
        browser.wait_for("[role=alert]");
        log_in(&browser, &user.name, &user.password);
        browser.wait_for("body[data-node]");
        let place = browser.script("return [decodeURI(location.hash), typeof window.pwned]");
        assert_eq!(place, serde_json::json!([fragment, "undefined"]));
    }
}

/// A host that is not ours, and a path that has two meanings, are answered in a look and a language.
#[test]
fn a_stranger_sees_a_page_that_looks_like_the_others() {
    let sites =
        "[[site]]\nhosts = [\"blue.localhost\"]\n[[site]]\nhosts = [\"green.localhost\"]\ntemplate = \"green\"\n";
    let node = harness::Backend::start(|_| harness::Answer::text("no"));
    let text = crate::support::config("", &[]) + &crate::support::backend("node-a", &node.url(), "") + sites;
    let proxy = crate::support::setup().serve(&text);
    let port = proxy.address("public").port();
    for (device, browser) in [("desktop", Browser::desktop()), ("phone", Browser::phone())] {
        for (name, url) in [("unknown-host", "nobody.localhost"), ("bad-path", "green.localhost")] {
            browser.goto(&format!("http://{url}:{port}/a%2fb"));
            browser.wait_for("body[data-page=error][data-look]");
            assert_eq!(browser.script("return document.documentElement.scrollWidth <= innerWidth"), true, "{name}");
            shot(&browser, &format!("stranger-{device}-{name}"));
        }
    }
}
