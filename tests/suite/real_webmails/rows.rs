//! The rows: what is tried with every webmail. Each fails where what happens is wrong, and otherwise says what was seen in
//! the words of the table.

use harness::{Client, Request, Response};

use super::{Bench, FIRST, SECOND};
use crate::support::body_attribute;

/// One row: what a webmail shows of it, or nothing where it has no such thing.
pub(super) type Row = fn(&Bench<'_>) -> Option<String>;

/// A browser on a phone, which the policy for devices knows.
const PHONE: &str =
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36";

/// All rows that need IMAP, in the order of the table.
pub(super) const ROWS: [(&str, Row); 12] = [
    ("right password", right_password),
    ("wrong password", wrong_password),
    ("inbox", inbox),
    ("a message", message),
    ("a draft of 300 KB", draft),
    ("an attachment of 5 MB", attachment),
    ("logout in the webmail", logout_there),
    ("`/.doorward/logout`", logout_here),
    ("forgotten session, page", forgotten_page),
    ("forgotten session, script", forgotten_script),
    ("a phone", phone),
    ("second user, same browser", second_user),
];

/// Goes through all of them, whatever becomes of one.
pub(super) fn all(bench: &mut Bench<'_>) -> Vec<String> {
    ROWS.iter().map(|(_, row)| cell(bench, *row)).collect()
}

/// What is to be said of one row; its panic says what is wrong.
pub(super) fn cell(bench: &Bench<'_>, row: Row) -> String {
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| row(bench)));
    seen.map_or_else(|_| "FAILED".to_owned(), |seen| seen.unwrap_or_else(|| "–".to_owned()))
}

fn right_password(bench: &Bench<'_>) -> Option<String> {
    let (_, landing) = bench.logged_in(FIRST);
    let landing = bench.webmail.place(&landing);
    assert_eq!(landing, bench.webmail.home());
    Some(format!("leads to `{landing}`"))
}

fn wrong_password(bench: &Bench<'_>) -> Option<String> {
    let mut client = bench.proxy.client();
    let answer = bench.log_in(&mut client, FIRST, "not this");
    assert_eq!((answer.status, body_attribute(&answer.text(), "data-page")), (403, "login".to_owned()));
    assert_eq!(client.cookie("doorward"), None);
    Some("refused".to_owned())
}

fn inbox(bench: &Bench<'_>) -> Option<String> {
    let list = bench.webmail.inbox(&mut bench.logged_in(FIRST).0)?;
    assert!(list.contains("You are on node A"), "{}: {list}", bench.webmail.name());
    Some("read".to_owned())
}

fn message(bench: &Bench<'_>) -> Option<String> {
    let text = bench.webmail.message(&mut bench.logged_in(FIRST).0)?;
    assert!(text.contains(&format!("User: {FIRST}")), "{}: {text}", bench.webmail.name());
    Some("read".to_owned())
}

fn draft(bench: &Bench<'_>) -> Option<String> {
    // Lines that no webmail folds or fills.
    let text: String = (0..6400).map(|line| format!("This is line {line:05} of a long letter to nobody.\n")).collect();
    let text = &text[..300_000];
    let back = bench.webmail.draft(&mut bench.logged_in(FIRST).0, text)?;
    // Webmails end lines as mail does, and the last one or not.
    assert_eq!(back.replace("\r\n", "\n").trim_end(), text.trim_end(), "{}", bench.webmail.name());
    Some("saved whole".to_owned())
}

