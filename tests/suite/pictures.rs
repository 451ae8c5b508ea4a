//! The pictures of the README, and what they show: `tests/pictures` makes them anew. Pixels differ from machine to machine; what
//! can be read on a page does not, and stands beside each picture.

use std::path::{Path, PathBuf};

use harness::{Answer, Browser, Demo, Device, Proxy, artifacts};

use crate::support::{config, setup, webmail};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures")
}

/// Whether they are made, or only compared.
fn makes() -> bool {
    std::env::var_os("DOORWARD_PICTURES").is_some()
}

/// The parts of a login page that have words.
const LOGIN: &str = "h1, label, button, form a, nav a, main > p, .links a, .announcement";
/// Those of the operator's page that are there whatever happens: what is wrong is another thing on each machine.
const OPERATOR: &str = "nav a, h1, h2, button";

/// What can be read on a page, in order, without numbers, which change: its parts and their words.
const OUTLINE: &str = "\
    const words = e => (e.innerText || '').trim().replace(/\\s+/g, ' ').replace(/\\d+/g, '0');\
    return [...document.querySelectorAll('PARTS')].filter(e => e.checkVisibility())\
      .map(e => e.localName + ' ' + words(e)).filter((line, at, all) => all.indexOf(line) === at).join('\\n') + '\\n'";

/// The picture in a width that a README has room for, in WebP.
fn shrunk(browser: &Browser, png: &[u8], width: u32) -> Vec<u8> {
    browser.goto("about:blank");
    let made = browser.script(&format!(
        "const bytes = Uint8Array.from('{}'.match(/../g), pair => parseInt(pair, 16)); \
         return createImageBitmap(new Blob([bytes])).then(image => {{ \
         const canvas = document.createElement('canvas'); canvas.width = {width}; \
         canvas.height = Math.round(image.height * {width} / image.width); const context = canvas.getContext('2d'); \
         context.imageSmoothingQuality = 'high'; context.drawImage(image, 0, 0, canvas.width, canvas.height); \
         return new Promise(done => canvas.toBlob(done, 'image/webp', 0.85)) }}) \
         .then(blob => blob.arrayBuffer()).then(bytes => Array.from(new Uint8Array(bytes)))",
        harness::hex(png)
    ));
    let bytes = made.as_array().expect("a picture").iter();
    bytes.map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()).expect("a byte")).collect()
}

/// Makes the picture of the page that a browser shows, or compares what it shows with what the picture does.
fn picture(browser: &Browser, (name, parts): (&str, &str), width: u32) {
    let outline = browser.script(&OUTLINE.replace("PARTS", parts)).as_str().expect("an outline").to_owned();
    let (image, text) = (folder().join(format!("{name}.webp")), folder().join(format!("{name}.txt")));
    if makes() {
        browser.screenshot(artifacts().join(format!("picture-{name}.png")));
        let png = std::fs::read(artifacts().join(format!("picture-{name}.png"))).expect("a screenshot");
        std::fs::create_dir_all(folder()).expect("a folder");
        std::fs::write(&image, shrunk(browser, &png, width)).expect("a picture");
        std::fs::write(&text, &outline).expect("an outline");
    }
    let bytes = std::fs::read(&image).unwrap_or_else(|error| panic!("{}: {error}: tests/pictures", image.display()));
    assert!(bytes.starts_with(b"RIFF") && bytes.len() < 200 << 10, "{}: {} bytes", image.display(), bytes.len());
    let shown = std::fs::read_to_string(&text).unwrap_or_default();
    assert_eq!(shown, outline, "{name} shows something else by now: run tests/pictures, and look at docs/pictures");
}

fn front_door(node: &harness::Backend) -> Proxy {
    let text = config("[[policy]]\nname = \"device-detection\"\nasks = \"device\"\n", &[("node-a", node, "")]);
    let site = "hosts = [\"mail.example.test\"]\ntitle = \"Example Mail\"\n\
        links = [ { text = \"forgot_password\", url = \"https://password.example.test/\" } ]\n\
        [[site]]\nhosts = [\"mail.school.test\"]\ntemplate = \"green\"\ntitle = \"School Mail\"\n\
        links = [ { text = \"forgot_password\", url = \"https://password.school.test/\" } ]";
    setup().serve(&text.replace("hosts = [\"*\"]", site))
}

#[test]
fn the_login_page_at_a_desk_and_on_a_phone() {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = front_door(&node);
    let port = proxy.address("public").port();
    for (device, host, name, width) in [
        (Device::Desktop, "mail.example.test", "login-desk", 960),
        (Device::Phone, "mail.school.test", "login-phone", 390),
    ] {
        let browser = Browser::start(device, &["--blink-settings=preferredColorScheme=1"]);
        browser.goto(&format!("http://{host}:{port}/"));
        browser.wait_for("[data-reveal]:not([hidden])");
        picture(&browser, (name, LOGIN), width);
    }
}

#[test]
fn the_operator_s_page() {
    let demo = Demo::start();
    let admin = demo.admin();
    let browser = Browser::start(Device::Desktop, &["--blink-settings=preferredColorScheme=1"]);
    browser.goto(&admin.url);
    browser.fill("input[name=name]", admin.name.as_deref().expect("an account"));
    browser.fill("input[name=password]", admin.password.as_deref().expect("a password"));
    browser.click("form button");
    browser.wait_for("body[data-page=overview]");
    // What it shows when somebody has been there.
    for user in demo.users().iter().filter(|user| user.node.is_some()) {
        demo.client().host("blue.localhost").follow().login(&user.name, &user.password);
    }
    browser.goto(&admin.url);
    browser.wait_for("body[data-page=overview]");
    picture(&browser, ("operator", OPERATOR), 960);
}

/// Each picture is in a document, and the documents show none that nobody makes.
#[test]
fn the_readme_shows_each_picture() {
    let readme = crate::documents::document("README.md");
    let mut pictures = 0;
    for entry in std::fs::read_dir(folder()).expect("the pictures") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if name.ends_with(".webp") {
            assert!(readme.contains(&format!("docs/pictures/{name}")), "{name} is not in the README");
            pictures += 1;
        }
    }
    let shown: Vec<&str> = readme.split("docs/pictures/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(shown.len(), pictures, "{shown:?}");
    for name in shown {
        assert!(folder().join(name).exists(), "{name}");
    }
}
