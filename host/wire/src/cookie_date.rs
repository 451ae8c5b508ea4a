//! Dates of cookies, as servers write them (RFC 6265, section 5.1.1).
//!
//! Pure.

/// Seconds since 1970, negative before; none when it is no date.
pub fn parse(text: &str) -> Option<i64> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    let is_delimiter = |c: char| matches!(c, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~');
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        // Each token is the first thing that it can be and that was not found yet.
        if time.is_none() && time_of(token).is_some() {
            time = time_of(token);
        } else if day.is_none() && number(token, 1..=2).is_some() {
            day = number(token, 1..=2);
        } else if month.is_none() && month_of(token).is_some() {
            month = month_of(token);
        } else if year.is_none() && number(token, 2..=4).is_some() {
            year = number(token, 2..=4);
        }
    }
    let (time, day, month) = (time?, day?, month?);
    let year = match year? {
        short @ 0..=69 => short + 2000,
        short @ 70..=99 => short + 1900,
        long => long,
    };
    let right = (1..=31).contains(&day) && year >= 1601;
    right.then(|| days(year, month, day) * 86_400 + time)
}

/// A number that a token begins with, of so many digits; something else than a digit may follow.
fn number(token: &str, length: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let end = token.find(|c: char| !c.is_ascii_digit()).unwrap_or(token.len());
    token.get(..end).filter(|_| length.contains(&end))?.parse().ok()
}

fn time_of(token: &str) -> Option<i64> {
    let mut parts = token.splitn(3, ':');
    let (hour, minute) = (parts.next()?, parts.next()?);
    let whole = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| number(part, 1..=2)).flatten();
    let (hour, minute, second) = (whole(hour)?, whole(minute)?, number(parts.next()?, 1..=2)?);
    (hour <= 23 && minute <= 59 && second <= 59).then_some(hour * 3600 + minute * 60 + second)
}

fn month_of(token: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let begin = token.get(..3)?;
    (1..).zip(MONTHS).find(|(_, month)| begin.eq_ignore_ascii_case(month)).map(|(number, _)| number)
}

/// Days since 1970 of a date of the Gregorian calendar. Years begin in March here, so that a leap day is the last one.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_whatever_order_they_are_written() {
        let check = |text: &str, seconds: Option<i64>| assert_eq!(parse(text), seconds, "{text:?}");
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("Thu, 01-Jan-1970 00:00:01 GMT", Some(1));
        check("Thursday, 01-Jan-70 00:00:01 GMT", Some(1));
        check("Sun Nov  6 08:49:37 1994", Some(784_111_777));
        check("06 nov 94 8:49:37", Some(784_111_777));
        check("8:49:37 1994 06 November", Some(784_111_777));
        check("Fri, 31 Dec 1999 23:59:59 GMT", Some(946_684_799));
        check("Tue, 29 Feb 2028 12:00:00 GMT", Some(1_835_438_400));
        check("Sat, 29-Aug-1638 00:00:00 GMT", Some(-10_456_128_000));
        for none in
            ["", "x", "0", "Thu, 32 Jan 1970 00:00:00", "01 Jan 1600 00:00:00", "01 Jan 1970 24:00:00", "01 Jan 1970"]
        {
            check(none, None);
        }
    }

    /// No text makes it panic.
    #[test]
    fn any_text_is_survived() {
        let parts = ["Jan", "é", ":", "1", "99999999999999999999", "70", "0:0:0", " ", "-", "Fe", "\t", "00:00:99"];
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..7 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(parts[(state >> 33) as usize % parts.len()]);
            }
            let _ = parse(&text);
        }
    }
}
