//! What the model of an Android device tells of its form: whether makers call it a tablet, or a computer.
//!
//! A model is compared by its words, so that `bot` in the name of a maker is none and `TAB_868_PRO` has the word `tab`.
//!
//! Pure.

/// Names of tablets that do not say so, sorted, one a line; two lines or more.
const NAMES: &str = include_str!("tablets.txt");

/// How the words end that makers give their tablets: MatePad, LifeTab, SurfTab, ThinkPad Tablet.
const ENDINGS: &[&str] = &["tab", "tabs", "pad", "pads", "tablet", "slate"];

/// Words that end so and are something else: makers of phones, and a computer.
const OTHER_ENDINGS: &[&str] = &["coolpad", "klipad", "taban", "gpad", "thinkpad"];

/// Words that stand for tablets and readers alone: series, makers, and what phones never say of themselves.
const WORDS: &[&str] = &[
    "boox",
    "ebook",
    "ereader",
    "iplay",
    "kids",
    "kindle",
    "kobo",
    "mid",
    "nabi",
    "navitel",
    "pc",
    "pocketbook",
    "qc",
    "readboy",
    "superion",
    "tb",
    "touchpad",
    "ursus",
    "wifi",
    "xoom",
    "yt",
];

/// What stands before the number of a model in series of tablets, at the beginning or behind the maker. A digit in it
/// is the first one of the number: the size of the screen in inches.
const SERIES: &[&str] = &[
    "adm",
    "at",
    "azimut ",
    "bntv",
    "bq 1",
    "bq 7",
    "bq 8",
    "ccit a",
    "ctp",
    "ctp ",
    "eagle ",
    "ebrd",
    "faust",
    "freeme x",
    "freetab ",
    "gama",
    "gta",
    "hope",
    "idsq",
    "idx",
    "inm",
    "ipa",
    "itell k",
    "jxd",
    "kt",
    "m10",
    "m7",
    "mediapad ",
    "megapad ",
    "mfc",
    "midc",
    "midcd",
    "mito t",
    "mpdc",
    "mpqc",
    "mw",
    "mz",
    "nomi c",
    "novo",
    "pixus ",
    "plane ",
    "plt",
    "pmp",
    "pmt",
    "poke",
    "ps",
    "ptbl",
    "rct",
    "rmd ",
    "rmt ",
    "sgp",
    "sgpt",
    "sm p",
    "sm t",
    "sm x",
    "tab",
    "tab ",
    "tb ",
    "tbl ",
    "tblt",
    "techno i",
    "telepad",
    "tf",
    "tm 1",
    "tm 7",
    "tm 8",
    "tm 9",
    "tpc",
    "tz",
    "venue ",
    "viewpad ",
    "xelio",
];

/// Huawei's and Honor's tablets, of which each model has three letters; those without a telephone have a `W` behind them.
const HUAWEI: &[&str] = &[
    "agm", "agr", "ags", "bah", "bg2", "bgo", "brt", "btv", "bza", "bzd", "bzk", "bzt", "cmr", "dbr", "dby", "ejr",
    "gdi", "got", "hdn", "hey", "jdn", "kob", "krj", "mon", "mrx", "scm", "sht", "vrd", "wgr",
];

/// Computers that run Android, by the names of their series.
const COMPUTERS: &[&str] = &[
    "alienware",
    "aspire",
    "chromebase",
    "chromebit",
    "chromebook",
    "chromebox",
    "compaq",
    "dynabook",
    "elitebook",
    "elitedesk",
    "expertbook",
    "extensa",
    "ideacentre",
    "imac",
    "inspiron",
    "laptop",
    "latitude",
    "lifebook",
    "macbook",
    "magicbook",
    "matebook",
    "netbook",
    "notebook",
    "nuc",
    "optiplex",
    "pavilion",
    "pixelbook",
    "portege",
    "presario",
    "probook",
    "prodesk",
    "satellite",
    "tecra",
    "thinkcentre",
    "thinkpad",
    "travelmate",
    "vaio",
    "veriton",
    "vivobook",
    "vostro",
    "xps",
    "zbook",
    "zenbook",
];

