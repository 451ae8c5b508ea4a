//! A login over ManageSieve (RFC 5804).

use zeroize::Zeroizing;

use super::said::{Login, PROXY_TTL, Told, acknowledged, plain, token};
use super::talk::{Failed, Talk};

/// The longest quoted string (RFC 5804, section 4).
const QUOTED: usize = 1024;

/// What a server answers to a command.
enum Answer {
    Yes,
    /// With its response code, in capitals, without the parentheses.
    No(String),
}

/// Logs in. What it can do is asked of it by the client.
pub(super) async fn log_in(mut talk: Talk, login: &Login<'_>) -> Result<(Talk, Option<String>), Failed> {
    let greeting = std::mem::take(&mut talk.greeting);
    let mut known = capabilities(&mut talk, Some(greeting)).await?;
    if let (true, Some(tls)) = (login.server.starts_tls, &login.server.tls) {
        if !has(&known, "STARTTLS") {
            return Err(Failed::Broken("it does not offer STARTTLS"));
        }
        talk.say(b"STARTTLS\r\n").await?;
        let Answer::Yes = answer(&mut talk).await? else { return Err(Failed::Unwilling) };
        talk = talk.secure(tls).await?;
        // It says them again, unasked.
        known = capabilities(&mut talk, None).await?;
    }
    if let Some(client) = login.client.as_ref().filter(|_| has(&known, "XCLIENT")) {
        let Told { peer, id } = client;
        let (address, port, to) = (peer.address, peer.port, peer.local);
        let (to, to_port) = (to.ip().to_canonical(), to.port());
        // Whatever it says of that, the login goes on.
        let line = format!(
            "XCLIENT ADDR={address} PORT={port} DESTADDR={to} DESTPORT={to_port} SESSION={id} TTL={PROXY_TTL}\r\n"
        );
        talk.say(line.as_bytes()).await?;
        answer(&mut talk).await?;
    }
    let sasl = known.iter().find(|(name, _)| name == "SASL").map_or("", |(_, list)| list);
    let mechanism = login.token.map_or("PLAIN", |(kind, _)| kind.name());
    if !sasl.split(' ').any(|known| known.eq_ignore_ascii_case(mechanism)) {
        return Err(Failed::TakesNoPassword);
    }
    let response = if login.token.is_some() { token(login) } else { plain(login) };
    let length = response.len();
    // Joined at once: a text that grows leaves copies behind.
    let command = if length <= QUOTED {
        ["AUTHENTICATE \"", mechanism, "\" \"", response.as_str(), "\"\r\n"].concat()
    } else {
        ["AUTHENTICATE \"", mechanism, "\" {", &length.to_string(), "+}\r\n", response.as_str(), "\r\n"].concat()
    };
    talk.say(Zeroizing::new(command).as_bytes()).await?;
    match last(&mut talk, login).await? {
        Answer::Yes => Ok((talk, None)),
        Answer::No(code) => Err(match code.as_str() {
            "TRYLATER" => Failed::Unwilling,
            "ENCRYPT-NEEDED" | "AUTH-TOO-WEAK" | "TRANSITION-NEEDED" => Failed::TakesNoPassword,
            _ => Failed::Wrong,
        }),
    }
}

/// The answer to a login; what the server says of a token that it refuses is noted down.
async fn last(talk: &mut Talk, login: &Login<'_>) -> Result<Answer, Failed> {
    let line = hear(talk).await?;
    let challenge = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
    let (Some((kind, challenged)), Some(challenge)) = (login.token, challenge) else { return of(&line) };
    challenged.by(challenge);
    let acknowledged = acknowledged(kind).trim_ascii_end();
    talk.say(&[b"\"", acknowledged, b"\"\r\n"].concat()).await?;
    match answer(talk).await? {
        Answer::Yes => Err(Failed::Broken("it refuses a token, and does not say no")),
        no => Ok(no),
    }
}

fn has(known: &[(String, String)], name: &str) -> bool {
    known.iter().any(|(known, _)| known == name)
}

/// What it can do: names in capitals, with their values. `first` is a line that was heard already.
async fn capabilities(talk: &mut Talk, mut first: Option<String>) -> Result<Vec<(String, String)>, Failed> {
    let mut known = Vec::new();
    loop {
        let line = match first.take() {
            Some(line) => whole(talk, line).await?,
            None => hear(talk).await?,
        };
        if let Some(capability) = read(&line) {
            known.push(capability);
            continue;
        }
        return match of(&line)? {
            Answer::Yes => Ok(known),
            Answer::No(_) => Err(Failed::Unwilling),
        };
    }
}

/// A capability: its name, and its value if it has one, in quotes.
fn read(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix('"')?.split_once('"')?;
    let value = value.trim_matches(|c| c == ' ' || c == '"');
    Some((name.to_ascii_uppercase(), value.to_owned()))
}

/// The answer to a command, which is a line.
async fn answer(talk: &mut Talk) -> Result<Answer, Failed> {
    let line = hear(talk).await?;
    of(&line)
}

fn of(line: &str) -> Result<Answer, Failed> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word.to_ascii_uppercase().as_str() {
        "OK" => Ok(Answer::Yes),
        "NO" => {
            let code = rest.strip_prefix('(').and_then(|rest| rest.split_once([')', ' '])).map_or("", |(code, _)| code);
            Ok(Answer::No(code.to_ascii_uppercase()))
        }
        "BYE" => Err(Failed::Unwilling),
        _ => Err(Failed::Broken("its answer is none of ManageSieve")),
    }
}

/// A line, with its literals in quotes.
async fn hear(talk: &mut Talk) -> Result<String, Failed> {
    let line = talk.hear().await?;
    whole(talk, line).await
}

async fn whole(talk: &mut Talk, mut line: String) -> Result<String, Failed> {
    while let Some((size, _)) = doorward_wire::mail::scan::size_of_literal(line.as_bytes()) {
        let literal = talk.take(size).await?;
        line.truncate(line.rfind('{').unwrap_or_default());
        quote(&literal, &mut line);
        line.push_str(&talk.hear().await?);
    }
    Ok(line)
}

/// A literal in quotes, without what has a meaning there: no name that is looked for has it.
fn quote(literal: &[u8], line: &mut String) {
    let text = String::from_utf8_lossy(literal);
    line.push('"');
    line.extend(text.chars().filter(|c| !matches!(c, '"' | '\\' | '\r' | '\n')));
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_say_what_they_can_do_and_why_not() {
        let said = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(read("\"SASL\" \"PLAIN LOGIN\""), said("SASL", "PLAIN LOGIN"));
        assert_eq!(read("\"starttls\""), said("STARTTLS", ""));
        assert_eq!(read("OK \"ready\""), None);
        let mut line = "\"SASL\" ".to_owned();
        quote(b"PL\"\r\nAIN", &mut line);
        assert_eq!(read(&line), said("SASL", "PLAIN"));
        let code = |line: &str| match of(line) {
            Ok(Answer::No(code)) => Some(code),
            _ => None,
        };
        assert_eq!(code("NO (TRYLATER) \"x\"").as_deref(), Some("TRYLATER"));
        assert_eq!(code("no (referral \"sieve://x\") \"x\"").as_deref(), Some("REFERRAL"));
        assert_eq!(code("NO \"(TRYLATER)\"").as_deref(), Some(""));
        assert!(matches!(of("OK"), Ok(Answer::Yes)) && of("\"\"").is_err() && of("+ ").is_err());
    }
}
