//! Times as people write them: RFC 3339, also shortened to the minute or to the day.
//!
//! Pure.

/// Seconds since 1970 of `2026-12-01T08:00:00+01:00`, `2026-12-01T08:00Z` or `2026-12-01`; without an offset it is UTC.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last one.
    let (since_march, years) = if month > 2 { (month - 3, year) } else { (month + 9, year - 1) };
    let days = years * 365 + years / 4 - years / 100 + years / 400 + (153 * since_march + 2) / 5 + day - 1 - 719_468;
    u64::try_from(days * 86_400 + time_of_day(rest)?).ok()
}

/// Seconds since midnight in UTC: of nothing, or of `T08:00`, with seconds or without, with an offset or without.
fn time_of_day(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let text = text.strip_prefix(['T', 't', ' '])?;
    let (time, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (&text[..at], offset(&text[at..])?),
        None => (text, 0),
    };
    // Parts of a second are none of a policy's clock.
    let time = match time.split_once('.') {
        Some((time, part)) if !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()) => time,
        Some(_) => return None,
        None => time,
    };
    let [hour, minute, second] = match time.len() {
        5 => numbers::<2>(time, ':', [2, 2]).map(|[hour, minute]| [hour, minute, 0])?,
        _ => numbers(time, ':', [2, 2, 2])?,
    };
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second - offset)
}

/// Seconds that a clock is ahead of UTC: `Z`, `+01:00`.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let [hour, minute] = numbers(text.get(1..)?, ':', [2, 2])?;
    let ahead = (hour < 24 && minute < 60).then_some(hour * 3600 + minute * 60)?;
    Some(if text.starts_with('-') { -ahead } else { ahead })
}

/// Numbers of so many digits each, with a mark between them.
fn numbers<const N: usize>(text: &str, mark: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(mark);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_whole_or_shortened() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("2026-12-01T08:00Z", Some(1_796_112_000)),
            ("2026-12-01T08:00:00Z", Some(1_796_112_000)),
            ("2026-12-01 08:00", Some(1_796_112_000)),
            ("2026-12-01T09:00:00.25+01:00", Some(1_796_112_000)),
            ("2026-12-01T00:30:00-07:30", Some(1_796_112_000)),
            ("2024-02-29", Some(1_709_164_800)),
            ("2000-02-29T23:59:59z", Some(951_868_799)),
            ("2025-02-29", None),
            ("2026-13-01", None),
            ("2026-00-10", None),
            ("2026-12-01T24:00Z", None),
            ("2026-12-01T08Z", None),
            ("2026-12-01T08:00+1:00", None),
            ("2026-12-01T08:00.Z", None),
            ("1969-12-31", None),
            ("26-12-01", None),
            ("2026-12-0é", None),
            ("soon", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
