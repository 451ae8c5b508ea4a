//! The node's interface for the device: by recipe and by header, and the other one for those who ask for it.

use harness::{Answer, Backend, Client, Stack};

use crate::support::{backend, config, post_login, setup};

const PHONE: &str =
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36";
const POLICY: &str = "[[policy]]\nname = \"device-detection\"\nasks = \"device\"\n";

/// Follows the link to the other version that stands on the login page.
fn ask_for(client: &mut Client, view: &str) {
    let page = client.get("/mail?folder=Sent").expect(200).text().replace("&#x2f;", "/").replace("&amp;", "&");
    let start = page.find(&format!("/.doorward/preferences?view={view}")).expect("a link to the other version");
    let link = page[start..].split('"').next().expect("its end");
    assert_eq!(client.get(link).expect(303).header("location"), Some("/mail?folder=Sent"));
}

#[test]
fn a_phone_gets_the_interface_for_phones_until_its_user_asks_for_the_other() {
    let node = Backend::start(|request| match request.what() {
        ("GET", "/login.php") => Answer::html("<form>").header("Set-Cookie", "Horde=h; Path=/"),
        ("POST", "/login.php") => {
            Answer::redirect("/services/portal/").header("Set-Cookie", "horde_secret_key=k; Path=/; HttpOnly")
        }
        _ => Answer::text("portal"),
    });
    let text = config(POLICY, &[]) + &backend("node-a", &node.url(), "").replace("test.toml", "horde");
    let proxy = setup().serve(&text);
    let sent = |client: &mut Client| {
        assert_eq!(post_login(client, "/", "alice", "alice-secret").status, 303);
        client.get("/").expect(200);
        let hits = node.hits();
        let (login, last) = (&hits[hits.len() - 2], &hits[hits.len() - 1]);
        let view = login.text().split('&').find_map(|pair| pair.strip_prefix("horde_select_view=").map(str::to_owned));
        let cookies = last.header("cookie").unwrap_or_default();
        assert!(cookies.contains("Horde=h") && !cookies.contains("doorward"), "{cookies}");
        (view.expect("a view"), last.header("x-doorward-device").expect("a device").to_owned())
    };
    let phone = || proxy.client().header("User-Agent", PHONE);
    let pair = |view: &str, device: &str| (view.to_owned(), device.to_owned());
    assert_eq!(sent(&mut proxy.client()), pair("dynamic", "desktop"));
    assert_eq!(sent(&mut phone()), pair("smartmobile", "mobile"));
    let mut other = phone();
    ask_for(&mut other, "desktop");
    assert_eq!(sent(&mut other), pair("dynamic", "desktop"));
    let mut other = proxy.client();
    ask_for(&mut other, "mobile");
    assert_eq!(sent(&mut other), pair("smartmobile", "mobile"));
}

#[test]
fn a_recipe_that_asks_for_an_interface_names_it() {
    for (recipe, told) in [
        ("", "login.path: found {interface}"),
        ("[interface]\nmobile = \"narrow\"\n", "interface.desktop: found nothing"),
        ("[interface]\ndesktop = \"a\"\nphone = \"b\"\n", "interface.phone"),
    ] {
        let recipe = crate::support::RECIPE.replace("/login", "/login?as={interface}") + recipe;
        let node = Backend::start(|_| Answer::text(""));
        let said = setup().file("test.toml", recipe).refused(&config("", &[("node-a", &node, "")])).stderr;
        assert!(said.contains(told), "{said}");
    }
}

/// Roundcube's login takes no choice: its configuration looks at the header, as that of tests/stack does.
#[test]
fn a_real_roundcube_picks_its_skin_by_the_device() {
    let stack = Stack::own(&[("RS_RC_DESKTOP_SKIN", "larry")]);
    let text = format!(
        "{POLICY}[authentication]\nmode = \"back-end\"\n[directory]\nfile = \"people.ldif\"\n[[site]]\nhosts = [\"*\"]\n\
         [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [[backend]]\nname = \"node-a\"\nurl = \"{}\"\nrecipe = \"roundcube\"\n",
        stack.node("A").http
    );
    let proxy = setup().serve(&text);
    let skin = |client: &mut Client| {
        assert_eq!(post_login(client, "/", "alice", "alice-secret").status, 303);
        let page = client.get("/?_task=mail").expect(200).text();
        let skin = page.split("\"skin\":\"").nth(1).and_then(|rest| rest.split('"').next());
        skin.expect("a skin").to_owned()
    };
    assert_eq!(skin(&mut proxy.client()), "larry");
    assert_eq!(skin(&mut proxy.client().header("User-Agent", PHONE)), "elastic");
    let mut other = proxy.client().header("User-Agent", PHONE);
    ask_for(&mut other, "desktop");
    assert_eq!(skin(&mut other), "larry");
}
