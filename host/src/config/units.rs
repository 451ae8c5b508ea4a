//! Durations and sizes as an operator writes them: always with their unit.
//!
//! Pure.

use std::time::Duration;

use doorward_wire::cookie_date::days;
use toml::value::{Datetime, Offset};

/// Units of time, longest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size. `KB` and `MB` are those of the original, which counts in 1024 (RFC-less habit of mail servers).
const SIZES: [(&str, u64); 7] =
    [("B", 1), ("KiB", 1 << 10), ("KB", 1 << 10), ("MiB", 1 << 20), ("MB", 1 << 20), ("GiB", 1 << 30), ("GB", 1 << 30)];

/// `"300s"`, `"5m"`, `"10ms"`.
pub fn duration(text: &str) -> Option<Duration> {
    number_with_unit(text, &TIMES).map(Duration::from_millis)
}

/// `"64KiB"`, `"16MiB"`: bytes.
pub fn size(text: &str) -> Option<u64> {
    number_with_unit(text, &SIZES)
}

/// `2026-12-01T08:00:00Z`: seconds since 1970. A time without its offset is another one in each place.
pub fn moment(moment: &Datetime) -> Option<u64> {
    let (date, time) = (moment.date?, moment.time?);
    let offset = match moment.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes) * 60,
    };
    let clock = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
    let day = days(date.year.into(), date.month.into(), date.day.into());
    u64::try_from(day * 86_400 + clock - offset).ok()
}

fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_everywhere() {
        let check = |text: &str, seconds: Option<u64>| assert_eq!(moment(&text.parse().unwrap()), seconds, "{text}");
        check("2026-12-01T08:00:00Z", Some(1_796_112_000));
        check("2026-12-01T10:00:00+02:00", Some(1_796_112_000));
        check("2026-12-01 02:30:00-05:30", Some(1_796_112_000));
        check("1970-01-01T00:00:00Z", Some(0));
        check("1969-12-31T23:59:59Z", None);
        check("2026-12-01T08:00:00", None);
        check("2026-12-01", None);
        check("08:00:00", None);
    }

    #[test]
    fn times_and_sizes_carry_their_unit() {
        assert_eq!(duration("300s"), Some(Duration::from_secs(300)));
        assert_eq!(duration("10ms"), Some(Duration::from_millis(10)));
        assert_eq!(duration("2 h"), Some(Duration::from_secs(7200)));
        assert_eq!(size("64KiB"), Some(65536));
        assert_eq!(size("1GiB"), Some(1 << 30));
        for bad in ["", "5", "s", "-5s", "5 parsecs", "1.5s", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(size("5"), None);
    }
}
