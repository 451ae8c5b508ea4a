//! sqwebmail of Courier 1.0, set up as docs/recipes.md says: it sets no cookies, and has its session in its paths.

use std::sync::Mutex;

use harness::{Client, Form, Request, Response, Stack};

use super::Webmail;

/// It knows where the last login led: there the session is.
#[derive(Default)]
pub(super) struct Sqwebmail {
    path: Mutex<String>,
}

impl Webmail for Sqwebmail {
    fn name(&self) -> &'static str {
        "sqwebmail"
    }

    fn services(&self) -> &'static [&'static str] {
        &["sqauth", "sqmail", "sqweb"]
    }

    fn backend(&self, stack: &Stack) -> String {
        format!("url = \"{}\"\n{}", stack.sqwebmail(), crate::forms::documented("sqwebmail"))
    }

    fn home(&self) -> String {
        "/cgi-bin/sqwebmail/login/alice/SESSION/TIME".to_owned()
    }

    fn place(&self, landing: &str) -> String {
        let path = landing.split('?').next().unwrap_or_default();
        if !path.contains("/sqwebmail/login/") {
            return path.to_owned();
        }
        path.clone_into(&mut self.path.lock().expect("a path"));
        let user = path.rsplitn(3, '/').last().unwrap_or_default();
        format!("{user}/SESSION/TIME")
    }

    fn inbox(&self, browser: &mut Client) -> Option<String> {
        // Its first page, which takes in what is new.
        browser.get(&self.at("folder=INBOX&form=folders")).expect(200);
        Some(browser.get(&self.at("folder=INBOX&form=folder")).expect(200).text().replace("&nbsp;", " "))
    }

    fn message(&self, browser: &mut Client) -> Option<String> {
        self.inbox(browser)?;
        Some(browser.get(&self.at("folder=INBOX&form=readmsg&pos=0")).expect(200).text())
    }

    fn draft(&self, browser: &mut Client, text: &str) -> Option<String> {
        let page = browser.get(&self.at("folder=INBOX&newmsg=1&form=newmsg")).expect(200).text();
        let fields = [("headersubject", "a long draft"), ("message", text), ("savedraft", "Save Draft")];
        self.send(browser, &form(&page), &fields).expect(200);
        let page = self.open_draft(browser)?;
        Some(super::between(page.split_once("<textarea")?.1, ">", "</textarea>")?.trim_start().to_owned())
    }

    fn attachment(&self, browser: &mut Client, file: &[u8]) -> Option<Vec<u8>> {
        let page = self.open_draft(browser)?;
        let page = self.send(browser, &form(&page), &[("doattachments", "Add/Remove")]).expect(200).text();
        let form = form(&page);
        let mut fields: Vec<(&str, &str)> = hidden(&form);
        fields.push(("upload", "Upload"));
        let body = super::multipart(&fields, ("uploadfile", file));
        let request = Request::new("POST", &self.path()).header("Content-Type", super::MULTIPART).body(body);
        let page = browser.send(request).expect(200).text();
        // It is saved with the draft, and read where messages are read.
        self.send(browser, &self::form(&page), &[("savedraft", "Save Draft")]).expect(200);
        let page = browser.get(&self.at("folder=INBOX.Drafts&form=readmsg&pos=0")).expect(200).text();
        let link = page.split("href=\"").find(|link| link.contains("mimeid=") && link.contains("download=1"))?;
        let link = link.split('"').next()?.replace("&amp;", "&");
        Some(browser.get(&link[link.find("/cgi-bin")?..]).expect(200).body)
    }

    fn log_out(&self, browser: &mut Client) -> Option<Response> {
        Some(browser.get(&self.at("folder=INBOX&form=logout")))
    }

    fn needs_imap(&self) -> bool {
        false
    }

    fn forgotten(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// It keeps one session for each user: that of the last login.
    fn forget(&self, stack: &Stack) {
        let to = stack.sqwebmail().trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
        let fields = [("username", super::FIRST), ("password", "alice-secret"), ("do.login", "Login")];
        Client::new(to).post_form("/cgi-bin/sqwebmail", &fields).expect(303);
    }

    fn knows(&self, stack: &Stack) -> Option<bool> {
        let to = stack.sqwebmail().trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
        let page = Client::new(to).get(&self.at("folder=INBOX&form=folder")).expect(200).text();
        Some(!page.contains("Expired Login"))
    }

    fn page(&self) -> Option<Request> {
        Some(Request::new("GET", &self.at("folder=INBOX&form=folder")))
    }

    fn script(&self) -> Option<Request> {
        Some(Request::new("GET", &self.at("folder=INBOX&form=folders")))
    }
}

impl Sqwebmail {
    fn path(&self) -> String {
        self.path.lock().expect("a path").clone()
    }

    fn at(&self, query: &str) -> String {
        format!("{}?{query}", self.path())
    }

    /// Sends a form with some of its fields filled in, one of which is the button.
    fn send(&self, browser: &mut Client, form: &Form, filled: &[(&str, &str)]) -> Response {
        let fields = hidden(form).into_iter().filter(|(name, _)| !filled.iter().any(|(other, _)| other == name));
        let fields: Vec<(&str, &str)> = fields.chain(filled.iter().copied()).collect();
        browser.post_form(&self.path(), &fields)
    }

    fn open_draft(&self, browser: &mut Client) -> Option<String> {
        let page = browser.get(&self.at("folder=INBOX.Drafts&form=folder")).expect(200).text();
        let link = page.split("href=\"").find(|link| link.contains("form=open-draft"))?;
        let query = link.split('"').next()?.split_once('?')?.1.replace("&amp;", "&");
        Some(browser.get(&self.at(&query)).expect(200).text())
    }
}

/// The form of a page of its.
fn form(page: &str) -> Form {
    harness::forms(page).into_iter().next_back().unwrap_or_else(|| panic!("no form in {page}"))
}

/// What a form sends whatever is pressed.
fn hidden(form: &Form) -> Vec<(&str, &str)> {
    let sent = form.fields.iter().filter(|field| matches!(field.kind.as_str(), "hidden" | "text"));
    sent.map(|field| (field.name.as_str(), field.value.as_str())).collect()
}
