//! What a User-Agent tells of the device. No names of products beyond what is needed: a table of them would be old soon.
//!
//! Pure.

use doorward_policy::Form;

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

/// The form of the device behind a User-Agent that is not empty.
pub(crate) fn form(agent: &str) -> Form {
    let agent = agent.to_ascii_lowercase();
    // Some clients write the name of the header again.
    let agent = agent.trim_start_matches("user-agent:").trim_start();
    let has = |words: &[&str]| contains_any(agent, words);
    if has(BOTS)
        || has(CONTACTS)
        || has_mail_address(agent)
        || is_compatible_with_nothing(agent)
        || names_itself_first(agent)
    {
        Form::Bot
    } else if has(TABLETS) {
        Form::Tablet
    } else if has(PHONES) {
        Form::Mobile
    } else if agent.contains("android") {
        // Android's browsers put "Mobile" for phones, which was looked for above, and nothing for tablets.
        if has(ANDROID_PHONES) { Form::Mobile } else { Form::Tablet }
    } else if has(DESKTOPS) && (agent.starts_with("mozilla/") || agent.starts_with("opera/")) {
        Form::Desktop
    } else {
        // Browsers have begun with "Mozilla/" since 1994, and tell the system they run on.
        Form::Bot
    }
}

fn contains_any(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

/// Whether there is something like `name@example`; `android@150` is a version.
fn has_mail_address(agent: &str) -> bool {
    agent.split('@').skip(1).any(|after| after.starts_with(|letter: char| letter.is_ascii_alphabetic()))
}

/// `(compatible; …)` is how Internet Explorer, Konqueror and their time began, and bots still do.
fn is_compatible_with_nothing(agent: &str) -> bool {
    agent.contains("compatible") && !["msie", "konqueror", "opera"].iter().any(|browser| agent.contains(browser))
}

/// Whether the brackets begin with something other than a system, where browsers since Mozilla 5 put one. Feature phones
/// put their model there, and some distributions of Linux their name.
fn names_itself_first(agent: &str) -> bool {
    let Some(rest) = agent.strip_prefix("mozilla/5.0 (") else { return false };
    let first = rest.split([';', ')']).next().unwrap_or(rest);
    let begins_with_system = contains_any(first, DESKTOPS)
        || contains_any(first, TABLETS)
        || contains_any(first, &["android", "compatible"]);
    !(begins_with_system || contains_any(agent, PHONES) || agent.contains("x11"))
}
