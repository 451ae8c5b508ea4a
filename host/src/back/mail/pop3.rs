//! A login over POP3 (RFC 1939; CAPA of RFC 2449, STLS of RFC 2595, AUTH of RFC 5034, codes of RFC 3206).

use zeroize::Zeroizing;

use super::said::{Challenged, Login, PROXY_TTL, acknowledged, plain, token};
use super::talk::{Failed, Talk};
use crate::config::Token;

/// A command with its line end (RFC 2449, section 4).
const LINE: usize = 255;

/// Logs in. What a POP3 server can do is asked of it by the client.
pub(super) async fn log_in(mut talk: Talk, login: &Login<'_>) -> Result<(Talk, Option<String>), Failed> {
    if !talk.greeting.starts_with("+OK") {
        let is_refusal = talk.greeting.starts_with("-ERR");
        return Err(if is_refusal { Failed::Unwilling } else { Failed::Broken("its greeting is none of POP3") });
    }
    if let (true, Some(tls)) = (login.server.starts_tls, &login.server.tls) {
        if command(&mut talk, b"STLS").await?.is_err() {
            return Err(Failed::Broken("it does not offer STLS"));
        }
        talk = talk.secure(tls).await?;
    }
    if let Some(client) = login.client.as_ref().filter(|_| talk.greeting.contains("[XCLIENT]")) {
        let (address, port, id) = (client.peer.address, client.peer.port, client.id);
        // Whatever it says of that, the login goes on.
        let line = format!("XCLIENT ADDR={address} PORT={port} SESSION={id} TTL={PROXY_TTL}");
        let _ = command(&mut talk, line.as_bytes()).await?;
    }
    let capabilities = capabilities(&mut talk).await?;
    let takes = |name: &str, argument: &str| {
        let mut lines = capabilities.iter().map(|line| line.split(' '));
        lines.any(|mut words| words.next() == Some(name) && (argument.is_empty() || words.any(|word| word == argument)))
    };
    let answer = if let Some((kind, challenged)) = login.token {
        if !takes("SASL", kind.name()) {
            return Err(Failed::TakesNoPassword);
        }
        by_token(&mut talk, kind, (login, challenged)).await?
    } else if takes("SASL", "PLAIN") {
        by_plain(&mut talk, login).await?
    } else if !login.authorization.is_empty() {
        return Err(Failed::TakesNoPassword);
    } else if capabilities.is_empty() || takes("USER", "") {
        by_name(&mut talk, login).await?
    } else {
        return Err(Failed::TakesNoPassword);
    };
    answer.map(|()| (talk, None)).map_err(|line| refusal(&line))
}

/// Sends a command: whether its answer is yes; if not, all of it.
async fn command(talk: &mut Talk, command: &[u8]) -> Result<Result<(), String>, Failed> {
    talk.say(&Zeroizing::new([command, b"\r\n"].concat())).await?;
    answer(&talk.hear().await?)
}

fn answer(line: &str) -> Result<Result<(), String>, Failed> {
    if line.starts_with("+OK") {
        Ok(Ok(()))
    } else if line.starts_with("-ERR") {
        Ok(Err(line.to_owned()))
    } else {
        Err(Failed::Broken("its answer is none of POP3"))
    }
}

/// What it can do; nothing where it does not know CAPA.
async fn capabilities(talk: &mut Talk) -> Result<Vec<String>, Failed> {
    let mut lines = Vec::new();
    if command(talk, b"CAPA").await?.is_ok() {
        loop {
            let line = talk.hear().await?;
            if line == "." {
                break;
            }
            lines.push(line.to_ascii_uppercase());
        }
    }
    Ok(lines)
}

async fn by_plain(talk: &mut Talk, login: &Login<'_>) -> Result<Result<(), String>, Failed> {
    answer(&by_sasl(talk, "PLAIN", &plain(login)).await?)
}

/// Sends a response of a mechanism: the line that is answered.
async fn by_sasl(talk: &mut Talk, mechanism: &str, response: &Zeroizing<String>) -> Result<String, Failed> {
    let whole = Zeroizing::new(["AUTH ", mechanism, " ", response.as_str(), "\r\n"].concat());
    if whole.len() <= LINE {
        talk.say(whole.as_bytes()).await?;
        return talk.hear().await;
    }
    talk.say(format!("AUTH {mechanism}\r\n").as_bytes()).await?;
    let invited = talk.hear().await?;
    if !is_invitation(&invited) {
        return match answer(&invited)? {
            Ok(()) => Err(Failed::Broken("it says yes before it has the password")),
            Err(no) => Ok(no),
        };
    }
    talk.say(&Zeroizing::new([response.as_bytes(), b"\r\n"].concat())).await?;
    talk.hear().await
}

fn is_invitation(line: &str) -> bool {
    line.starts_with('+') && !line.starts_with("+OK")
}

/// Passes a token on; what the server says of one that it refuses is noted down.
async fn by_token(
    talk: &mut Talk,
    kind: Token,
    (login, challenged): (&Login<'_>, &Challenged),
) -> Result<Result<(), String>, Failed> {
    let said = by_sasl(talk, kind.name(), &token(login)).await?;
    if !is_invitation(&said) {
        return answer(&said);
    }
    challenged.by(said.trim_start_matches('+').trim());
    talk.say(acknowledged(kind)).await?;
    match answer(&talk.hear().await?)? {
        Ok(()) => Err(Failed::Broken("it refuses a token, and does not say no")),
        no => Ok(no),
    }
}

/// USER and PASS, which have no form for line ends: they would be commands.
async fn by_name(talk: &mut Talk, login: &Login<'_>) -> Result<Result<(), String>, Failed> {
    let (name, password) = (login.name, login.password.expose());
    if [name, password].iter().any(|text| text.contains(['\r', '\n', '\0'])) || name.is_empty() {
        return Err(Failed::Wrong);
    }
    if let Err(line) = command(talk, format!("USER {name}").as_bytes()).await? {
        return Ok(Err(line));
    }
    command(talk, Zeroizing::new(["PASS ", password].concat()).as_bytes()).await
}

/// Why it says no, by the code of its answer.
fn refusal(line: &str) -> Failed {
    let code = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(code, _)| code);
    match code.to_ascii_uppercase().as_str() {
        "IN-USE" | "LOGIN-DELAY" => Failed::Busy,
        code if code.starts_with("SYS/") => Failed::Unwilling,
        _ => Failed::Wrong,
    }
}
