//! Dates, times and days of the week, at a fixed offset from UTC, as RFC 3339 writes them.
//!
//! Pure.
//!
//! The program is built with this very file too, to read the times of its command line and of test vectors: so it imports
//! nothing of the crate.

use std::fmt;
use std::str::FromStr;

const DAY: i64 = 86_400;
/// Days from the first of March of the year 0 to the first of January 1970.
const MARCH_OF_YEAR_0: i64 = 719_468;
/// Days of 400 years, after which the calendar repeats itself.
const CYCLE: i64 = 146_097;

/// A day and a time of day at an offset from UTC, to the second. There are no time zones: an offset knows nothing of
/// summer time.
///
/// Written as in RFC 3339 (`2026-12-01T08:00:00+01:00`). Also read are shorter forms: `2026-12-01T08:00Z`, `2026-12-01`;
/// without an offset it is UTC. Parts of a second are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime {
    /// The year (2026).
    pub year: i64,
    /// The month, from 1 to 12.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The day of the week.
    pub weekday: Weekday,
    /// The hour, from 0 to 23.
    pub hour: u8,
    /// The minute, from 0 to 59.
    pub minute: u8,
    /// The second, from 0 to 59: as in all of Unix, there are no leap seconds.
    pub second: u8,
    /// How far the clock is ahead of UTC.
    pub offset: Offset,
}

impl DateTime {
    /// What a clock at this offset shows, so many seconds after 1970 began in UTC: the fact `now`.
    pub fn new(now: u64, offset: Offset) -> DateTime {
        let seconds = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(offset.seconds());
        let days = seconds.div_euclid(DAY);
        // Years begin in March here, so that the leap day is the last one.
        let (cycle, of_cycle) =
            ((days + MARCH_OF_YEAR_0).div_euclid(CYCLE), (days + MARCH_OF_YEAR_0).rem_euclid(CYCLE));
        let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / (CYCLE - 1)) / 365;
        let of_year = of_cycle - (365 * year + year / 4 - year / 100);
        let since_march = (5 * of_year + 2) / 153;
        let month = if since_march < 10 { since_march + 3 } else { since_march - 9 };
        let time = seconds.rem_euclid(DAY);
        DateTime {
            year: cycle * 400 + year + i64::from(month <= 2),
            month: small(month),
            day: small(of_year - (153 * since_march + 2) / 5 + 1),
            weekday: Weekday::of(days),
            hour: small(time / 3600),
            minute: small(time / 60 % 60),
            second: small(time % 60),
            offset,
        }
    }

    /// Seconds since 1970 began in UTC; fewer than none for a time before.
    pub fn seconds(&self) -> i64 {
        let days = days_since_1970(self.year, self.month.into(), self.day.into());
        days * DAY + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second)
            - self.offset.seconds()
    }

    /// Minutes since midnight: to compare with opening hours.
    pub fn minute_of_day(&self) -> u16 {
        u16::from(self.hour) * 60 + u16::from(self.minute)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DateTime { year, month, day, hour, minute, second, offset, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{offset}")
    }
}

impl FromStr for DateTime {
    /// What is wrong, for the operator.
    type Err = String;

    fn from_str(text: &str) -> Result<DateTime, String> {
        parse(text).ok_or_else(|| format!("`{text}` is not a time such as 2026-12-01T08:00:00+01:00"))
    }
}

/// How far a clock is ahead of UTC (`+01:00`), or behind (`-07:30`), by less than a day; `Z` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offset {
    minutes: i16,
}

impl Offset {
    /// Coordinated Universal Time itself.
    pub const UTC: Offset = Offset { minutes: 0 };

    /// Seconds that the clock is ahead of UTC; fewer than none where it is behind.
    pub fn seconds(self) -> i64 {
        i64::from(self.minutes) * 60
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Offset::UTC {
            return f.write_str("Z");
        }
        let (sign, minutes) = (if self.minutes < 0 { '-' } else { '+' }, self.minutes.unsigned_abs());
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl FromStr for Offset {
    /// What is wrong, for the operator.
    type Err = String;

    fn from_str(text: &str) -> Result<Offset, String> {
        parse_offset(text).ok_or_else(|| format!("`{text}` is not an offset from UTC such as +01:00, -07:30 or Z"))
    }
}

/// A day of the week. Days compare as in a week that begins on Monday (ISO 8601).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    /// All of them, from Monday on.
    pub const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    /// The English name ("Monday").
    pub fn name(self) -> &'static str {
        match self {
            Weekday::Monday => "Monday",
            Weekday::Tuesday => "Tuesday",
            Weekday::Wednesday => "Wednesday",
            Weekday::Thursday => "Thursday",
            Weekday::Friday => "Friday",
            Weekday::Saturday => "Saturday",
            Weekday::Sunday => "Sunday",
        }
    }

