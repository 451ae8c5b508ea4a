//! SOGo 5.

use harness::{Client, Request, Response, Stack};

use super::Webmail;

pub(super) struct Sogo;

const JSON: &str = "application/json";

impl Webmail for Sogo {
    fn name(&self) -> &'static str {
        "SOGo"
    }

    fn services(&self) -> &'static [&'static str] {
        &["db", "cache", "sogo"]
    }

    fn backend(&self, stack: &Stack) -> String {
        format!("url = \"{}\"\nrecipe = \"sogo\"\n", stack.sogo())
    }

    fn home(&self) -> String {
        "/SOGo/".to_owned()
    }

    fn inbox(&self, browser: &mut Client) -> Option<String> {
        let body = r#"{"sortingAttributes":{"sort":"arrival","asc":0}}"#;
        Some(post(browser, "/Mail/0/folderINBOX/view", JSON, body).text())
    }

    fn message(&self, browser: &mut Client) -> Option<String> {
        let list: serde_json::Value = serde_json::from_str(&self.inbox(browser)?).ok()?;
        let uid = list["uids"][0].as_u64()?;
        Some(get(browser, &format!("/Mail/0/folderINBOX/{uid}/view")).text())
    }

    fn draft(&self, browser: &mut Client, text: &str) -> Option<String> {
        let id = get(browser, "/Mail/0/compose").json()["draftId"].as_str()?.to_owned();
        let body = serde_json::json!({"to": ["nobody@example.test"], "subject": "a draft", "text": text, "isHTML": 0});
        let saved = post(browser, &format!("/Mail/0/folderDrafts/{id}/save"), JSON, body.to_string()).json();
        let uid = saved["uid"].as_str()?.to_owned();
        let view = get(browser, &format!("/Mail/0/folderDrafts/{uid}/view")).json();
        let page = view["parts"]["content"].as_str()?;
        let inner = super::between(page, ">", "</div>")?;
        Some(inner.replace("<br />", "\n"))
    }

    fn attachment(&self, browser: &mut Client, file: &[u8]) -> Option<Vec<u8>> {
        let id = get(browser, "/Mail/0/compose").json()["draftId"].as_str()?.to_owned();
        let body = super::multipart(&[], ("attachments", file));
        let saved = post(browser, &format!("/Mail/0/folderDrafts/{id}/save"), super::MULTIPART, body).json();
        let (uid, part) = (saved["uid"].as_str()?, saved["lastAttachmentAttrs"][0]["path"].as_str()?);
        let path = format!("/Mail/0/folderDrafts/{uid}/{part}/{}", super::FILE);
        Some(get(browser, &path).body)
    }

    fn log_out(&self, browser: &mut Client) -> Option<Response> {
        let target = own(browser, "/logoff");
        Some(browser.get(&target))
    }

    fn needs_imap(&self) -> bool {
        false // it asks its directory
    }

    fn forgotten(&self) -> &'static [(&'static str, &'static str)] {
        &[("0xHIGHFLYxSOGo", "basic%20Zm9yZ290dGVu")]
    }

    fn page(&self) -> Option<Request> {
        Some(Request::new("GET", "/SOGo/so/alice/Mail/view"))
    }

    fn script(&self) -> Option<Request> {
        Some(Request::new("GET", "/SOGo/so/alice/Mail/mailAccounts"))
    }
}

/// A path below the user's own, which SOGo leads to.
fn own(browser: &mut Client, path: &str) -> String {
    let page = browser.get("/SOGo/").expect(200);
    let user = super::between(&page.target, "/SOGo/so/", "/").unwrap_or_else(|| panic!("no user in {}", page.target));
    format!("/SOGo/so/{user}{path}")
}

/// What its scripts ask for and send, with the token that they read from a cookie.
fn get(browser: &mut Client, path: &str) -> Response {
    ask(browser, "GET", path, |request| request)
}

fn post(browser: &mut Client, path: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Response {
    ask(browser, "POST", path, |request| request.header("Content-Type", media_type).body(body))
}

fn ask(browser: &mut Client, method: &str, path: &str, with: impl FnOnce(Request) -> Request) -> Response {
    let target = own(browser, path);
    let token = browser.cookie("XSRF-TOKEN").expect("a token").to_owned();
    let request = super::rows::as_script(Request::new(method, &target)).header("X-XSRF-TOKEN", &token);
    let answer = browser.send(with(request));
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    answer
}
