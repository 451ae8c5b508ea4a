//! Requests, and the devices they come from.

#![allow(clippy::unwrap_used, reason = "tests")]

use doorward_device_detection::DeviceDetection;
use doorward_policy::testing::{Given, configure, vectors};
use doorward_policy::{DevicePolicy, Form};

const PHONE: &str =
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36";
const DESKTOP: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

fn classify(settings: &str, headers: &[(&str, &str)]) -> Form {
    let policy: DeviceDetection = configure(settings).unwrap();
    policy.classify(&Given::new().headers(headers).request()).unwrap()
}

/// At least 98 of 100 must be right: bots that name neither themselves nor a reason are beyond any rule.
const MISSES_ALLOWED_IN_A_HUNDRED: usize = 2;

#[test]
fn real_user_agents_are_told_apart() {
    let policy: DeviceDetection = configure("{}").unwrap();
    let rows = include_str!("user-agents.tsv").lines().filter(|line| !line.starts_with('#'));
    let (mut count, mut misses) = (0, Vec::new());
    for row in rows {
        let [source, expected, agent] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let form = policy.classify(&Given::new().headers(&[("user-agent", agent)]).request()).unwrap();
        count += 1;
        if name(form) != expected {
            misses.push(format!("{source}: {expected}, found {}: {agent}", name(form)));
        }
    }
    println!("{} of {count} right; the others:\n{}", count - misses.len(), misses.join("\n"));
    assert!(count >= 400, "the table has only {count} rows");
    assert!(misses.len() * 100 <= count * MISSES_ALLOWED_IN_A_HUNDRED, "{} of {count} wrong", misses.len());
}

/// The name of a form as the table has it.
fn name(form: Form) -> &'static str {
    match form {
        Form::Desktop => "desktop",
        Form::Mobile => "mobile",
        Form::Tablet => "tablet",
        Form::Bot => "bot",
    }
}

