//! Horde 5 with IMP, its dynamic view.

use harness::{Client, Request, Response, Stack};
use serde_json::Value as Json;

use super::Webmail;

/// Horde, and where it is.
pub(super) struct Horde {
    /// Nothing, or `/horde`: Debian's place.
    pub(super) root: &'static str,
}

impl Webmail for Horde {
    fn name(&self) -> &'static str {
        if self.root.is_empty() { "Horde" } else { "Horde at `/horde/`" }
    }

    fn services(&self) -> &'static [&'static str] {
        &["horde"]
    }

    fn backend(&self, stack: &Stack) -> String {
        let (url, root) = match self.root {
            "" => (stack.horde(), ""),
            root => (stack.horde_subpath().trim_end_matches("/horde/"), root),
        };
        format!("url = \"{url}\"\nrecipe = \"horde\"\nrecipe-settings = {{ root = \"{root}\" }}\n")
    }

    fn home(&self) -> String {
        self.at("/services/portal/")
    }

    fn inbox(&self, browser: &mut Client) -> Option<String> {
        let token = self.token(browser);
        Some(self.ajax(browser, "viewPort", &list(INBOX, &token)).to_string())
    }

    fn message(&self, browser: &mut Client) -> Option<String> {
        let token = self.token(browser);
        let fields = [("token", token.as_str()), ("view", INBOX), ("buid", "1")];
        Some(self.ajax(browser, "showMessage", &owned(&fields)).to_string())
    }

    fn draft(&self, browser: &mut Client, text: &str) -> Option<String> {
        let uid = self.save(browser, "a long draft", text, "")?;
        let token = self.token(browser);
        let fields =
            [("token", token.as_str()), ("view", DRAFTS), ("buid", &uid), ("type", "editasnew"), ("imp_compose", "")];
        let resumed = self.ajax(browser, "getResumeData", &owned(&fields));
        resumed["response"]["body"].as_str().map(str::to_owned)
    }

    fn attachment(&self, browser: &mut Client, file: &[u8]) -> Option<Vec<u8>> {
        let token = self.token(browser);
        let fields = [("composeCache", ""), ("token", token.as_str()), ("json_return", "1")];
        let body = super::multipart(&fields, ("file_upload", file));
        let request = self.script_request("addAttachment").header("Content-Type", super::MULTIPART).body(body);
        let added = unguarded(&browser.send(request).expect(200).text());
        let cache = added["tasks"]["imp:compose"]["cacheid"].as_str()?;
        let uid = self.save(browser, "with a file", "see there", cache)?;
        let fields = [("token", token.as_str()), ("view", DRAFTS), ("buid", &uid)];
        let shown = self.ajax(browser, "showMessage", &owned(&fields));
        let link = shown["tasks"]["imp:message"][0]["data"]["atc_list"][0]["download_url"].as_str()?;
        Some(browser.get(link).expect(200).body)
    }

    fn log_out(&self, browser: &mut Client) -> Option<Response> {
        let page = browser.get(&self.at("/services/portal/")).expect(200).text();
        let link = super::between(&page, &format!("href=\"{}", self.at("/login.php?horde_logout_token")), "\"")?;
        Some(browser.get(&self.at(&format!("/login.php?horde_logout_token{}", link.replace("&amp;", "&")))))
    }

    fn forgotten(&self) -> &'static [(&'static str, &'static str)] {
        &[("Horde", "0123456789abcdef0123456789"), ("horde_secret_key", "nothing")]
    }

    fn page(&self) -> Option<Request> {
        Some(Request::new("GET", &self.at("/services/portal/")))
    }

    fn script(&self) -> Option<Request> {
        Some(self.script_request("poll").form(&[("token", "x")]))
    }

    fn phone(&self, phone: &mut Client, desktop: &mut Client) -> Option<String> {
        let leads = |browser: &mut Client| browser.get(&self.at("/imp/")).expect(200).target;
        let (phone, desktop) = (leads(phone), leads(desktop));
        let view =
            |target: &str| super::between(target, "/imp/", ".php").unwrap_or_else(|| panic!("no view in {target}"));
        let (phone, desktop) = (view(&phone), view(&desktop));
        assert_ne!(phone, desktop);
        Some(format!("view {phone}, where a desktop has {desktop}"))
    }
}

impl Horde {
    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.root)
    }

    fn token(&self, browser: &mut Client) -> String {
        let page = browser.get(&self.at("/imp/dynamic.php?page=mailbox")).expect(200).text();
        super::between(&page, "\"TOKEN\":\"", "\"").unwrap_or_else(|| panic!("no token in {page}"))
    }

    fn script_request(&self, action: &str) -> Request {
        let target = self.at(&format!("/services/ajax.php/imp/{action}"));
        super::rows::as_script(Request::new("POST", &target)).header("X-Requested-With", "XMLHttpRequest")
    }

    fn ajax(&self, browser: &mut Client, action: &str, fields: &[(String, String)]) -> Json {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        unguarded(&browser.send(self.script_request(action).form(&fields)).expect(200).text())
    }

    /// Saves a draft; its number in the list of drafts.
    fn save(&self, browser: &mut Client, subject: &str, text: &str, cache: &str) -> Option<String> {
        let token = self.token(browser);
        let to = "nobody@example.test";
        let fields = [
            ("token", token.as_str()),
            ("composeCache", cache),
            ("to", to),
            ("subject", subject),
            ("message", text),
            ("html", "0"),
        ];
        let saved = self.ajax(browser, "saveDraft", &owned(&fields));
        assert_eq!(saved["response"]["success"], 1, "{saved}");
        let drafts = self.ajax(browser, "viewPort", &list(DRAFTS, &token));
        let rows = drafts["tasks"]["imp:viewport"]["data"].as_object()?;
        rows.iter().find(|(_, row)| row["subject"] == subject).map(|(uid, _)| uid.clone())
    }
}

/// How Horde writes mailboxes' names: as Base64 for URLs.
const INBOX: &str = "SU5CT1g";
const DRAFTS: &str = "RHJhZnRz";

fn list(view: &str, token: &str) -> Vec<(String, String)> {
    let port = serde_json::json!({"view": view, "initial": 1, "force": 1, "slice": "1:50"}).to_string();
    owned(&[("token", token), ("view", view), ("viewport", &port)])
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What Horde says to scripts, without the comment around it.
fn unguarded(answer: &str) -> Json {
    let inner = answer.trim().strip_prefix("/*-secure-").and_then(|answer| answer.strip_suffix("*/"));
    serde_json::from_str(inner.unwrap_or(answer)).unwrap_or_else(|error| panic!("{error}: {answer}"))
}
