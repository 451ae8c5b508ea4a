//! `policy bench`: how long a decision takes, and whether that is short enough.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::facts::Typed;
use super::subject::{Options, Subject};
use crate::cli::print::{say, tell};
use crate::policy::{Error, Figures};
use crate::workbench::samples;
use crate::workbench::{Stop, how_to_give, outcome_text};

/// With a warm instance, one in a hundred of these is a hundred: enough for a steady 99th percentile.
const WARM: usize = 10_000;
/// An instance in Python takes over a millisecond, so that these take a second at most.
const FRESH: usize = 300;

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0; 1 where a median is over its bound, or there is no verdict to measure; \
                        2 where facts or options make no sense.")]
pub(in crate::cli) struct Bench {
    /// The component: FILE.wasm, or the name of a built-in policy.
    #[arg(value_name = "FILE")]
    component: Option<String>,
    #[command(flatten)]
    facts: Typed,
    /// The most that the median of fresh instances may be, such as 500us.
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_fresh: Option<Duration>,
    /// The most that the median of the warm instance may be, such as 3us.
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_warm: Option<Duration>,
    /// The most that the median of a decision that is found again may be, such as 300ns.
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_memo: Option<Duration>,
    #[command(flatten)]
    options: Options,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// One way of asking, measured.
struct Row {
    name: &'static str,
    count: usize,
    /// Median and 99th percentile; none where nothing was measured.
    percentiles: Option<(Duration, Duration)>,
    bound: Option<Duration>,
}

/// Runs it.
///
/// # Errors
/// There is no such policy, or it gives no verdict.
pub(super) fn run(bench: &Bench) -> Result<ExitCode, Stop> {
    let given = if bench.facts.is_empty() { samples::usual() } else { Some(bench.facts.given()?) };
    let given = given.ok_or_else(|| Stop::Bad("there are no sample facts".to_owned()))?;
    let subject = Subject::find(bench.component.as_deref(), &bench.options)?;
    let mut trial = subject.load()?;
    let failed = |error: Error| Stop::Bad(how_to_give(&error).unwrap_or_else(|| error.to_string()));
    let told = trial.ask(&given).map_err(failed)?;
    let verdict = outcome_text(&told.answer);
    if let Err(error) = told.answer {
        return Err(failed(error));
    }
    tell(&format!("measuring {} fresh instances and {WARM} calls", FRESH));
    let figures = trial.measure(&given, FRESH, WARM).map_err(failed)?;
    let rows = rows(bench, figures);
    let over: Vec<&Row> = rows.iter().filter(|row| row.is_over()).collect();
    if bench.json {
        let ways: Map<String, Json> = rows.iter().map(|row| (row.name.to_owned(), row.json())).collect();
        say(&json!({"ok": over.is_empty(), "policy": subject.config.name, "verdict": verdict, "ways": ways})
            .to_string());
    } else {
        say(&format!("{}: {} {verdict}", subject.config.name, subject.config.asks.name()));
        say(&format!("  {:6} {:>12} {:>12} {:>8}", "", "p50", "p99", "count"));
        for row in &rows {
            say(&row.text());
        }
    }
    for row in &over {
        tell(&format!("doorward: {} is over its bound of {:?}", row.name, row.bound.unwrap_or_default()));
    }
    Ok(super::outcome::status(over.is_empty()))
}

fn rows(bench: &Bench, figures: Figures) -> [Row; 3] {
    let row = |name, mut times: Vec<Duration>, bound| {
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied();
        Row { name, count: times.len(), percentiles: at(50).zip(at(99)), bound }
    };
    [
        row("fresh", figures.fresh, bench.max_fresh),
        row("warm", figures.warm, bench.max_warm),
        row("memo", figures.memo, bench.max_memo),
    ]
}

impl Row {
    /// What may not be remembered is over any bound.
    fn is_over(&self) -> bool {
        self.bound.is_some_and(|bound| self.percentiles.is_none_or(|(median, _)| median > bound))
    }

    fn text(&self) -> String {
        match self.percentiles {
            Some((p50, p99)) => format!("  {:6} {:>12} {:>12} {:>8}", self.name, shown(p50), shown(p99), self.count),
            None => format!("  {:6} it read the time or dice, so it is not remembered", self.name),
        }
    }

    fn json(&self) -> Json {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (p50, p99) = self.percentiles.map(|(p50, p99)| (nanos(p50), nanos(p99))).unzip();
        json!({"p50-ns": p50, "p99-ns": p99, "count": self.count, "max-ns": self.bound.map(nanos), "ok": !self.is_over()})
    }
}

/// A time in the unit in which it is easily read.
fn shown(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    match nanos {
        ..1e3 => format!("{nanos:.0} ns"),
        1e3..1e6 => format!("{:.2} µs", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}

/// A time with its unit, down to nanoseconds, which no time in a configuration has.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err("expected a time with its unit: ns, us, ms or s".to_owned()),
    };
    let seconds = number.parse::<f64>().map_err(|error| error.to_string())? * factor;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_down_to_nanoseconds() {
        assert_eq!(time("300ns"), Ok(Duration::from_nanos(300)));
        assert_eq!(time("1.5us"), Ok(Duration::from_nanos(1500)));
        assert_eq!(time("2ms"), Ok(Duration::from_millis(2)));
        for wrong in ["", "3", "us", "-1us", "1.2.3s", "3 weeks"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(shown(Duration::from_nanos(48)), "48 ns");
        assert_eq!(shown(Duration::from_nanos(1234)), "1.23 µs");
        assert_eq!(shown(Duration::from_micros(2500)), "2.50 ms");
    }

    #[test]
    fn what_was_not_measured_is_over_its_bound() {
        let row = |percentiles, bound| Row { name: "memo", count: 0, percentiles, bound };
        let nanos = Duration::from_nanos;
        assert!(row(None, Some(nanos(1))).is_over());
        assert!(!row(None, None).is_over());
        assert!(row(Some((nanos(2), nanos(3))), Some(nanos(1))).is_over());
        assert!(!row(Some((nanos(1), nanos(9))), Some(nanos(1))).is_over());
    }
}
