//! Calendars: DAV of Cyrus 3.6, and Radicale 3. There is mail neither way; an event stands for the message.

use harness::{Client, Request, Response, Stack};

use super::Webmail;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dav {
    Cyrus,
    Radicale,
}

impl Webmail for Dav {
    fn name(&self) -> &'static str {
        match self {
            Self::Cyrus => "DAV (Cyrus)",
            Self::Radicale => "DAV (Radicale)",
        }
    }

    fn services(&self) -> &'static [&'static str] {
        match self {
            // It runs for JMAP already.
            Self::Cyrus => &[],
            Self::Radicale => &["radicale"],
        }
    }

    fn backend(&self, stack: &Stack) -> String {
        let (url, settings) = match self {
            Self::Cyrus => {
                (stack.cyrus(), "path = \"/dav/principals/\", landing = \"/dav/calendars/user/{user}/Default/\"")
            }
            Self::Radicale => (stack.radicale(), "path = \"/\", landing = \"/.web/\""),
        };
        format!("url = \"{url}\"\nrecipe = \"basic\"\nrecipe-settings = {{ {settings} }}\n")
    }

    fn home(&self) -> String {
        match self {
            Self::Cyrus => "/dav/calendars/user/alice/Default/".to_owned(),
            Self::Radicale => "/.web/".to_owned(),
        }
    }

    fn inbox(&self, browser: &mut Client) -> Option<String> {
        let calendar = self.calendar(browser);
        let answer = browser.send(super::rows::as_script(self.query(&calendar)));
        assert_eq!(answer.status, 207, "{answer:?}");
        Some(answer.text())
    }

    fn message(&self, browser: &mut Client) -> Option<String> {
        let calendar = self.calendar(browser);
        Some(browser.get(&format!("{calendar}hello.ics")).expect(200).text())
    }

    fn draft(&self, browser: &mut Client, text: &str) -> Option<String> {
        let event = format!("{}long.ics", self.calendar(browser));
        // Lines are folded and line ends in them escaped (RFC 5545, sections 3.1 and 3.3.11).
        let line = format!("DESCRIPTION:{}", text.replace('\n', "\\n"));
        let folded: Vec<&str> = line.as_bytes().chunks(70).filter_map(|part| std::str::from_utf8(part).ok()).collect();
        let body = format!(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//doorward//tests//EN\r\nBEGIN:VEVENT\r\nUID:long@example.test\r\n\
             DTSTAMP:20260115T120000Z\r\nDTSTART:20260116T120000Z\r\nDTEND:20260116T130000Z\r\nSUMMARY:a long event\r\n\
             {}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
            folded.join("\r\n ")
        );
        let put = Request::new("PUT", &event).header("Content-Type", "text/calendar").body(body);
        let saved = browser.send(super::rows::as_script(put));
        assert!(matches!(saved.status, 201 | 204), "{saved:?}");
        let back = browser.get(&event).expect(200).text().replace("\r\n ", "");
        Some(super::between(&back, "DESCRIPTION:", "\r\n")?.replace("\\n", "\n"))
    }

    fn attachment(&self, _: &mut Client, _: &[u8]) -> Option<Vec<u8>> {
        None
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
        "grace"
    }

    fn forget(&self, stack: &Stack) {
        self.set_password(stack, "another");
    }

    fn remember(&self, stack: &Stack) {
        self.set_password(stack, "grace-secret");
    }

    fn page(&self) -> Option<Request> {
        Some(Request::new("GET", &format!("{}hello.ics", self.calendar_of("grace"))))
    }

    fn script(&self) -> Option<Request> {
        Some(self.query(&self.calendar_of("grace")))
    }
}

impl Dav {
    fn set_password(self, stack: &Stack, password: &str) {
        match self {
            Self::Cyrus => stack.cyrus_password("grace", password),
            Self::Radicale => stack.radicale_password("grace", password),
        }
    }

    fn calendar_of(self, name: &str) -> String {
        match self {
            Self::Cyrus => format!("/dav/calendars/user/{name}/Default/"),
            Self::Radicale => format!("/{name}/calendar/"),
        }
    }

    /// The calendar of who is logged in, whom the server names (RFC 5397).
    fn calendar(self, browser: &mut Client) -> String {
        let root = if self == Self::Cyrus { "/dav/principals/" } else { "/" };
        let asked = "<propfind xmlns=\"DAV:\"><prop><current-user-principal/></prop></propfind>";
        let request =
            Request::new("PROPFIND", root).header("Depth", "0").header("Content-Type", "text/xml").body(asked);
        let answer = browser.send(super::rows::as_script(request));
        assert_eq!(answer.status, 207, "{answer:?}");
        let text = answer.text();
        let (_, principal) = text.split_once("current-user-principal>").expect("a principal");
        let principal = super::between(principal, "href>", "</").expect("its address");
        let name = principal.trim_end_matches('/').rsplit('/').next().expect("a name");
        self.calendar_of(name)
    }

    fn query(self, calendar: &str) -> Request {
        let asked = "<C:calendar-query xmlns=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\"><prop><C:calendar-data/>\
                     </prop><C:filter><C:comp-filter name=\"VCALENDAR\"/></C:filter></C:calendar-query>";
        Request::new("REPORT", calendar).header("Depth", "1").header("Content-Type", "text/xml").body(asked)
    }
}
