//! A login at a submission server (RFC 6409; AUTH of RFC 4954, STARTTLS of RFC 3207, Postfix's XCLIENT).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::said::{Challenged, Login, PROXY_TTL, Told, acknowledged, plain, token};
use super::talk::{Failed, Talk};
use crate::config::Token;

/// A command with its line end (RFC 5321, section 4.5.3.1.4): a longer response goes by itself.
const LINE: usize = 512;

/// What a server answers: its number, and the texts of its lines.
struct Answer {
    code: u16,
    lines: Vec<String>,
}

/// Logs in, under the name that the client has said of itself.
pub(super) async fn log_in(mut talk: Talk, login: &Login<'_>, hello: &str) -> Result<(Talk, Option<String>), Failed> {
    let greeting = std::mem::take(&mut talk.greeting);
    answer(&mut talk, Some(greeting)).await?.is(220)?;
    let mut known = greet(&mut talk, hello).await?;
    if let (true, Some(tls)) = (login.server.starts_tls, &login.server.tls) {
        if !known.iter().any(|line| line == "STARTTLS") {
            return Err(Failed::Broken("it does not offer STARTTLS"));
        }
        command(&mut talk, b"STARTTLS").await?.is(220)?;
        talk = talk.secure(tls).await?;
        known = greet(&mut talk, hello).await?;
    }
    if login.server.tls.is_none() && known.iter().any(|line| line == "STARTTLS") {
        // After TLS it forgets who is logged in: its client could log in again, as somebody else.
        return Err(Failed::Unsafe("it offers STARTTLS without mail-start-tls, also after the login"));
    }
    if known.iter().any(|line| line.split(' ').next() == Some("XCLIENT")) {
        // It believes Doorward's address, and with it each client, until it has been told of one.
        let line = login.client.as_ref().and_then(|client| claim(client, &known));
        let line = line.ok_or(Failed::Unsafe("it offers XCLIENT, and mail-client-address = \"id\" is not used"))?;
        match command(&mut talk, line.as_bytes()).await?.code {
            // It begins anew.
            220 => known = greet(&mut talk, hello).await?,
            // It believes nobody from here.
            550 => {}
            _ => return Err(Failed::Unsafe("it refuses an XCLIENT, and would take the next one")),
        }
    }
    let takes = |mechanism: &str| {
        // Some servers still say it in the way of old programs, too.
        let lists =
            known.iter().filter_map(|line| line.strip_prefix("AUTH").filter(|rest| rest.starts_with([' ', '='])));
        lists.flat_map(|list| list.split([' ', '='])).any(|one| one == mechanism)
    };
    let last = if let Some((kind, challenged)) = login.token {
        if !takes(kind.name()) {
            return Err(Failed::TakesNoPassword);
        }
        by_token(&mut talk, kind, (login, challenged)).await?
    } else if takes("PLAIN") {
        by_sasl(&mut talk, "PLAIN", &plain(login)).await?
    } else if takes("LOGIN") && login.authorization.is_empty() {
        by_name(&mut talk, login).await?
    } else {
        return Err(Failed::TakesNoPassword);
    };
    match last.code {
        235 => Ok((talk, None)),
        // A password transition is needed.
        432 => Err(Failed::Expired),
        400..=499 => Err(Failed::Unwilling),
        // The mechanism is too weak, or there has to be TLS.
        530 | 534 | 538 => Err(Failed::TakesNoPassword),
        // Wrong, or the account is disabled.
        525 | 535 => Err(Failed::Wrong),
        // Commands that it offers and does not know.
        500..=504 => Err(Failed::Broken("it does not know a command that it offers")),
        // It serves nobody, or not from here.
        505..=599 => Err(Failed::Unwilling),
        _ => Err(Failed::Broken("its answer to a login is none")),
    }
}

/// EHLO, and what it can do, in capitals.
async fn greet(talk: &mut Talk, hello: &str) -> Result<Vec<String>, Failed> {
    let answer = command(talk, format!("EHLO {hello}").as_bytes()).await?;
    let lines = answer.is(250)?;
    // Its name is no word of them.
    Ok(lines.into_iter().skip(1).map(|line| line.to_ascii_uppercase()).collect())
}

/// Who the client is, in words that the server takes.
fn claim(client: &Told<'_>, known: &[String]) -> Option<String> {
    let offered = known.iter().find_map(|line| line.strip_prefix("XCLIENT "))?;
    let Told { peer, id } = client;
    let address = |ip: std::net::IpAddr| if ip.is_ipv6() { format!("IPV6:{ip}") } else { ip.to_string() };
    let attributes = [
        // Nobody asks the DNS for it.
        ("NAME", "[UNAVAILABLE]".to_owned()),
        ("ADDR", address(peer.address)),
        ("PORT", peer.port.to_string()),
        ("DESTADDR", address(peer.local.ip().to_canonical())),
        ("DESTPORT", peer.local.port().to_string()),
        ("PROTO", "ESMTP".to_owned()),
        ("SESSION", (*id).to_owned()),
        ("TTL", PROXY_TTL.to_owned()),
    ];
    let taken = attributes.into_iter().filter(|(name, _)| offered.split(' ').any(|one| one == *name));
    let line = taken.fold("XCLIENT".to_owned(), |line, (name, value)| format!("{line} {name}={value}"));
    line.contains(" ADDR=").then_some(line)
}

