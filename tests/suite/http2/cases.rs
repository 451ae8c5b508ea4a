//! The cases of `cases.txt`, each on a connection of its own.

use super::{END_HEADERS, Frames, Front, GOAWAY, HEADERS, PING, RESET, SETTINGS, block, frame};

const CASES: &str = include_str!("cases.txt");

/// Pings that are answered before it is sure that nothing else comes.
const PINGS: usize = 50;

/// What a case ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// An answer of this status.
    Answer(u16),
    /// A stream was reset, with this code.
    Reset(u32),
    /// The connection was ended, with this code if it was told.
    Closed(Option<u32>),
    /// Nothing, and the connection goes on.
    Alive,
}

/// The block of a request; fields as `name=value;…`.
fn request(front: &Front, fields: &str) -> Vec<u8> {
    let fields: Vec<(&str, &str)> = pairs(fields).collect();
    let method = fields.iter().find(|(name, _)| *name == ":method").map_or("GET", |(_, value)| value);
    let others: Vec<(&str, &str)> = fields.iter().copied().filter(|(name, _)| *name != ":method").collect();
    front.request(method, &others)
}

fn pairs(fields: &str) -> impl Iterator<Item = (&str, &str)> {
    fields.split(';').filter_map(|pair| {
        // A pseudo field's name begins with a colon, and a value may have `=`.
        let cut = pair.get(1..)?.find('=')? + 1;
        Some((&pair[..cut], &pair[cut + 1..]))
    })
}

fn payload(front: &Front, text: &str) -> Vec<u8> {
    let part = |part: &str| {
        let inner = |name: &str| part.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']');
        if let Some(hex) = part.strip_prefix('#') {
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
            (0..hex.len()).step_by(2).map(byte).collect()
        } else if let Some(fields) = inner("raw") {
            block(&pairs(fields).collect::<Vec<_>>())
        } else if let Some(fields) = inner("req") {
            request(front, fields)
        } else if part == "req" {
            request(front, "")
        } else {
            vec![0; part.strip_prefix('z').and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{part:?}"))]
        }
    };
    text.split('+').flat_map(part).collect()
}

/// The bytes of a frame; its length is what its payload has, however large.
fn read(front: &Front, text: &str) -> Vec<u8> {
    let mut parts = text.splitn(4, ',');
    let mut part = || parts.next().unwrap_or_else(|| panic!("a frame has four parts: {text:?}"));
    let (kind, stream, flags, rest) = (part(), part(), part(), part());
    let known = ["D", "H", "P", "R", "S", "PP", "PI", "G", "W", "C"].iter().position(|known| *known == kind);
    let kind = known.and_then(|known| u8::try_from(known).ok());
    let kind = kind.or_else(|| u8::from_str_radix(text.get(1..3)?, 16).ok()).expect("a kind");
    let flag = |flag| match flag {
        'S' => 1,
        'H' => 4,
        'P' => 8,
        'Y' => 0x20,
        _ => panic!("a flag: {flag}"),
    };
    let flags = match u8::from_str_radix(flags, 16) {
        Ok(number) => number,
        Err(_) if flags == "-" => 0,
        Err(_) => flags.chars().map(flag).sum(),
    };
    frame(kind, flags, stream.parse().expect("a stream"), &payload(front, rest))
}

/// What comes. Pings go out until one thing is sure.
fn end(frames: &mut Frames, waits: bool) -> End {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes);
    let mut pings = 0;
    loop {
        match frames.next(&[HEADERS, RESET, GOAWAY, PING]) {
            None => return End::Closed(None),
            Some((HEADERS, block)) => return End::Answer(status(&block)),
            Some((RESET, code)) => return End::Reset(number(&code).expect("a code")),
            Some((GOAWAY, told)) => return End::Closed(number(&told[4..8])),
            Some((PING, told)) if told == *b"doorward" => {
                pings += 1;
                if pings > PINGS && !waits {
                    return End::Alive;
                }
                frames.write(&frame(PING, 0, 0, b"doorward"));
            }
            Some(_) => {}
        }
    }
}

/// The status of an answer: one of the first field's values that have an index, or a literal with the name of index 8, plain
/// or in Huffman's code (digits `0` to `2` have 5 bits, the others 6; RFC 7541, appendices A and B). A new size of the table
/// may come first.
fn status(block: &[u8]) -> u16 {
    let block = &block[block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count()..];
    match block.first() {
        Some(0x88) => return 200,
        Some(0x8c) => return 400,
        _ => {}
    }
    let value = block.get(2..).unwrap_or_default();
    if block.get(1) == Some(&3) {
        return std::str::from_utf8(&value[..3]).ok().and_then(|text| text.parse().ok()).expect("three digits");
    }
    let bits: String = value.iter().take(3).map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = u16::from_str_radix(&bits[at..at + 5], 2).expect("bits");
        let digit = if five <= 2 { five } else { u16::from_str_radix(&bits[at..at + 6], 2).expect("bits") - 0x19 + 3 };
        at += if five <= 2 { 5 } else { 6 };
        number = number * 10 + digit;
    }
    number
}

