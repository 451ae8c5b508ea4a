//! A real SOGo, in front of the stack's directory and IMAP.

use harness::{Client, Proxy, Request, Setup, Stack};

use crate::support::{body_attribute, post_login};

fn start(stack: &Stack, mode: &str) -> Proxy {
    stack.ctl(&["start", "db", "cache", "sogo"]);
    let (dn, password) = stack.service();
    let config = format!(
        "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
         [listener.limits]\nmax-interval-connections = 0\npeer-max-interval-connections = 0\n\
         [directory]\nkind = \"ldap\"\nurls = {:?}\ninsecure = true\nbase = \"{}\"\n\
         bind-dn = \"{dn}\"\nbind-password-file = \"bind.secret\"\n\
         [authentication]\nmode = \"{mode}\"\n[[site]]\nhosts = [\"*\"]\n\
         [[backend]]\nname = \"{}\"\nurl = \"{}\"\nrecipe = \"sogo\"\n",
        stack.ldap(),
        stack.people_dn(),
        stack.node("A").mail_host,
        stack.sogo(),
    );
    Setup::new().file("bind.secret", password).serve(&config)
}

#[test]
fn a_user_reads_mail_in_sogo_and_logs_out() {
    let stack = Stack::start();
    for mode in ["ldap-bind", "back-end"] {
        let proxy = start(stack, mode);
        let mut client = proxy.client();
        let password = &stack.user("alice").password;
        let wrong = post_login(&mut client, "/", "alice", "not this");
        assert_eq!((wrong.status, body_attribute(&wrong.text(), "data-page")), (403, "login".to_owned()));
        let answer = post_login(&mut client, "/", "alice", password).expect(303);
        assert_eq!(answer.header("location"), Some("/SOGo/"));
        let mut browser = client.follow();
        let page = browser.get("/SOGo/").expect(200).text();
        assert!(page.contains("SOGo.MailerUI"), "{mode}: {page}");
        // What its script asks for, with the token that it reads from a cookie.
        let token = browser.cookie("XSRF-TOKEN").expect("a token").to_owned();
        let list = Request::new("POST", "/SOGo/so/alice/Mail/0/folderINBOX/view")
            .header("Content-Type", "application/json")
            .header("X-XSRF-TOKEN", &token)
            .header("Sec-Fetch-Dest", "empty")
            .body(r#"{"sortingAttributes":{"sort":"arrival","asc":0}}"#);
        let list = browser.send(list).expect(200).text();
        assert!(list.contains("You are on node A"), "{list}");
        let page = browser.get("/SOGo/so/alice/logoff").expect(200);
        assert_eq!(body_attribute(&page.text(), "data-page"), "logged-out");
        assert_eq!((browser.cookie("doorward"), browser.cookie("0xHIGHFLYxSOGo")), (None, None));
        assert!(!proxy.log().join("\n").contains(password.as_str()));
    }
}

#[test]
fn a_session_that_sogo_has_forgotten_is_over_here_too() {
    let stack = Stack::start();
    let proxy = start(stack, "ldap-bind");
    let password = &stack.user("alice").password;
    let (mut page, mut script) = (proxy.client(), proxy.client());
    for client in [&mut page, &mut script] {
        post_login(client, "/", "alice", password).expect(303);
    }
    let request =
        Request::new("GET", "/SOGo/so/alice/Mail/view").header("Cookie", &with(&page, "basic%20Zm9yZ290dGVu"));
    assert_eq!(page.send(request).header("location"), Some("/.doorward/login?gone"));
    assert_eq!(page.cookie("doorward"), None);
    let request = Request::new("GET", "/SOGo/so/alice/Mail/mailAccounts").header("Sec-Fetch-Dest", "empty");
    let told = script.send(request.header("Cookie", &with(&script, "basic%20Zm9yZ290dGVu")));
    assert_eq!((told.status, told.json()["login"].as_str()), (401, Some("/")));
}

/// Our session with another one of SOGo.
fn with(client: &Client, theirs: &str) -> String {
    format!("doorward={}; 0xHIGHFLYxSOGo={theirs}", client.cookie("doorward").expect("a session"))
}

#[test]
fn a_logout_at_doorward_is_made_at_sogo() {
    let stack = Stack::start();
    let proxy = start(stack, "ldap-bind");
    let mut client = proxy.client();
    post_login(&mut client, "/", "alice", &stack.user("alice").password).expect(303);
    let theirs = client.cookie("0xHIGHFLYxSOGo").expect("a session of SOGo").to_owned();
    assert_eq!(client.get("/.doorward/logout").header("location"), Some("/SOGo/.doorward/logout"));
    assert_eq!(client.get("/SOGo/.doorward/logout").header("location"), Some("/.doorward/logged-out"));
    // The cookie that somebody kept opens nothing at SOGo either.
    post_login(&mut client, "/", "alice", &stack.user("alice").password).expect(303);
    let request = Request::new("GET", "/SOGo/so/alice/Mail/view").header("Cookie", &with(&client, &theirs));
    assert_eq!(client.send(request).header("location"), Some("/.doorward/login?gone"));
}
