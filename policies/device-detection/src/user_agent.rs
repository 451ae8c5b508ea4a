//! What a User-Agent tells of the device. No names of products beyond what is needed: a table of them would be old soon.
//!
//! Pure.

use doorward_policy::Form;

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
    &["android 1.", "android 2.", "pixel ", " sm-a", " sm-f", " sm-g", " sm-j", " sm-n", " sm-s"];

/// Systems that are no phone or tablet, of which a browser always names one.
const DESKTOPS: &[&str] = &[
    "windows",
    "win9",
    "macintosh",
    "mac os",
    "mac_powerpc",
    "x11",
    "linux",
    "cros",
    "bsd",
    "sunos",
    "haiku",
    "os/2",
    "amiga",
    "playstation",
    "nintendo",
    "xbox",
    "tizen",
    "web0s",
    "smart-tv",
    "webtv",
];

/// Browsers of the time of `(compatible; …)`.
const COMPATIBLE_BROWSERS: &[&str] = &["msie", "konqueror", "opera"];

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
];

static WORDS: Words<{ count(LISTS) }> = Words::new(LISTS);

/// The form of the device behind a User-Agent that is not empty.
pub(crate) fn form(agent: &str) -> Form {
    let agent = agent.to_ascii_lowercase();
    // Some clients write the name of the header again.
    let agent = agent.trim_start_matches("user-agent:").trim_start();
    let found = WORDS.found_in(agent);
    let has = |kind: u16| found & kind != 0;
    // `(compatible; …)` is how Internet Explorer, Konqueror and their time began, and bots still do.
    let compatible_with_nothing = has(COMPATIBLE) && !has(COMPATIBLE_BROWSER);
    if has(BOT) || compatible_with_nothing || has_mail_address(agent) || names_itself_first(agent, found) {
        Form::Bot
    } else if has(TABLET) {
        Form::Tablet
    } else if has(PHONE) {
        Form::Mobile
    } else if has(ANDROID) {
        // Android's browsers put "Mobile" for phones, which was looked for above, and nothing for tablets.
        if has(ANDROID_PHONE) { Form::Mobile } else { Form::Tablet }
    } else if has(DESKTOP) && (agent.starts_with("mozilla/") || agent.starts_with("opera/")) {
        Form::Desktop
    } else {
        // Browsers have begun with "Mozilla/" since 1994, and tell the system they run on.
        Form::Bot
    }
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
    let Some(rest) = agent.strip_prefix("mozilla/5.0 (") else { return false };
    let first = rest.split([';', ')']).next().unwrap_or(rest);
    WORDS.found_in(first) & (DESKTOP | TABLET | ANDROID | COMPATIBLE) == 0
}
