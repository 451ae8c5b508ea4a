//! Roundcube 1.6.

use harness::{Client, Request, Response, Stack};

use super::Webmail;

/// Roundcube, and where it is.
pub(super) struct Roundcube {
    pub(super) place: Place,
}

/// Where Roundcube is at its node, and how Doorward is told.
pub(super) enum Place {
    /// At `/`.
    Top,
    /// Below a path, which browsers see too: `root` of the recipe.
    Root,
    /// Below a path, which browsers do not see: `url`, and `request_path` of Roundcube.
    Url,
}

impl Webmail for Roundcube {
    fn name(&self) -> &'static str {
        match self.place {
            Place::Top => "Roundcube",
            Place::Root => "Roundcube, `root`",
            Place::Url => "Roundcube, path in `url`",
        }
    }

    fn backend(&self, stack: &Stack) -> String {
        let node = stack.node("A");
        let (url, root) = match self.place {
            Place::Top => (&node.http, ""),
            Place::Root => (&node.http, "/roundcube"),
            Place::Url => (&node.http_subpath_hidden, ""),
        };
        format!("url = \"{url}\"\nrecipe = \"roundcube\"\nrecipe-settings = {{ root = \"{root}\" }}\n")
    }

    fn home(&self) -> String {
        self.at("")
    }

    fn inbox(&self, browser: &mut Client) -> Option<String> {
        let token = self.token(browser);
        Some(self.ask(browser, "?_task=mail&_action=list&_mbox=INBOX&_remote=1", &token))
    }

    fn message(&self, browser: &mut Client) -> Option<String> {
        let list = self.inbox(browser)?;
        let row = list.split("add_message_row(").find(|row| row.contains("You are on node"))?;
        let uid = row.split(',').next()?;
        Some(browser.get(&self.at(&format!("?_task=mail&_action=show&_mbox=INBOX&_uid={uid}"))).expect(200).text())
    }

    fn draft(&self, browser: &mut Client, text: &str) -> Option<String> {
        let token = self.token(browser);
        let id = self.compose(browser);
        let fields = [
            ("_token", token.as_str()),
            ("_task", "mail"),
            ("_action", "send"),
            ("_id", &id),
            ("_attachments", ""),
            ("_from", "1"),
            ("_to", "nobody@example.test"),
            ("_subject", "a long draft"),
            ("_draft", "1"),
            ("_is_html", "0"),
            ("_framed", "1"),
            ("_message", text),
        ];
        let target = self.at("?_task=mail&_unlock=loading1&_framed=1&_action=send");
        let saved = browser.post_form(&target, &fields).expect(200).text();
        let uid = super::between(&saved, "set_draft_id(\"", "\"").unwrap_or_else(|| panic!("no draft in {saved}"));
        let part = format!("?_task=mail&_action=get&_mbox=Drafts&_uid={uid}&_part=1&_download=1&_token={token}");
        Some(browser.get(&self.at(&part)).expect(200).text())
    }

    fn attachment(&self, browser: &mut Client, file: &[u8]) -> Option<Vec<u8>> {
        let token = self.token(browser);
        let id = self.compose(browser);
        let target = format!("?_task=mail&_action=upload&_id={id}&_uploadid=upload1&_remote=1&_from=compose");
        let body = super::multipart(&[("_token", &token)], ("_attachments[]", file));
        let request = self.request("POST", &target, &token).header("Content-Type", super::MULTIPART).body(body);
        let answer = browser.send(request).expect(200).text();
        let name = answer.split("rcmfile").nth(1)?.split(|c: char| !c.is_ascii_alphanumeric()).next()?;
        let target = format!("?_task=mail&_action=display-attachment&_file=rcmfile{name}&_id={id}");
        Some(browser.get(&self.at(&target)).expect(200).body)
    }

    fn log_out(&self, browser: &mut Client) -> Option<Response> {
        let token = self.token(browser);
        Some(browser.get(&self.at(&format!("?_task=logout&_token={token}"))))
    }

    fn forgotten(&self) -> &'static [(&'static str, &'static str)] {
        &[("roundcube_sessid", "0123456789abcdef0123456789"), ("roundcube_sessauth", "x-1")]
    }

    fn page(&self) -> Option<Request> {
        Some(Request::new("GET", &self.at("?_task=mail")))
    }

    fn script(&self) -> Option<Request> {
        Some(self.request("GET", "?_task=mail&_action=refresh&_remote=1", ""))
    }

    fn phone(&self, phone: &mut Client, desktop: &mut Client) -> Option<String> {
        let skin = |browser: &mut Client| {
            let page = browser.get(&self.at("?_task=mail")).expect(200).text();
            super::between(&page, "\"skin\":\"", "\"").expect("a skin")
        };
        let (phone, desktop) = (skin(phone), skin(desktop));
        assert_ne!(phone, desktop);
        Some(format!("skin {phone}, where a desktop has {desktop}"))
    }
}

impl Roundcube {
    fn at(&self, query: &str) -> String {
        format!("{}{query}", if matches!(self.place, Place::Root) { "/roundcube/" } else { "/" })
    }

    /// The token of the session, which its scripts find in the page.
    fn token(&self, browser: &mut Client) -> String {
        let page = browser.get(&self.at("?_task=mail")).expect(200).text();
        // Where the page's links lead is where browsers see it.
        assert_eq!(
            super::between(&page, "\"comm_path\":\"", "?").map(|path| path.replace('\\', "")),
            Some(self.at(""))
        );
        super::between(&page, "\"request_token\":\"", "\"").unwrap_or_else(|| panic!("no token in {page}"))
    }

    /// Begins a message; its id.
    fn compose(&self, browser: &mut Client) -> String {
        let page = browser.get(&self.at("?_task=mail&_action=compose")).expect(200);
        page.target.split("_id=").nth(1).unwrap_or_else(|| panic!("no id in {}", page.target)).to_owned()
    }

    fn request(&self, method: &str, query: &str, token: &str) -> Request {
        super::rows::as_script(Request::new(method, &self.at(query)))
            .header("X-Requested-With", "XMLHttpRequest")
            .header("X-Roundcube-Request", token)
    }

    fn ask(&self, browser: &mut Client, query: &str, token: &str) -> String {
        browser.send(self.request("GET", query, token)).expect(200).text()
    }
}
