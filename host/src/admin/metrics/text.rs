//! Metrics as text: Prometheus' format (version 0.0.4), and OpenMetrics 1.0 for who asks for it.

use std::fmt::Write as _;

use super::row::{Kind, Labels, Metric, Value, Values};
use crate::counters::Exemplar;
use crate::times::since_1970;

/// In which format metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admin) enum Format {
    /// Prometheus' own.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// The one that an `Accept` asks for.
    pub(in crate::admin) fn of(accept: &str) -> Self {
        let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        if kinds.into_iter().any(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// The one of this name; Prometheus' own where none is named.
    pub(in crate::admin) fn named(name: &str) -> Option<Self> {
        let both = [Self::Prometheus, Self::OpenMetrics];
        if name.is_empty() { Some(Self::Prometheus) } else { both.into_iter().find(|format| format.name() == name) }
    }

    /// Its name.
    pub(in crate::admin) fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::OpenMetrics => "openmetrics",
        }
    }

    /// Its `Content-Type`.
    pub(in crate::admin) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What `# TYPE` and `# HELP` call a metric, and its type.
    fn family(self, metric: &Metric) -> (&'static str, &'static str) {
        let name = metric.name;
        match (self, metric.kind) {
            (Self::OpenMetrics, Kind::Counter) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Self::OpenMetrics, Kind::Info) => (name.strip_suffix("_info").unwrap_or(name), "info"),
            (_, Kind::Counter) => (name, "counter"),
            (_, Kind::Gauge | Kind::Info) => (name, "gauge"),
            (_, Kind::Histogram) => (name, "histogram"),
        }
    }
}

/// Metrics with their numbers. One without numbers is named all the same.
pub(super) fn write<'a>(metrics: impl Iterator<Item = (&'a Metric, Values)>, format: Format) -> String {
    let mut text = String::new();
    for (metric, values) in metrics {
        let (family, kind) = format.family(metric);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {family} {}\n# TYPE {family} {kind}", metric.help);
        for (labels, value) in values {
            match value {
                Value::Whole(value) => line(&mut text, (metric.name, ""), (&labels, None), value),
                Value::Real(value) => line(&mut text, (metric.name, ""), (&labels, None), value),
                Value::Spread(observed) => {
                    for (bucket, (bound, count)) in observed.cumulative().enumerate() {
                        let exemplar = observed.exemplar(bucket).filter(|_| format == Format::OpenMetrics);
                        let count = format!("{count}{}", exemplar.map(told).unwrap_or_default());
                        line(&mut text, (metric.name, "_bucket"), (&labels, Some(bound)), count);
                    }
                    line(&mut text, (metric.name, "_sum"), (&labels, None), observed.seconds());
                    line(&mut text, (metric.name, "_count"), (&labels, None), observed.count());
                }
            }
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

/// An exemplar, as it stands behind a number.
fn told(Exemplar { trace, took, time }: &Exemplar) -> String {
    let time = since_1970(*time);
    format!(" # {{trace_id=\"{trace}\"}} {} {:.3}", took.as_secs_f64(), time.as_secs_f64())
}

fn line(
    text: &mut String,
    (name, suffix): (&str, &str),
    (labels, bound): (&Labels, Option<&str>),
    value: impl std::fmt::Display,
) {
    let _ = write!(text, "{name}{suffix}");
    let labels = labels.iter().map(|(label, value)| (*label, escaped(value)));
    let labels = labels.chain(bound.map(|bound| ("le", bound.to_owned())));
    let mut begin = '{';
    for (label, value) in labels {
        let _ = write!(text, "{begin}{label}=\"{value}\"");
        begin = ',';
    }
    let _ = writeln!(text, "{} {value}", if begin == ',' { "}" } else { "" });
}

/// A label's value, escaped as both formats ask for.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, format) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain", Format::Prometheus),
            (prometheus, Format::OpenMetrics),
            ("Application/OpenMetrics-Text", Format::OpenMetrics),
        ] {
            assert_eq!(Format::of(accept), format, "{accept}");
        }
    }

    #[test]
    fn labels_are_escaped_and_the_bound_is_the_last_of_them() {
        let mut text = String::new();
        line(&mut text, ("a", "_bucket"), (&vec![("x", "\"\\\n".to_owned())], Some("1.0")), 3_u64);
        line(&mut text, ("b", ""), (&Vec::new(), None), 0.5);
        assert_eq!(text, "a_bucket{x=\"\\\"\\\\\\n\",le=\"1.0\"} 3\nb 0.5\n");
    }
}
