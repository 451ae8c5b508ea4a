//! What a User-Agent tells of the device. No names of products beyond what is needed: a table of them would be old soon.
//!
//! Pure.

use doorward_policy::Form;

/// Words of programs that are no browser a person sits at: what they do, how they are driven, what they are written with.
const BOTS: &[&str] = &[
    "archiv", "audit", "bot", "capture", "checker", "crawl", "curl", "favicon", "fetch", "grab", "harvest", "headless",
    "httpclient", "httrack", "java/", "libwww", "lighthouse", "linkcheck", "monitor", "nikto", "node-", "okhttp", "perl",
    "phantomjs", "php", "playwright", "preview", "ptst/", "puppeteer", "python", "resolver", "ruby", "scan", "scrap",
    "selenium", "slurp", "spider", "survey", "synthetic", "-user/", "validat", "verif", "watcher", "wget",
];

/// An address to write to or read at: a bot's manners, and nothing a browser sends.
const CONTACTS: &[&str] = &["http:", "https:", "www.", ".com", ".org", ".html", "mailto"];

/// Tablets that say so, or are known by name; some of them say "Mobile" too.
const TABLETS: &[&str] = &[
    "ipad", "tablet", "playbook", "kindle", "silk/", "xoom", "touchpad", "nexus 7", "nexus 9", "nexus 10", "pixel c ",
    "mediapad", "matepad", "galaxy tab", "sm-t", "sm-x", "sm-p", "gt-p", "sch-i800", "lenovo tab", "lenovo yt", "ideatab",
    "mi pad", "shield tab", "zenpad",
];

/// Phones, from what they are called to what runs on them. The last ones are of the time before smartphones.
const PHONES: &[&str] = &[
    "mobi", "iphone", "ipod", "windows phone", "windows ce", "iemobile", "blackberry", "bb10", "opera mini", "symbian",
    "symbos", "series60", "series40", "webos/", "hpwos", "palm", "kaios", "maemo", "meego", "bada", "nokia", "midp", "cldc",
    "up.browser", "netfront", "docomo", "kddi", "softbank", "vodafone", "j-phone", "willcom", "ddipocket", "polaris",
    "samsung-sgh", "sonyericsson", "lge-", "mot-", "dalvik/",
];

/// Systems that are no phone or tablet, of which a browser always names one.
const DESKTOPS: &[&str] = &[
    "windows", "win9", "macintosh", "mac os", "mac_powerpc", "x11", "linux", "cros", "bsd", "sunos", "haiku", "os/2", "amiga",
    "playstation", "nintendo", "xbox", "tizen", "web0s", "smart-tv", "webtv",
];

/// The form of the device behind a User-Agent that is not empty.
pub(crate) fn form(agent: &str) -> Form {
    let agent = agent.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| agent.contains(word));
    if has(BOTS) || has(CONTACTS) || has_mail_address(&agent) || is_compatible_with_nothing(&agent) {
        Form::Bot
    } else if has(TABLETS) {
        Form::Tablet
    } else if has(PHONES) {
        Form::Mobile
    } else if agent.contains("android") {
        // Android's browsers put "Mobile" for phones, which was looked for above, and nothing for tablets.
        Form::Tablet
    } else if has(DESKTOPS) && (agent.starts_with("mozilla/") || agent.starts_with("opera/")) {
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

/// `(compatible; …)` is how Internet Explorer, Konqueror and their time began, and bots still do.
fn is_compatible_with_nothing(agent: &str) -> bool {
    agent.contains("compatible") && !["msie", "konqueror", "opera"].iter().any(|browser| agent.contains(browser))
}
