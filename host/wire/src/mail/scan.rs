//! Where a command ends. A line's end decides: bytes of a literal belong to the command before them, whoever refuses it (RFC
//! 7888, section 3).
//!
//! Invariants: each byte is looked at once, however they arrive; a command, its literals included, is no longer than its
//! bound.

/// Which literals a protocol has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literals {
    /// None: a line is a command (POP3, submission).
    None,
    /// `{n+}` only (ManageSieve, RFC 5804, section 1.2).
    NonSynchronizing,
    /// `{n}`, which waits to be invited, and `{n+}` (IMAP, RFC 7888).
    Both,
}

/// Bounds, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A whole command with its literals and line ends.
    pub command: usize,
    /// The same for a command that `is_long` knows: those with tokens.
    pub long: usize,
    /// One literal.
    pub literal: usize,
    /// Whether a command that begins like this is a long one.
    pub is_long: fn(&[u8]) -> bool,
}

/// What was found at the beginning of what a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A part of a command.
    More,
    /// A command of so many bytes, its line end included.
    Command(usize),
    /// So many bytes of a command, behind which the client waits to be invited to send a literal. [`Scanner::invited`] goes
    /// on; whoever refuses the command drops these bytes, since the client then sends no more of it.
    Waits(usize),
    /// So many bytes of a command whose next literal is too large. The client waits, and will not send it.
    Refuse(usize),
    /// A command that is too long, or has a literal that is too large and on its way: nobody can say where the next command
    /// begins.
    TooLarge,
    /// A NUL where no literal is.
    Nul,
}

/// Finds the end of one command after the other.
#[derive(Debug)]
pub struct Scanner {
    literals: Literals,
    limits: Limits,
    /// Bytes that were looked at.
    at: usize,
    /// Where the current line begins.
    line: usize,
    waits: bool,
}

impl Scanner {
    /// A scanner that is at the beginning of a command.
    pub fn new(literals: Literals, limits: Limits) -> Self {
        Self { literals, limits, at: 0, line: 0, waits: false }
    }

    /// Looks at what is there of a command. `bytes` begins where the command does; after [`Found::Command`] and
    /// [`Found::Refuse`], and after a refusal of [`Found::Waits`], with what follows it, and [`Scanner::next`] was called.
    pub fn scan(&mut self, bytes: &[u8]) -> Found {
        if self.waits {
            return Found::Waits(self.at);
        }
        loop {
            // In a literal no byte is looked at.
            let unseen = bytes.get(self.at..).unwrap_or_default();
            let end = memchr::memchr2(b'\n', 0, unseen).map(|end| self.at + end);
            let seen = end.map_or(bytes.len().max(self.at), |end| end + 1);
            if seen > self.limit(bytes) {
                return Found::TooLarge;
            }
            let Some(end) = end else {
                // What is behind the buffer's end is the rest of a literal.
                self.at = self.at.max(bytes.len());
                return Found::More;
            };
            if bytes.get(end) == Some(&0) {
                return Found::Nul;
            }
            let line = bytes.get(self.line..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.at = end + 1;
            match self.literal(line) {
                None => return Found::Command(self.at),
                Some((size, Sent::After)) => {
                    if size > self.limits.literal || self.at.saturating_add(size) > self.limit(bytes) {
                        return Found::TooLarge;
                    }
                    self.at += size;
                    self.line = self.at;
                }
                Some((size, Sent::WhenInvited)) => {
                    if size > self.limits.literal || self.at.saturating_add(size) > self.limit(bytes) {
                        return Found::Refuse(self.at);
                    }
                    self.waits = true;
                    return Found::Waits(self.at);
                }
            }
        }
    }

    /// The client was invited to send the literal that it waits with. `bytes` is what [`Scanner::scan`] saw.
    pub fn invited(&mut self, bytes: &[u8]) {
        if std::mem::take(&mut self.waits) {
            let line = bytes.get(self.line..self.at).unwrap_or_default();
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.at += self.literal(line).map_or(0, |(size, _)| size);
            self.line = self.at;
        }
    }

    /// The next command begins.
    pub fn next(&mut self) {
        (self.at, self.line, self.waits) = (0, 0, false);
    }

    fn limit(&self, bytes: &[u8]) -> usize {
        if (self.limits.is_long)(bytes) { self.limits.long } else { self.limits.command }
    }

    /// The literal that a line ends with.
    fn literal(&self, line: &[u8]) -> Option<(usize, Sent)> {
        let (size, sent) = size_of_literal(line)?;
        match (self.literals, sent) {
            (Literals::None, _) | (Literals::NonSynchronizing, Sent::WhenInvited) => None,
            (Literals::Both, _) | (Literals::NonSynchronizing, Sent::After) => Some((size, sent)),
        }
    }
}

/// When a literal is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// When the server invited it.
    WhenInvited,
    /// Right after the line.
    After,
}