/// What a device is by its model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A tablet, or a reader of books.
    Tablet,
    /// A computer.
    Computer,
}

/// The model in a User-Agent of Android, which is lower-case: what stands behind the version, and is neither a language
/// nor a word of the browser.
pub(crate) fn of(agent: &str) -> Option<&str> {
    let (_, tail) = agent.split_once("android")?;
    let brackets = tail.split(')').next()?;
    let model = brackets.split(';').skip(1).map(str::trim).find(|part| !is_of_the_browser(part))?;
    let end = [" build/", " miui/", "/"].iter().filter_map(|mark| model.find(mark)).min();
    Some(model[..end.unwrap_or(model.len())].trim())
}

/// Whether a part between semicolons tells of the browser or its language: `wv`, `en-us`, `rv:140.0`.
fn is_of_the_browser(part: &str) -> bool {
    const OF_BROWSERS: &[&str] = &["", "u", "wv", "k", "mobile", "tablet", "linux", "harmonyos", "arm", "arm_64"];
    let mut letters = part.split(['-', '_']);
    let language = letters.next().is_some_and(|first| first.len() == 2 && is_of_letters(first))
        && letters.all(|other| (2..=4).contains(&other.len()) && is_of_letters(other));
    language || part.starts_with("rv:") || OF_BROWSERS.contains(&part)
}

