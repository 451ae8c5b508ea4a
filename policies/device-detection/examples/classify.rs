//! Reads rows of a form and a User-Agent (`tablet<TAB>Mozilla/5.0 …`) and tells how many of each form the policy gets right.
//! `tests/set-aside.py` makes such rows.

use std::collections::BTreeMap;
use std::io::BufRead as _;

use doorward_device_detection::DeviceDetection;
use doorward_policy::testing::{Given, configure};
use doorward_policy::{DevicePolicy, Form};

fn main() {
    let Ok(policy) = configure::<DeviceDetection>("{}") else { return };
    let mut counts = BTreeMap::<String, (u32, u32)>::new();
    for row in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Some((expected, agent)) = row.split_once('\t') else { continue };
        let found = match policy.classify(&Given::new().headers(&[("user-agent", agent)]).request()) {
            Some(Form::Desktop) => "desktop",
            Some(Form::Mobile) => "mobile",
            Some(Form::Tablet) => "tablet",
            Some(Form::Bot) => "bot",
            None => "nothing",
        };
        let (right, all) = counts.entry(expected.to_owned()).or_default();
        *right += u32::from(found == expected);
        *all += 1;
    }
    for (form, (right, all)) in counts {
        println!("{form}: {right} of {all}, {:.1} %", f64::from(right) * 100.0 / f64::from(all));
    }
}
