//! Times as logs, pages and cookies have them.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time since 1970; one before is 1970.
pub fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970.
pub fn seconds_now() -> u64 {
    since_1970(SystemTime::now()).as_secs()
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Adds a time with milliseconds, as `2026-11-27T17:30:30.125Z` (RFC 3339).
pub fn rfc3339(out: &mut Vec<u8>, time: SystemTime) {
    thread_local! {
        /// Of the last one, its second since 1970 and its text: most of those that follow share it.
        static LAST: Cell<(u64, [u8; 24])> = const { Cell::new((u64::MAX, *b"0000-00-00T00:00:00.000Z")) };
    }
    let since = since_1970(time);
    let (mut second, mut text) = LAST.get();
    if second != since.as_secs() {
        second = since.as_secs();
        let (year, month, day) = civil(second / 86_400);
        let of_day = second % 86_400;
        let places = [(0, 4, year), (5, 2, month), (8, 2, day), (11, 2, of_day / 3600), (14, 2, of_day / 60 % 60)];
        for (at, digits, number) in places.into_iter().chain([(17, 2, of_day % 60)]) {
            write_digits(&mut text[at..at + digits], number);
        }
        LAST.set((second, text));
    }
    write_digits(&mut text[20..23], since.subsec_millis().into());
    out.extend_from_slice(&text);
}

/// The same as a text of its own.
pub fn timestamp(time: SystemTime) -> String {
    let mut text = Vec::with_capacity(24);
    rfc3339(&mut text, time);
    // Digits and punctuation.
    String::from_utf8(text).unwrap_or_default()
}

/// Year, month and day of a day since 1970, by the Gregorian calendar. Years begin in March here, so that a leap day is
/// the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next_year, month, day - first + 1)
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_795_800_630_125, "2026-11-27T17:30:30.125Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut out = Vec::new();
            rfc3339(&mut out, UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