fn is_of_letters(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// What a model tells, if it does.
pub(crate) fn kind(model: &str) -> Option<Kind> {
    let model = normal(model);
    let mut words = model.split(' ');
    let series = |word: &str| {
        word.split(|letter: char| letter.is_ascii_digit()).next().is_some_and(|name| COMPUTERS.contains(&name))
    };
    if words.clone().any(series) && !words.clone().any(|word| word == "tablet") {
        return Some(Kind::Computer);
    }
    let behind_maker = model.split_once(' ').map_or("", |(_, rest)| rest);
    let is_tablet = words.any(says_tablet)
        || is_of_huawei(&model)
        || is_in_series(&model)
        || is_in_series(behind_maker)
        || is_name(&model)
        || has_telling_name(&model);
    is_tablet.then_some(Kind::Tablet)
}

/// Words of letters and digits with one blank between.
fn normal(model: &str) -> String {
    let words = model.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(String::with_capacity(model.len()), |mut all, word| {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(word);
        all
    })
}

/// Whether a word, or the letters in it between digits, is one that makers give to tablets.
fn says_tablet(word: &str) -> bool {
    let mut runs = word.split(|letter: char| letter.is_ascii_digit()).filter(|run| !run.is_empty());
    let says = |run: &str| {
        WORDS.contains(&run) || (ENDINGS.iter().any(|ending| run.ends_with(ending)) && !OTHER_ENDINGS.contains(&run))
    };
    runs.any(says) || is_of_digma(word)
}

/// Digma's codes have the size of the screen in them: `TS7225PL`.
fn is_of_digma(word: &str) -> bool {
    let of = |byte: u8, letters: &str| letters.as_bytes().contains(&byte);
    matches!(word.as_bytes(), [a, b's', digits @ .., d, e] if of(*a, "tcphn") && digits.len() == 4
        && digits.iter().all(u8::is_ascii_digit) && of(*d, "mpaer") && of(*e, "lgwt"))
}

/// `AGS3-W09`, `MRX-AL19`: three letters, often a digit, and behind a dash what it can do.
fn is_of_huawei(model: &str) -> bool {
    let mut words = model.split(' ').skip_while(|word| matches!(*word, "huawei" | "honor"));
    let (Some(series), Some(able)) = (words.next(), words.next()) else { return false };
    let number = able.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
    let letters = &able[..able.len() - number.len()];
    let Some((name, version)) = series.split_at_checked(3) else { return false };
    let is_series = matches!(version.as_bytes(), [] | [b'0'..=b'9'] | [b'0'..=b'9', b'k']);
    let known = HUAWEI.contains(&name) && matches!(letters, "l" | "w" | "al" | "an" | "dl");
    is_series
        && (known || (letters == "w" && is_of_letters(name)))
        && matches!(number.as_bytes(), [b'0'..=b'9', b'0'..=b'9', ..])
}

/// Whether a model begins as a series does, and goes on with a number.
fn is_in_series(model: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
    SERIES.iter().any(|series| model.strip_prefix(series).is_some_and(goes_on))
}

/// Whether words of a model are a name of a tablet which is long enough to be nothing else.
fn has_telling_name(model: &str) -> bool {
    let starts = model.match_indices(' ').map(|(at, _)| at + 1);
    std::iter::once(0).chain(starts).any(|start| {
        let rest = &model[start..];
        let ends = rest.match_indices(' ').map(|(at, _)| at).chain([rest.len()]);
        ends.take(5).any(|end| is_telling(&rest[..end]) && is_name(&rest[..end]))
    })
}

/// Letters and a few digits, like `P80` or `K016`, are names of many things.
fn is_telling(name: &str) -> bool {
    let number = name.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
    let letters = name.len() - number.len();
    let number = number.trim_start();
    let short = (1..=3).contains(&letters) && (1..=3).contains(&number.len());
    name.len() >= 4 && !(short && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether this is a line of the table.
fn is_name(name: &str) -> bool {
    let (mut low, mut high) = (0, NAMES.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = NAMES[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = NAMES[start..].find('\n').map_or(NAMES.len(), |at| start + at);
        match NAMES[start..end].cmp(name) {
            std::cmp::Ordering::Equal => return !name.is_empty(),
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_stands_behind_the_version_of_android() {
        let check = |agent: &str, expected: Option<&str>| assert_eq!(of(agent), expected, "{agent}");
        check("mozilla/5.0 (linux; android 13; pixel 7) applewebkit/537.36", Some("pixel 7"));
        check("mozilla/5.0 (linux; u; android 4.2; en-us; tab_868_pro build/jdq39) x", Some("tab_868_pro"));
        check("mozilla/5.0 (linux; arm_64; android 10; harmonyos; mrx-an19; hmscore 6) x", Some("mrx-an19"));
        check("mozilla/5.0 linux; u; android 4.1.1; zh-hans-cn; tm-7043xd build/jro03c x", Some("tm-7043xd"));
        check("mozilla/5.0 (linux; android 10; k) applewebkit/537.36 (khtml, like gecko)", None);
        check("mozilla/5.0 (android 15; tablet; rv:140.0) gecko/140.0", None);
        check("mozilla/5.0 (linux; android)", None);
        check("mozilla/5.0 (x11; linux x86_64)", None);
        check("android;;;;(;);/", Some("("));
    }

    #[test]
    fn a_model_is_known_by_its_words() {
        let check = |model: &str, expected: Option<Kind>| assert_eq!(kind(model), expected, "{model}");
        for model in [
            "tab_868_pro",
            "venus pad15",
            "wo pad 13",
            "lenovo tb-8703x",
            "sm-x716b",
            "bah3-w59",
            "mrx-al19",
            "kt107",
            "optima 7 ts7225pl",
            "bq-1036l",
            "nabi2-nv7a",
            "k00c",
            "archos 101 xenon",
            "thinkpad tablet",
        ] {
            check(model, Some(Kind::Tablet));
        }
        for model in ["hp chromebook x360", "hp elitebook 840 g5", "aspire r5-571t"] {
            check(model, Some(Kind::Computer));
        }
        for model in
            ["cubot dinosaur", "coolpad 7295", "pixel 7", "table", "stabil", "mgi-an00", "", "ü", "abü-w09", "äöü-w1"]
        {
            check(model, None);
        }
    }

    #[test]
    fn the_table_is_sorted_and_every_line_is_found() {
        let lines: Vec<&str> = NAMES.lines().collect();
        assert!(lines.is_sorted() && lines.len() > 2000);
        assert!(lines.iter().all(|line| is_name(line)));
        assert!(!is_name("") && !is_name("zzz") && !is_name("a") && !is_name("an9g"));
    }
}