#[test]
fn a_word_in_the_name_of_a_device_means_nothing_else() {
    let check = |device: &str, rest: &str, expected: Form| {
        let agent = format!("Mozilla/5.0 (Linux; Android {device}) AppleWebKit/537.36 (KHTML, like Gecko) {rest}");
        assert_eq!(classify("{}", &[("user-agent", &agent)]), expected, "{agent}");
    };
    const PHONE: &str = "Chrome/120.0.0.0 Mobile Safari/537.36";
    const OTHER: &str = "Chrome/120.0.0.0 Safari/537.36";
    check("6.0; CUBOT DINOSAUR Build/MRA58K", PHONE, Form::Mobile);
    check("6.0; IDbot553", PHONE, Form::Mobile);
    check("13; Coolpad 7295", PHONE, Form::Mobile);
    check("10; SM-M625F", OTHER, Form::Mobile);
    check("4.2.2; TAB_868_PRO Build/JDQ39", PHONE, Form::Tablet);
    check("8.1.0; Venus Pad15", PHONE, Form::Tablet);
    check("13; WO Pad 13", PHONE, Form::Tablet);
    check("12; Lenovo TB-J606F", PHONE, Form::Tablet);
    check("9; HP Chromebook x360 14 G1 Build/R79-12607.82.0", OTHER, Form::Desktop);
    check("10; Samsung Pro Build/R74-11895.118.0", PHONE, Form::Desktop);
    check("8.1.0; HP EliteBook 840", OTHER, Form::Desktop);
    // A bot that plays a phone says so outside of the brackets.
    check(
        "6.0.1; Nexus 5X Build/MMB29P",
        &format!("{PHONE} (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
        Form::Bot,
    );
}

#[test]
fn windows_with_the_programs_for_a_pen_is_a_computer() {
    let agent = "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; .NET CLR 2.0.50727; Tablet PC 2.0)";
    assert_eq!(classify("{}", &[("user-agent", agent)]), Form::Desktop);
}

#[test]
fn hints_count_more_than_the_user_agent() {
    let check = |mobile: &str, platform: Option<&str>, agent: &str, expected: Form| {
        let mut headers = vec![("sec-ch-ua-mobile", mobile), ("user-agent", agent)];
        headers.extend(platform.map(|platform| ("sec-ch-ua-platform", platform)));
        assert_eq!(classify("{}", &headers), expected, "{headers:?}");
    };
    check("?1", None, DESKTOP, Form::Mobile);
    check("?1", Some("\"Android\""), DESKTOP, Form::Mobile);
    check("?0", Some("\"Android\""), PHONE, Form::Tablet);
    check("?0", Some("\"Windows\""), PHONE, Form::Desktop);
    check("?0", Some("\"Linux\""), PHONE, Form::Desktop);
    check("?0", Some("\"Chrome OS\""), PHONE, Form::Desktop);
    // Not enough or nonsense: the User-Agent decides.
    check("?0", None, PHONE, Form::Mobile);
    check("?0", Some("\"Unknown\""), PHONE, Form::Mobile);
    check("yes", Some("\"Windows\""), PHONE, Form::Mobile);
}

#[test]
fn an_automated_browser_that_owns_up_is_a_bot() {
    let brands = r#""Chromium";v="138", "HeadlessChrome";v="138""#;
    let headers = [("sec-ch-ua-mobile", "?0"), ("sec-ch-ua-platform", "\"Linux\""), ("sec-ch-ua", brands)];
    assert_eq!(classify("{}", &headers), Form::Bot);
}

#[test]
fn with_enough_hints_the_user_agent_is_not_read() {
    // A fact that is not given panics when read.
    let policy: DeviceDetection = configure("{}").unwrap();
    let given = Given::new().header("sec-ch-ua-mobile", Some("?1"));
    assert_eq!(policy.classify(&given.request()), Some(Form::Mobile));
}

#[test]
fn without_a_user_agent_it_is_what_the_settings_say() {
    assert_eq!(classify("{}", &[]), Form::Desktop);
    assert_eq!(classify(r#"{ "unknown": "bot" }"#, &[]), Form::Bot);
    assert_eq!(classify(r#"{ "unknown": "mobile" }"#, &[("user-agent", " ")]), Form::Mobile);
}

#[test]
fn the_first_override_that_fits_decides() {
    let settings = r#"{ "overrides": [
        { "contains": "firefox/140", "form": "tablet" },
        { "glob": "Mozilla/5.0 (X11;*", "form": "bot" },
        { "header": "X-Device", "glob": "*", "form": "mobile" }
    ] }"#;
    assert_eq!(classify(settings, &[("user-agent", DESKTOP)]), Form::Tablet);
    assert_eq!(classify(settings, &[("user-agent", &DESKTOP.replace("140", "141"))]), Form::Bot);
    assert_eq!(classify(settings, &[("user-agent", "curl/8"), ("x-device", "")]), Form::Mobile);
    assert_eq!(classify(settings, &[("user-agent", DESKTOP), ("sec-ch-ua-mobile", "?1")]), Form::Tablet);
    assert_eq!(classify(settings, &[("user-agent", PHONE)]), Form::Mobile);
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let settings = r#"{ "overrides": [
        { "header": "a b", "contains": "", "form": "bot" },
        { "form": "bot" },
        { "contains": "x", "glob": "y", "form": "bot" },
        { "contains": "x*y", "form": "bot" }
    ] }"#;
    let problems = configure::<DeviceDetection>(settings).err().unwrap();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        paths,
        ["overrides[0].header", "overrides[0].contains", "overrides[1]", "overrides[2]", "overrides[3].contains"]
    );
}

#[test]
fn a_wrong_type_or_key_is_reported_with_its_place() {
    let check = |settings: &str, path: &str| {
        let problems = configure::<DeviceDetection>(settings).err().unwrap();
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [path], "{problems:?}");
    };
    check(r#"{ "unknown": "fridge" }"#, "unknown");
    check(r#"{ "overrides": [{ "contains": "x", "form": "phone" }] }"#, "overrides[0].form");
    check(r#"{ "override": [] }"#, "override");
}

#[test]
fn the_vectors_hold() {
    vectors::device::<DeviceDetection>(include_str!("../vectors.toml"));
}
