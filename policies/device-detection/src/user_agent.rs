//! What a User-Agent tells of the device. No names of products beyond what is needed: a table of them would be old soon.
//!
//! Pure.

use doorward_policy::Form;

use crate::model::{self, Kind};
use crate::words::{Words, count};

/// Words of programs that no person sits at: what they do, how they are driven, what they are written with. Of names only
/// the testers of speed, which use whole browsers and say no more.
const BOTS: &[&str] = &[
    "agent",
    "archiv",
    "audit",
    "bot",
    "capture",
    "checker",
    "crawl",
    "curl",
    "favicon",
    "fetch",
    "grab",
    "gtmetrix",
    "harvest",
    "headless",
    "httpclient",
    "httrack",
    "java/",
    "libwww",
    "lighthouse",
    "linkcheck",
    "monitor",
    "nikto",
    "node-",
    "okhttp",
    "perl",
    "phantomjs",
    "php",
    "playwright",
    "preview",
    "ptst/",
    "puppeteer",
    "python",
    "resolver",
    "ruby",
    "scan",
    "scrap",
    "selenium",
    "slurp",
    "spider",
    "survey",
    "synthetic",
    "-user/",
    "validat",
    "verif",
    "watcher",
    "wget",
];

/// An address to write to or read at: a bot's manners, and nothing a browser sends.
const CONTACTS: &[&str] = &["http:", "https:", "www.", ".com", ".org", ".html", "mailto"];

/// Tablets that say so, or are known by name; some of them say "Mobile" too.
const TABLETS: &[&str] = &[
    "ipad",
    "tablet",
    "playbook",
    "kindle",
    "kobo",
    "pocketbook",
    "silk/",
    "nook",
    "xoom",
    "touchpad",
    "nexus 7",
    "nexus 9",
    "nexus 10",
    "pixel c)",
    "pixel c b",
    "mediapad",
    "matepad",
    "galaxy tab",
    "smart tab",
    " sm-t",
    " sm-x",
    " sm-p",
    " gt-p",
    "sch-i800",
    "lenovo tab",
    "lenovo yt",
    "ideatab",
    "mi pad",
    "shield tab",
    "zenpad",
];

/// Phones: words of those that say so, then what the time before smartphones left.
const PHONES: &[&str] = &[
    "mobi",
    "iphone",
    "ipod",
    "windows phone",
    "windows ce",
    "iemobile",
    "blackberry",
    "bb10",
    "opera mini",
    "symbian",
    "symbos",
    "series60",
    "series40",
    "webos/",
    "hpwos",
    "palm",
    "kaios",
    "maemo",
    "meego",
    "bada",
    "nokia",
    "midp",
    "cldc",
    "up.browser",
    "netfront",
    "obigo",
    "jig browser",
    "docomo",
    "foma",
    "kddi",
    "softbank",
    "vodafone",
    "j-phone",
    "willcom",
    "ddipocket",
    "polaris",
    "samsung-sgh",
    "sonyericsson",
    "lge-",
    "mot-",
    "dalvik/",
];

/// Android phones even without "Mobile", which some leave out when asked for a desktop site: those before Android 3, when
/// there were no tablets, and the two makers whose names for phones are plain.
const ANDROID_PHONES: &[&str] =
    &["android 1.", "android 2.", "pixel ", " sm-a", " sm-f", " sm-g", " sm-j", " sm-m", " sm-n", " sm-s"];

/// Systems that are no phone or tablet, of which a browser always names one.
const DESKTOPS: &[&str] = &[
    "windows",
    "win9",
    "macintosh",
    "mac os",
    "macos",
    "mac_powerpc",
    "x11",
    "wayland",
    "(pc;",
    "linux",
    "cros",
    "bsd",
    "cygwin",
    "sunos",
    "haiku",
    "os/2",
    "amiga",
    "harmonyos",
    "playstation",
    "nintendo",
    "xbox",
    "tizen",
    "web0s",
    "smart-tv",
    "webtv",
];

/// Systems of computers that people sit at, so that a program which names one is theirs, however it begins: a mail program,
/// or an office suite that opens a link.
const COMPUTERS: &[&str] = &[
    "windows nt",
    "windows/",
    "windows;",
    "macintosh",
    "mac os",
    "macos",
    "; desktop",
    "x86_64",
    "x11;",
    "wayland;",
    "amigaos",
];

/// Browsers of the time of `(compatible; …)`.
const COMPATIBLE_BROWSERS: &[&str] = &["msie", "konqueror", "opera", "webpositive"];

// What the words stand for, a bit each.
const BOT: u16 = 1;
const TABLET: u16 = 1 << 1;
const PHONE: u16 = 1 << 2;
const ANDROID_PHONE: u16 = 1 << 3;
const ANDROID: u16 = 1 << 4;
const DESKTOP: u16 = 1 << 5;
const X11: u16 = 1 << 6;
const COMPATIBLE: u16 = 1 << 7;
const COMPATIBLE_BROWSER: u16 = 1 << 8;
const COMPUTER: u16 = 1 << 9;
const TABLET_PC: u16 = 1 << 10;