    /// Of a day, counted from the first of January 1970, which was a Thursday.
    fn of(days: i64) -> Weekday {
        match (days + 3).rem_euclid(7) {
            0 => Weekday::Monday,
            1 => Weekday::Tuesday,
            2 => Weekday::Wednesday,
            3 => Weekday::Thursday,
            4 => Weekday::Friday,
            5 => Weekday::Saturday,
            _ => Weekday::Sunday,
        }
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Weekday {
    /// What is wrong, for the operator.
    type Err = String;

    /// Reads the English name or its first three letters, in either case.
    fn from_str(text: &str) -> Result<Weekday, String> {
        let is = |day: &Weekday| text.eq_ignore_ascii_case(day.name()) || text.eq_ignore_ascii_case(&day.name()[..3]);
        Weekday::ALL.into_iter().find(is).ok_or_else(|| format!("`{text}` is not a day such as Monday or Mon"))
    }
}

/// Numbers that are below 100 by how they were made.
fn small(number: i64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Days from the first of January 1970 to a day.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (since_march, year) = if month > 2 { (month - 3, year) } else { (month + 9, year - 1) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * since_march + 2) / 5 + day - 1 - MARCH_OF_YEAR_0
}

fn parse(text: &str) -> Option<DateTime> {
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
    let ([hour, minute, second], offset) = parse_time(rest)?;
    let weekday = Weekday::of(days_since_1970(year, month, day));
    Some(DateTime {
        year,
        month: small(month),
        day: small(day),
        weekday,
        hour: small(hour),
        minute: small(minute),
        second: small(second),
        offset,
    })
}

/// Hour, minute and second: of nothing, or of `T08:00`, with seconds or without, with an offset or without.
fn parse_time(text: &str) -> Option<([i64; 3], Offset)> {
    if text.is_empty() {
        return Some(([0; 3], Offset::UTC));
    }
    let text = text.strip_prefix(['T', 't', ' '])?;
    let (time, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (&text[..at], parse_offset(&text[at..])?),
        None => (text, Offset::UTC),
    };
    let time = match time.split_once('.') {
        Some((time, part)) if time.len() == 8 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) => {
            time
        }
        Some(_) => return None,
        None => time,
    };
    let [hour, minute, second] = match time.len() {
        5 => numbers::<2>(time, ':', [2, 2]).map(|[hour, minute]| [hour, minute, 0])?,
        _ => numbers(time, ':', [2, 2, 2])?,
    };
    (hour < 24 && minute < 60 && second < 60).then_some(([hour, minute, second], offset))
}

fn parse_offset(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let (ahead, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let [hour, minute] = numbers(rest, ':', [2, 2])?;
    let minutes = (hour < 24 && minute < 60).then_some(hour * 60 + minute)?;
    Some(Offset { minutes: i16::try_from(ahead * minutes).ok()? })
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
            ("2026-12-01T08:00:00-00:00", Some(1_796_112_000)),
            ("2024-02-29", Some(1_709_164_800)),
            ("2000-02-29T23:59:59z", Some(951_868_799)),
            ("1969-12-31", Some(-86_400)),
            ("0000-01-01", Some(-62_167_219_200)),
            ("2025-02-29", None),
            ("2100-02-29", None),
            ("2026-13-01", None),
            ("2026-00-10", None),
            ("2026-04-31", None),
            ("2026-12-01T24:00Z", None),
            ("2026-12-01T23:59:60Z", None),
            ("2026-12-01T08Z", None),
            ("2026-12-01T08:00+1:00", None),
            ("2026-12-01T08:00+24:00", None),
            ("2026-12-01T08:00.Z", None),
            ("2026-12-01T08:00.5Z", None),
            ("26-12-01", None),
            ("2026-12-0é", None),
            ("soon", None),
        ] {
            assert_eq!(parse(text).map(|time| time.seconds()), expected, "{text}");
        }
    }