/// The size of the literal that a line ends with (`{n}` or `{n+}`, also behind `~` of RFC 3516); one that no number has room
/// for is as large as can be.
pub fn size_of_literal(line: &[u8]) -> Option<(usize, Sent)> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, sent) = inner.strip_suffix(b"+").map_or((inner, Sent::WhenInvited), |inner| (inner, Sent::After));
    let begin = memchr::memrchr(b'{', inner)?;
    let digits = inner.get(begin + 1..).filter(|digits| !digits.is_empty())?;
    let mut size = 0_usize;
    for digit in digits {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        size = size.saturating_mul(10).saturating_add(usize::from(digit));
    }
    Some((size, sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { command: 64, long: 128, literal: 32, is_long: |bytes| bytes.starts_with(b"a AUTHENTICATE ") };

    /// What is found, one command after the other, if each is taken whole and invited.
    fn all(literals: Literals, bytes: &[u8], chunk: usize) -> Vec<String> {
        let (mut scanner, mut found, mut begin, mut end) = (Scanner::new(literals, LIMITS), Vec::new(), 0, 0);
        loop {
            match scanner.scan(&bytes[begin..end]) {
                Found::More if end == bytes.len() => return found,
                Found::More => end = bytes.len().min(end + chunk),
                Found::Waits(_) => {
                    found.push("+".to_owned());
                    scanner.invited(&bytes[begin..end]);
                }
                Found::Command(length) => {
                    found.push(String::from_utf8_lossy(&bytes[begin..begin + length]).into_owned());
                    begin += length;
                    scanner.next();
                }
                Found::Refuse(length) => {
                    found.push("too large".to_owned());
                    begin += length;
                    scanner.next();
                }
                other => {
                    found.push(format!("{other:?}"));
                    return found;
                }
            }
        }
    }

    #[test]
    fn commands_end_where_their_literals_do_however_they_are_cut() {
        let cases: [(&[u8], &[&str]); 10] = [
            (b"a NOOP\r\nb NOOP\r\n", &["a NOOP\r\n", "b NOOP\r\n"]),
            (b"a LOGIN {3+}\r\nbob {3+}\r\npwd\r\nb", &["a LOGIN {3+}\r\nbob {3+}\r\npwd\r\n"]),
            (b"a LOGIN {3}\r\nbob {3}\r\npwd\r\n", &["+", "+", "a LOGIN {3}\r\nbob {3}\r\npwd\r\n"]),
            (b"a XYZZY {8+}\r\nb NOOP\r\n\r\nc NOOP\r\n", &["a XYZZY {8+}\r\nb NOOP\r\n\r\n", "c NOOP\r\n"]),
            (b"a LOGIN ~{3+}\r\nbob p\r\nb NOOP\r\n", &["a LOGIN ~{3+}\r\nbob p\r\n", "b NOOP\r\n"]),
            (b"a {33}\r\nb NOOP\r\n", &["too large", "b NOOP\r\n"]),
            (b"a {33+}\r\n", &["TooLarge"]),
            (b"a {99999999999999999999999+}\r\n", &["TooLarge"]),
            (b"a \0\r\n", &["Nul"]),
            (b"a {1+}\r\n\0\nb\n", &["a {1+}\r\n\0\n", "b\n"]),
        ];
        for (bytes, expected) in cases {
            for chunk in [1, 2, 3, 7, 1000] {
                assert_eq!(all(Literals::Both, bytes, chunk), expected, "{:?}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[test]
    fn a_command_has_a_bound_and_a_long_one_another() {
        let line = |length: usize| [b"b ".as_slice(), &vec![b'x'; length]].concat();
        assert_eq!(Scanner::new(Literals::Both, LIMITS).scan(&line(62)), Found::More);
        assert_eq!(Scanner::new(Literals::Both, LIMITS).scan(&line(63)), Found::TooLarge);
        let long = [b"a AUTHENTICATE PLAIN ".as_slice(), &[b'x'; 107]].concat();
        assert_eq!(Scanner::new(Literals::Both, LIMITS).scan(&long), Found::More);
        assert_eq!(Scanner::new(Literals::Both, LIMITS).scan(&[long, vec![b'x']].concat()), Found::TooLarge);
        // Literals count as well.
        let literals = b"b {30+}\r\n123456789012345678901234567890{30+}\r\n";
        assert_eq!(Scanner::new(Literals::Both, LIMITS).scan(literals), Found::TooLarge);
    }

    #[test]
    fn literals_are_those_of_the_protocol() {
        assert_eq!(all(Literals::None, b"PASS {3+}\r\nSTAT\r\n", 9), ["PASS {3+}\r\n", "STAT\r\n"]);
        let sieve = all(Literals::NonSynchronizing, b"A {3}\r\nB {3+}\r\n\r\n\r\r\n", 2);
        assert_eq!(sieve, ["A {3}\r\n", "B {3+}\r\n\r\n\r\r\n"]);
    }

    #[test]
    fn what_is_no_literal_is_text() {
        for text in ["{-1}", "{+3}", "{3++}", "{}", "{3 }", "{0x3}", "{3+} ", "3}", "{+}"] {
            assert_eq!(size_of_literal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(size_of_literal(b"x {4294967299}"), Some((4_294_967_299, Sent::WhenInvited)));
        assert_eq!(size_of_literal(b"{99999999999999999999999999+}"), Some((usize::MAX, Sent::After)));
    }
}