const LISTS: &[(&[&str], u16)] = &[
    (BOTS, BOT),
    (CONTACTS, BOT),
    (TABLETS, TABLET),
    (PHONES, PHONE),
    (ANDROID_PHONES, ANDROID_PHONE),
    (&["android"], ANDROID),
    (DESKTOPS, DESKTOP),
    (&["x11"], X11),
    (&["compatible"], COMPATIBLE),
    (COMPATIBLE_BROWSERS, COMPATIBLE_BROWSER),
    (COMPUTERS, COMPUTER),
    // What Windows calls itself on any computer that has the programs for a pen.
    (&["tablet pc"], TABLET_PC),
];

static WORDS: Words<{ count(LISTS) }> = Words::new(LISTS);

/// The form of the device behind a User-Agent that is not empty.
pub(crate) fn form(agent: &str) -> Form {
    let agent = agent.to_ascii_lowercase();
    // Some clients write the name of the header again.
    let agent = agent.trim_start_matches("user-agent:").trim_start();
    match model::of(agent) {
        Some(device) => form_by_model(agent, device),
        None => form_by_words(agent, WORDS.found_in(agent)),
    }
}

/// Android, with the name of the device, in which no word means what it means elsewhere: Cubot is a maker of phones.
fn form_by_model(agent: &str, device: &str) -> Form {
    let (before, behind) = agent.split_once(device).unwrap_or((agent, ""));
    let around = WORDS.found_in(before) | WORDS.found_in(behind);
    // Chrome OS, on which Android's browsers run as well, counts its builds so.
    let chrome_os =
        behind.split_once("build/r").is_some_and(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()));
    if is_bot(agent, around) {
        Form::Bot
    } else if chrome_os {
        Form::Desktop
    } else {
        match model::kind(device) {
            Some(Kind::Computer) => Form::Desktop,
            Some(Kind::Tablet) => Form::Tablet,
            // Some browsers tell it themselves.
            None if behind.contains("/apad") => Form::Tablet,
            // Some words begin with the blank before a name.
            None => {
                let name = before.len().saturating_sub(1)..before.len() + device.len();
                form_by_words(agent, around | WORDS.found_in(agent.get(name).unwrap_or(device)) & !BOT)
            }
        }
    }
}

/// The form by the words in a User-Agent, and by how it begins.
fn form_by_words(agent: &str, found: u16) -> Form {
    let has = |kind: u16| found & kind != 0;
    if is_bot(agent, found) || names_itself_first(agent, found) {
        Form::Bot
    } else if has(TABLET) && !has(TABLET_PC) {
        Form::Tablet
    } else if has(PHONE) {
        Form::Mobile
    } else if has(ANDROID) {
        // Android's browsers put "Mobile" for phones, which was looked for above, and nothing for tablets.
        if has(ANDROID_PHONE) { Form::Mobile } else { Form::Tablet }
    } else if let Some((_, system)) = agent.split_once("cfnetwork/").filter(|_| agent.contains("darwin/")) {
        // Programs that use Apple's library for HTTP, of which only those on computers name the processor.
        let processors = ["x86_64", "i386", "power%20macintosh"];
        if processors.iter().any(|name| system.contains(name)) { Form::Desktop } else { Form::Mobile }
    } else if has(DESKTOP) && (agent.starts_with("mozilla/") || agent.starts_with("opera/") || has(COMPUTER)) {
        Form::Desktop
    } else {
        // Browsers have begun with "Mozilla/" since 1994, and tell the system they run on.
        Form::Bot
    }
}

/// Whether the words are those of a program that no person sits at.
fn is_bot(agent: &str, found: u16) -> bool {
    // `(compatible; …)` is how Internet Explorer, Konqueror and their time began, and bots still do.
    let compatible_with_nothing = found & COMPATIBLE != 0 && found & COMPATIBLE_BROWSER == 0;
    found & BOT != 0 || compatible_with_nothing || has_mail_address(agent)
}

/// Whether there is something like `name@example`; `android@150` is a version.
fn has_mail_address(agent: &str) -> bool {
    agent.split('@').skip(1).any(|after| after.starts_with(|letter: char| letter.is_ascii_alphabetic()))
}

/// Whether the brackets begin with something other than a system, where browsers since Mozilla 5 put one. Feature phones
/// put their model there, and some distributions of Linux their name. `found` is what is in the whole.
fn names_itself_first(agent: &str, found: u16) -> bool {
    if found & (PHONE | X11) != 0 {
        return false;
    }
    let Some(rest) = agent.strip_prefix("mozilla/5.0 ").filter(|rest| rest.starts_with('(')) else { return false };
    let first = rest.split_inclusive([';', ')']).next().unwrap_or(rest);
    WORDS.found_in(first) & (DESKTOP | TABLET | ANDROID | COMPATIBLE) == 0
}
