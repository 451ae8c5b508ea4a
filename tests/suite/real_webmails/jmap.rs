//! JMAP of Cyrus 3.6, as its scripts speak it: there are no pages, and no session but Doorward's.

use harness::{Client, Request, Response, Stack};
use serde_json::{Value, json};

use super::Webmail;

pub(super) struct Jmap;

impl Webmail for Jmap {
    fn name(&self) -> &'static str {
        "JMAP (Cyrus)"
    }

    fn services(&self) -> &'static [&'static str] {
        &["cyrus"]
    }

    fn backend(&self, stack: &Stack) -> String {
        format!("url = \"{}\"\nrecipe = \"basic\"\nrecipe-settings = {{ landing = \"/jmap\" }}\n", stack.cyrus())
    }

    fn home(&self) -> String {
        "/jmap".to_owned()
    }

    fn inbox(&self, browser: &mut Client) -> Option<String> {
        let found = json!({"resultOf": "0", "name": "Email/query", "path": "/ids"});
        let get = json!({"#ids": found, "properties": ["subject"]});
        Some(call(browser, &[("Email/query", json!({})), ("Email/get", get)]).to_string())
    }

    fn message(&self, browser: &mut Client) -> Option<String> {
        let found = json!({"resultOf": "0", "name": "Email/query", "path": "/ids"});
        let get = json!({"#ids": found, "properties": ["subject", "bodyValues"], "fetchTextBodyValues": true});
        let answer = call(browser, &[("Email/query", json!({})), ("Email/get", get)]);
        let list = answer[1][1]["list"].as_array()?;
        let message = list.iter().find(|message| message["subject"] == "You are on node A")?;
        Some(message["bodyValues"].to_string())
    }

    fn draft(&self, browser: &mut Client, text: &str) -> Option<String> {
        let id = save(
            browser,
            json!({"textBody": [{"partId": "t", "type": "text/plain"}], "bodyValues": {"t": {"value": text}}}),
        )?;
        let get = json!({"ids": [id], "properties": ["bodyValues"], "fetchTextBodyValues": true});
        let answer = call(browser, &[("Email/get", get)]);
        Some(answer[0][1]["list"][0]["bodyValues"]["1"]["value"].as_str()?.to_owned())
    }

    fn attachment(&self, browser: &mut Client, file: &[u8]) -> Option<Vec<u8>> {
        let account = account(browser);
        let request = Request::new("POST", &format!("/jmap/upload/{account}/"));
        let request = request.header("Content-Type", "application/octet-stream").body(file);
        let blob = send(browser, request).expect(201).json()["blobId"].as_str()?.to_owned();
        let attached = json!([{"blobId": blob, "type": "application/octet-stream", "name": super::FILE}]);
        let id = save(browser, json!({"attachments": attached}))?;
        let answer = call(browser, &[("Email/get", json!({"ids": [id], "properties": ["attachments"]}))]);
        let blob = answer[0][1]["list"][0]["attachments"][0]["blobId"].as_str()?.to_owned();
        let target = format!("/jmap/download/{account}/{blob}/{}?accept=application/octet-stream", super::FILE);
        Some(send(browser, Request::new("GET", &target)).expect(200).body)
    }

    fn log_out(&self, _: &mut Client) -> Option<Response> {
        None
    }

    fn needs_imap(&self) -> bool {
        false
    }

    fn forgotten(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Not one whom others need meanwhile.
    fn forgettable(&self) -> &'static str {
        "erin"
    }

    fn forget(&self, stack: &Stack) {
        stack.cyrus_password("erin", "another");
    }

    fn remember(&self, stack: &Stack) {
        stack.cyrus_password("erin", "erin-secret");
    }

    fn page(&self) -> Option<Request> {
        Some(Request::new("GET", "/jmap"))
    }

    fn script(&self) -> Option<Request> {
        let echo = json!({"using": ["urn:ietf:params:jmap:core"], "methodCalls": [["Core/echo", {}, "0"]]});
        Some(Request::new("POST", "/jmap/").header("Content-Type", "application/json").body(echo.to_string()))
    }
}

/// The account of who is logged in, as the session object has it, which is where RFC 8620 says.
fn account(browser: &mut Client) -> String {
    let session = send(browser, Request::new("GET", "/.well-known/jmap")).expect(200).json();
    assert_eq!(session["apiUrl"], "/jmap/", "{session}");
    session["primaryAccounts"]["urn:ietf:params:jmap:mail"].as_str().expect("an account").to_owned()
}

/// The answers to some calls, for the account of who is logged in.
fn call(browser: &mut Client, calls: &[(&str, Value)]) -> Value {
    let account = account(browser);
    let calls = calls.iter().enumerate().map(|(nth, (name, arguments))| {
        let mut arguments = arguments.clone();
        arguments["accountId"] = Value::from(account.as_str());
        json!([name, arguments, nth.to_string()])
    });
    let using = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"];
    let body = json!({"using": using, "methodCalls": calls.collect::<Vec<_>>()});
    let request = Request::new("POST", "/jmap/").header("Content-Type", "application/json").body(body.to_string());
    send(browser, request).expect(200).json()["methodResponses"].clone()
}

/// Saves a message among the drafts; its id.
fn save(browser: &mut Client, mut message: Value) -> Option<String> {
    let answer = call(browser, &[("Mailbox/get", json!({"properties": ["name"]}))]);
    let mailboxes = answer[0][1]["list"].as_array()?;
    let drafts = mailboxes.iter().find(|mailbox| mailbox["name"] == "Drafts")?["id"].as_str()?.to_owned();
    message["mailboxIds"] = json!({ drafts: true });
    message["keywords"] = json!({"$draft": true});
    message["subject"] = json!("a draft");
    let answer = call(browser, &[("Email/set", json!({"create": {"new": message}}))]);
    let id = answer[0][1]["created"]["new"]["id"].as_str();
    Some(id.unwrap_or_else(|| panic!("not saved: {answer}")).to_owned())
}

fn send(browser: &mut Client, request: Request) -> Response {
    browser.send(super::rows::as_script(request))
}