/// Sends a response of a mechanism.
async fn by_sasl(talk: &mut Talk, mechanism: &str, response: &Zeroizing<String>) -> Result<Answer, Failed> {
    let whole = Zeroizing::new(format!("AUTH {mechanism} {}", response.as_str()));
    if whole.len() + 2 <= LINE {
        return command(talk, whole.as_bytes()).await;
    }
    match command(talk, format!("AUTH {mechanism}").as_bytes()).await?.invitation()? {
        None => command(talk, response.as_bytes()).await,
        Some(answer) => Ok(answer),
    }
}

/// Passes a token on; what the server says of one that it refuses is noted down.
async fn by_token(
    talk: &mut Talk,
    kind: Token,
    (login, challenged): (&Login<'_>, &Challenged),
) -> Result<Answer, Failed> {
    let said = by_sasl(talk, kind.name(), &token(login)).await?;
    if said.code != 334 {
        return Ok(said);
    }
    challenged.by(said.lines.first().map_or("", |text| text.trim()));
    talk.say(acknowledged(kind)).await?;
    let last = answer(talk, None).await?;
    if last.code < 400 { Err(Failed::Broken("it refuses a token, and does not say no")) } else { Ok(last) }
}

/// LOGIN: a name and a password, each in base64.
async fn by_name(talk: &mut Talk, login: &Login<'_>) -> Result<Answer, Failed> {
    if let Some(answer) = command(talk, b"AUTH LOGIN").await?.invitation()? {
        return Ok(answer);
    }
    let name = STANDARD.encode(login.name);
    if let Some(answer) = command(talk, name.as_bytes()).await?.invitation()? {
        return Ok(answer);
    }
    command(talk, Zeroizing::new(STANDARD.encode(login.password.expose())).as_bytes()).await
}

/// Sends a command, and hears its answer.
async fn command(talk: &mut Talk, command: &[u8]) -> Result<Answer, Failed> {
    talk.say(&Zeroizing::new([command, b"\r\n"].concat())).await?;
    answer(talk, None).await
}

/// All lines of an answer; `first` was heard already.
async fn answer(talk: &mut Talk, mut first: Option<String>) -> Result<Answer, Failed> {
    let mut answer = Answer { code: 0, lines: Vec::new() };
    loop {
        let line = match first.take() {
            Some(line) => line,
            None => talk.hear().await?,
        };
        let (code, is_last, text) = read(&line).ok_or(Failed::Broken("its answer is none of SMTP"))?;
        if answer.code != 0 && answer.code != code {
            return Err(Failed::Broken("its answer has two numbers"));
        }
        answer.code = code;
        answer.lines.push(text.to_owned());
        if is_last {
            // It is about to close the connection, whatever was asked.
            return if code == 421 { Err(Failed::Unwilling) } else { Ok(answer) };
        }
    }
}

/// A line of an answer: its number, whether it is the last one, and the text.
fn read(line: &str) -> Option<(u16, bool, &str)> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = digits.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.split_at_checked(1) {
        None => Some((code, true, "")),
        Some((" ", text)) => Some((code, true, text)),
        Some(("-", text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

impl Answer {
    /// Its lines, where it is this one; it has nothing to do with name and password.
    fn is(self, code: u16) -> Result<Vec<String>, Failed> {
        match self.code {
            own if own == code => Ok(self.lines),
            400..=599 => Err(Failed::Unwilling),
            _ => Err(Failed::Broken("its answer is to something else")),
        }
    }

    /// Nothing where it wants more; else what it says before it has the password: no yes can be one.
    fn invitation(self) -> Result<Option<Self>, Failed> {
        match self.code {
            334 => Ok(None),
            200..=299 => Err(Failed::Broken("it says yes before it has the password")),
            _ => Ok(Some(self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Peer;

    #[test]
    fn lines_of_answers_have_a_number() {
        assert_eq!(read("250-PIPELINING"), Some((250, false, "PIPELINING")));
        assert_eq!(read("250 "), Some((250, true, "")));
        assert_eq!(read("250"), Some((250, true, "")));
        for wrong in ["", "25", "+OK", "150 x", "999 x", "250x", "* OK", "+25 x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_client_is_told_of_in_the_words_that_a_server_takes() {
        let peer = |client: &str| Peer::new("x".into(), client.parse().unwrap(), "198.51.100.1:587".parse().unwrap());
        let said = |client: &str, offered: &str| {
            let peer = peer(client);
            claim(&Told { peer: &peer, id: "5f0c" }, &["PIPELINING".to_owned(), offered.to_owned()])
        };
        let postfix = "XCLIENT NAME ADDR PROTO HELO LOGIN PORT DESTADDR DESTPORT";
        assert_eq!(
            said("192.0.2.7:258", postfix).as_deref(),
            Some("XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 PORT=258 DESTADDR=198.51.100.1 DESTPORT=587 PROTO=ESMTP")
        );
        let dovecot = "XCLIENT ADDR PORT SESSION TTL";
        assert_eq!(
            said("[2001:db8::7]:258", dovecot).as_deref(),
            Some("XCLIENT ADDR=IPV6:2001:db8::7 PORT=258 SESSION=5f0c TTL=5")
        );
        assert_eq!(said("192.0.2.7:258", "XCLIENT NAME"), None);
        assert_eq!(said("192.0.2.7:258", "XCLIENTS ADDR"), None);
    }
}
