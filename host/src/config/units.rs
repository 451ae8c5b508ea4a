//! Durations and sizes as an operator writes them: always with their unit.
//!
//! Pure.

use std::time::Duration;

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