fn holds(expected: &str, end: End) -> bool {
    let (expected, instead) = expected.split_once('~').unwrap_or((expected, ""));
    match end {
        End::Closed(Some(code)) if instead == code.to_string() => return true,
        End::Answer(status) if instead == status.to_string() => return true,
        _ => {}
    }
    let (what, codes) = expected.split_once(' ').unwrap_or((expected, ""));
    let code = |code: u32| codes.split(',').any(|known| known.parse() == Ok(code));
    match (what, end) {
        ("200", End::Answer(status)) => status == 200,
        ("alive", End::Answer(200) | End::Alive) => true,
        ("refused", End::Answer(status)) => (400..500).contains(&status),
        ("refused", End::Reset(_) | End::Closed(_)) => true,
        ("stream" | "alive", End::Reset(told) | End::Closed(Some(told))) => code(told),
        ("conn", End::Closed(told)) => told.is_none_or(code),
        _ => false,
    }
}

#[test]
fn every_case_ends_as_the_rfcs_have_it() {
    let mut front = Front::new("");
    let lines = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut count, mut wrong) = (0, Vec::new());
    for line in lines {
        let (name, rest) = line.split_once(" => ").unwrap_or_else(|| panic!("{line}"));
        let (expected, frames) = rest.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let mut bytes: Vec<u8> = frames.split_whitespace().flat_map(|text| read(&front, text)).collect();
        bytes.extend(frame(PING, 0, 0, b"doorward"));
        // Where something has to come, however many pings are answered before it does.
        let end = end(&mut front.send(&[], &bytes), !expected.starts_with("alive"));
        if !holds(expected, end) {
            wrong.push(format!("{name}: {expected} was expected, {end:?} came"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 130, "{count} cases");
    let seen = front.node.hits();
    let refused: Vec<_> = seen.iter().filter(|hit| hit.target == "/refused" && hit.complete).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn a_preface_that_is_none_ends_the_connection() {
    let mut front = Front::new("");
    for preface in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r!",
        "GET / HTTP/1.1\r\nHost: mail.test\r\n\r\n",
        "PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n",
    ] {
        let mut frames = front.raw(preface.as_bytes());
        frames.write(&frame(SETTINGS, 0, 0, &[]));
        assert!(matches!(end(&mut frames, false), End::Closed(None | Some(1))), "{preface:?}");
    }
}

/// What is sent again and again, and how often. Others are served, whatever becomes of the connection.
#[test]
fn floods_stop_nobody_else() {
    let mut front = Front::new("");
    let open = frame(HEADERS, END_HEADERS, 1, &front.request("POST", &[(":path", "/flood")]));
    let begun = frame(HEADERS, 0, 1, &front.request("GET", &[(":path", "/flood")]));
    let resets = |front: &Front| -> Vec<u8> {
        let block = front.request("GET", &[(":path", "/flood")]);
        let one = |stream| [frame(HEADERS, 5, stream, &block), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat();
        (0..10_000).flat_map(|number| one(2 * number + 1)).collect()
    };
    // One field of 4 KiB that is indexed, and then named by one byte, 16,000 times.
    let bomb = [block_indexed(&"x".repeat(3900)), vec![0xbe; 16_000]].concat();
    let bomb = [front.request("GET", &[(":path", "/flood")]), bomb].concat();
    let (first, rest) = bomb.split_at(16_000);
    let floods = [
        ("rapid reset", resets(&front)),
        ("continuation", [begun, frame(9, 0, 1, &[0; 16_384]).repeat(500)].concat()),
        ("empty continuation", [frame(HEADERS, 0, 1, &[]), frame(9, 0, 1, &[]).repeat(100_000)].concat()),
        ("settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(50_000)),
        ("ping", frame(PING, 0, 0, &[0; 8]).repeat(50_000)),
        ("empty data", [open, frame(0, 0, 1, &[]).repeat(50_000)].concat()),
        ("bomb", [frame(HEADERS, 1, 1, first), frame(9, END_HEADERS, 1, rest)].concat()),
    ];
    for (name, flood) in floods {
        let mut frames = front.send(&[], &[]);
        // The proxy may end the connection before it has all.
        let _ = frames.try_write(&flood);
        let request = frame(HEADERS, 5, 1, &front.request("GET", &[]));
        assert!(front.send(&[], &request).is_accepted(), "another client after {name}");
        drop(frames);
    }
    let flooded = front.node.hits().iter().filter(|hit| hit.target == "/flood").count();
    assert!(flooded < 3000, "{flooded} requests got through");
}

/// A literal that goes into the table, with a name of its own (RFC 7541, section 6.2.1).
fn block_indexed(value: &str) -> Vec<u8> {
    let mut block = block(&[("x-big", value)]);
    block[0] = 0x40;
    block
}