fn attachment(bench: &Bench<'_>) -> Option<String> {
    let file: Vec<u8> = (0..5_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let back = bench.webmail.attachment(&mut bench.logged_in(FIRST).0, &file)?;
    assert!(back == file, "{}: {} bytes came back", bench.webmail.name(), back.len());
    Some("back unchanged".to_owned())
}

fn logout_there(bench: &Bench<'_>) -> Option<String> {
    let (mut browser, _) = bench.logged_in(FIRST);
    let before = all_cookies(bench, &browser);
    let answer = bench.webmail.log_out(&mut browser)?;
    let page = body_attribute(&answer.text(), "data-page");
    let seen = if page == "logged-out" { "our page".to_owned() } else { format!("its own {}", answer.status) };
    is_over(bench, &mut browser, &before);
    Some(seen)
}

fn logout_here(bench: &Bench<'_>) -> Option<String> {
    let (mut browser, _) = bench.logged_in(FIRST);
    let before = all_cookies(bench, &browser);
    let theirs: Vec<(&str, String)> = bench
        .webmail
        .forgotten()
        .iter()
        .map(|(name, _)| *name)
        .map(|name| (name, browser.cookie(name).unwrap_or_default().to_owned()))
        .collect();
    assert_eq!(body_attribute(&browser.get("/.doorward/logout").text(), "data-page"), "logged-out");
    is_over(bench, &mut browser, &before);
    if bench.webmail.forgotten().is_empty() {
        let known = bench.webmail.knows(bench.stack).map(|known| if known { "not told to" } else { "told to" });
        return Some(known.map_or_else(|| "nothing to tell".to_owned(), |known| format!("{known} the webmail")));
    }
    // Does the webmail still know the session that somebody kept the cookies of?
    let page = bench.webmail.page()?;
    let (fresh, _) = bench.logged_in(FIRST);
    let answer = with_cookies(bench, &fresh, page, &theirs);
    Some(if is_gone(&answer) { "told to the webmail" } else { "not told to the webmail" }.to_owned())
}

fn forgotten_page(bench: &Bench<'_>) -> Option<String> {
    let answer = forgotten(bench, || bench.webmail.page())?;
    assert!(is_gone(&answer), "{}: {answer:?}", bench.webmail.name());
    Some("login page".to_owned())
}

fn forgotten_script(bench: &Bench<'_>) -> Option<String> {
    let answer = forgotten(bench, || bench.webmail.script().map(as_script))?;
    assert_eq!((answer.status, answer.json()["login"].as_str()), (401, Some("/")), "{}", bench.webmail.name());
    Some("401".to_owned())
}

fn phone(bench: &Bench<'_>) -> Option<String> {
    let log_in = |client: Client| {
        let mut client = client;
        bench.log_in(&mut client, FIRST, &format!("{FIRST}-secret")).expect(303);
        client.follow()
    };
    let mut desktop = log_in(bench.proxy.client());
    let mut phone = log_in(bench.proxy.client().header("User-Agent", PHONE));
    bench.webmail.phone(&mut phone, &mut desktop)
}

fn second_user(bench: &Bench<'_>) -> Option<String> {
    let (mut browser, _) = bench.logged_in(FIRST);
    bench.webmail.inbox(&mut browser);
    bench.log_in(&mut browser, SECOND, &format!("{SECOND}-secret")).expect(200);
    let text = bench.webmail.message(&mut browser)?;
    assert!(text.contains(&format!("User: {SECOND}")), "{}: {text}", bench.webmail.name());
    Some("reads her own".to_owned())
}

/// A login while the webmail's IMAP server is away. It is no wrong password, and is not counted as one.
pub(super) fn without_imap(bench: &Bench<'_>) -> Option<String> {
    let answer = bench.log_in(&mut bench.proxy.client(), FIRST, &format!("{FIRST}-secret"));
    if !bench.webmail.needs_imap() {
        answer.expect(303);
        return Some("logged in".to_owned());
    }
    assert_eq!(answer.status, 502, "{}: {answer:?}", bench.webmail.name());
    Some("told as such (502)".to_owned())
}

/// All cookies as the browser would send them.
fn all_cookies(bench: &Bench<'_>, browser: &Client) -> String {
    let target = bench.webmail.page().map_or_else(|| "/".to_owned(), |page| page.target().to_owned());
    browser.cookies.header(browser.host_name(), &target, false)
}

/// Neither the browser nor who kept its cookies has a session any more.
fn is_over(bench: &Bench<'_>, browser: &mut Client, before: &str) {
    let name = bench.webmail.name();
    assert_eq!(browser.cookie("doorward"), None, "{name}");
    for (cookie, _) in bench.webmail.forgotten() {
        assert_eq!(browser.cookie(cookie), None, "{name}: {cookie} stayed");
    }
    if let Some(page) = bench.webmail.page() {
        let answer = bench.proxy.client().send(page.header("Cookie", before));
        assert_eq!(body_attribute(&answer.text(), "data-page"), "login", "{name}: the old cookies open {answer:?}");
    }
}

/// A request with the session of Doorward and one that the webmail does not know.
fn forgotten(bench: &Bench<'_>, request: impl Fn() -> Option<Request>) -> Option<Response> {
    let webmail = bench.webmail;
    let (browser, _) = bench.logged_in(webmail.forgettable());
    let theirs: Vec<_> = webmail.forgotten().iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    if !theirs.is_empty() {
        return Some(with_cookies(bench, &browser, request()?, &theirs));
    }
    let alive = with_cookies(bench, &browser, request()?, &theirs);
    assert!((200..300).contains(&alive.status), "{}: {alive:?}", webmail.name());
    webmail.forget(bench.stack);
    let answer = with_cookies(bench, &browser, request()?, &theirs);
    webmail.remember(bench.stack);
    Some(answer)
}

fn with_cookies(bench: &Bench<'_>, browser: &Client, request: Request, theirs: &[(&str, String)]) -> Response {
    let ours = format!("doorward={}", browser.cookie("doorward").expect("a session"));
    let theirs = theirs.iter().map(|(name, value)| format!("{name}={value}"));
    let cookies: Vec<String> = std::iter::once(ours).chain(theirs).collect();
    // As browsers have it: what the webmail packs has to be looked at too.
    let request = request.header("Accept-Encoding", "gzip, deflate, br").header("Cookie", &cookies.join("; "));
    bench.proxy.client().send(request)
}

fn is_gone(answer: &Response) -> bool {
    answer.header("location") == Some("/.doorward/login?gone")
}

/// As browsers mark what scripts ask for.
pub(super) fn as_script(request: Request) -> Request {
    request.header("Sec-Fetch-Dest", "empty").header("Sec-Fetch-Mode", "cors").header("Sec-Fetch-Site", "same-origin")
}