    #[test]
    fn a_clock_shows_the_day_and_time_of_its_offset() {
        for (now, offset, shown, weekday) in [
            (0, "Z", "1970-01-01T00:00:00Z", "Thursday"),
            (0, "-00:01", "1969-12-31T23:59:00-00:01", "Wednesday"),
            (1_796_112_000, "+01:00", "2026-12-01T09:00:00+01:00", "Tuesday"),
            (1_796_112_000, "-07:30", "2026-12-01T00:30:00-07:30", "Tuesday"),
            (1_796_112_000, "-08:30", "2026-11-30T23:30:00-08:30", "Monday"),
            // The year changes, forwards and backwards.
            (1_798_761_599, "Z", "2026-12-31T23:59:59Z", "Thursday"),
            (1_798_761_600, "Z", "2027-01-01T00:00:00Z", "Friday"),
            (1_798_759_800, "+05:45", "2027-01-01T05:15:00+05:45", "Friday"),
            (1_798_761_600, "-03:00", "2026-12-31T21:00:00-03:00", "Thursday"),
            // Leap years: 2024 and 2000 are, 2026 and 2100 are not.
            (1_709_164_799, "Z", "2024-02-28T23:59:59Z", "Wednesday"),
            (1_709_164_800, "Z", "2024-02-29T00:00:00Z", "Thursday"),
            (1_709_251_200, "Z", "2024-03-01T00:00:00Z", "Friday"),
            (951_868_799, "Z", "2000-02-29T23:59:59Z", "Tuesday"),
            (1_772_323_200, "Z", "2026-03-01T00:00:00Z", "Sunday"),
            (4_107_542_399, "Z", "2100-02-28T23:59:59Z", "Sunday"),
            (4_107_542_400, "Z", "2100-03-01T00:00:00Z", "Monday"),
            (253_402_300_799, "Z", "9999-12-31T23:59:59Z", "Friday"),
        ] {
            let time = DateTime::new(now, offset.parse().unwrap());
            assert_eq!((time.to_string().as_str(), time.weekday.name()), (shown, weekday), "{now} {offset}");
            // What is written is read as the same.
            assert_eq!(shown.parse(), Ok(time), "{shown}");
            assert_eq!(time.seconds(), i64::try_from(now).unwrap(), "{shown}");
        }
    }

    #[test]
    fn each_day_of_a_cycle_follows_the_one_before() {
        let mut before = DateTime::new(0, Offset::UTC);
        for day in 1..u64::try_from(CYCLE).unwrap() {
            let time = DateTime::new(day * 86_400, Offset::UTC);
            let next = (before.year, before.month, before.day + 1);
            let begins = if before.month == 12 { (before.year + 1, 1, 1) } else { (before.year, before.month + 1, 1) };
            let shown = (time.year, time.month, time.day);
            let last = parse(&format!("{:04}-{:02}-{:02}", next.0, next.1, next.2)).is_none();
            assert_eq!(shown, if last { begins } else { next });
            assert_eq!(time.seconds(), i64::try_from(day * 86_400).unwrap());
            assert_eq!(time.weekday as u8, (before.weekday as u8 + 1) % 7);
            before = time;
        }
    }

    #[test]
    fn no_number_of_seconds_is_too_large() {
        for now in [u64::MAX, u64::from(u32::MAX), i64::MAX.unsigned_abs()] {
            for offset in ["+23:59", "-23:59"] {
                let time = DateTime::new(now, offset.parse().unwrap());
                assert!((1..=12).contains(&time.month) && (1..=31).contains(&time.day) && time.hour < 24, "{time}");
            }
        }
    }

    #[test]
    fn offsets_are_read_and_written() {
        for (text, seconds, written) in [
            ("Z", 0, "Z"),
            ("z", 0, "Z"),
            ("+00:00", 0, "Z"),
            ("+01:00", 3600, "+01:00"),
            ("-07:30", -27_000, "-07:30"),
            ("-00:30", -1800, "-00:30"),
            ("+23:59", 86_340, "+23:59"),
        ] {
            let offset: Offset = text.parse().unwrap();
            assert_eq!((offset.seconds(), offset.to_string().as_str()), (seconds, written), "{text}");
        }
        for text in ["", "01:00", "+1:00", "+0100", "+24:00", "+01:60", "CET", "+01:00:00", "é01:00"] {
            assert!(text.parse::<Offset>().unwrap_err().contains("such as +01:00"), "{text}");
        }
    }

    #[test]
    fn days_are_read_in_either_case_and_by_three_letters() {
        assert_eq!("monday".parse(), Ok(Weekday::Monday));
        assert_eq!("SUN".parse(), Ok(Weekday::Sunday));
        for text in ["", "Mo", "Montag", "mond", "é"] {
            assert!(text.parse::<Weekday>().unwrap_err().contains("such as Monday"), "{text}");
        }
        assert!(Weekday::Monday < Weekday::Friday);
        let time: DateTime = "2026-12-01T17:30+01:00".parse().unwrap();
        assert_eq!((time.weekday, time.minute_of_day()), (Weekday::Tuesday, 17 * 60 + 30));
        assert!("noon".parse::<DateTime>().unwrap_err().contains("such as 2026-12-01T08:00:00+01:00"));
    }
}
