//! A login over IMAP (RFC 9051; STARTTLS, ID of RFC 2971, SASL-IR of RFC 4959).

use zeroize::Zeroizing;

use super::said::{Challenged, Login, PROXY_TTL, Told, acknowledged, plain, token};
use super::talk::{Failed, Talk};
use crate::config::Token;

/// What a server answers to a command.
struct Answer {
    word: String,
    /// The response code, without its brackets.
    code: String,
}

/// A server's capabilities, as far as they were told.
#[derive(Default)]
struct Capabilities(Option<String>);

impl Capabilities {
    fn has(&self, name: &str) -> bool {
        self.0.as_deref().is_some_and(|list| list.split(' ').any(|one| one.eq_ignore_ascii_case(name)))
    }
}

/// Logs in, and says what the server can do then.
pub(super) async fn log_in(talk: Talk, login: &Login<'_>) -> Result<(Talk, Option<String>), Failed> {
    let mut dialogue = Dialogue { talk, known: Capabilities::default(), commands: 0, invited: String::new() };
    let greeting = dialogue.talk.greeting.clone();
    match greeting.strip_prefix("* ").map(|rest| rest.split(' ').next().unwrap_or_default().to_ascii_uppercase()) {
        Some(word) if word == "OK" => dialogue.known.0 = in_code(&greeting).or_else(|| listed(&greeting)),
        // Whoever is greeted like that is somebody already.
        Some(word) if word == "PREAUTH" => return Err(Failed::Broken("it greets with PREAUTH")),
        Some(word) if word == "BYE" => return Err(Failed::Unwilling),
        _ => return Err(Failed::Broken("its greeting is none of IMAP")),
    }
    if let (true, Some(tls)) = (login.server.starts_tls, &login.server.tls) {
        dialogue.learn().await?;
        if !dialogue.known.has("STARTTLS") {
            return Err(Failed::Broken("it does not offer STARTTLS"));
        }
        dialogue.command(b"STARTTLS").await?.yes()?;
        let talk = dialogue.talk.secure(tls).await?;
        dialogue = Dialogue { talk, known: Capabilities::default(), ..dialogue };
    }
    dialogue.learn().await?;
    if let Some(client) = login.client.as_ref().filter(|_| dialogue.known.has("ID")) {
        // Whatever it says of that, the login goes on.
        dialogue.command(id(client).as_bytes()).await?;
    }
    dialogue.known.0 = match dialogue.authenticate(login).await? {
        Some(code) => Some(code),
        None => dialogue.known.0.take(),
    };
    dialogue.talk.goes_back = dialogue.known.0.is_none() || dialogue.known.has("UNAUTHENTICATE");
    Ok((dialogue.talk, dialogue.known.0.as_deref().map(for_clients)))
}

struct Dialogue {
    talk: Talk,
    known: Capabilities,
    commands: usize,
    /// What the server said when it asked for more.
    invited: String,
}

impl Dialogue {
    /// Knows what the server can do, by asking it where it did not say.
    async fn learn(&mut self) -> Result<(), Failed> {
        if self.known.0.is_none() {
            self.command(b"CAPABILITY").await?.yes()?;
        }
        if self.known.0.is_some() { Ok(()) } else { Err(Failed::Broken("it does not say what it can do")) }
    }

    /// Sends a command, and hears its answer.
    async fn command(&mut self, command: &[u8]) -> Result<Answer, Failed> {
        let tag = self.send(command).await?;
        self.answer(&tag).await?.ok_or(Failed::Broken("it wants more of a command that is whole"))
    }

    async fn send(&mut self, command: &[u8]) -> Result<String, Failed> {
        self.commands += 1;
        let tag = format!("d{}", self.commands);
        let line = Zeroizing::new([tag.as_bytes(), b" ", command, b"\r\n"].concat());
        self.talk.say(&line).await?;
        Ok(tag)
    }

    /// The answer to a command; none when the server invites to go on. Untagged lines may come before it, and only the list
    /// of capabilities among them is of interest.
    async fn answer(&mut self, tag: &str) -> Result<Option<Answer>, Failed> {
        loop {
            let line = self.talk.hear().await?;
            if let Some(invited) = line.strip_prefix('+') {
                invited.trim().clone_into(&mut self.invited);
                return Ok(None);
            }
            if let Some(untagged) = line.strip_prefix("* ") {
                if let Some(list) = listed(&line) {
                    self.known.0 = Some(list);
                } else if untagged.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("BYE")) {
                    return Err(Failed::Unwilling);
                }
                continue;
            }
            let rest = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' '));
            let rest = rest.ok_or(Failed::Broken("its answer is to a command of nobody's"))?;
            let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let code = text.strip_prefix('[').and_then(|text| text.split_once(']')).map_or("", |(code, _)| code);
            return Ok(Some(Answer { word: word.to_ascii_uppercase(), code: code.to_owned() }));
        }
    }

    /// Sends name and password, in the best way that the server takes.
    async fn authenticate(&mut self, login: &Login<'_>) -> Result<Option<String>, Failed> {
        let before = self.known.0.take();
        let known = Capabilities(before);
        let answer = if let Some((kind, challenged)) = login.token {
            self.by_token(&known, kind, (login, challenged)).await?
        } else if known.has("AUTH=PLAIN") {
            let (answer, _) = self.by_sasl(&known, "PLAIN", &plain(login)).await?;
            answer.ok_or(Failed::Broken("it asks again"))?
        } else if known.has("LOGINDISABLED") || !login.authorization.is_empty() {
            return Err(Failed::TakesNoPassword);
        } else {
            self.log_in_by_literals(login).await?
        };
        let code = answer.code.split_once(' ').filter(|(name, _)| name.eq_ignore_ascii_case("CAPABILITY"));
        let code = code.map(|(_, list)| list.to_owned());
        answer.ok()?;
        Ok(code.or_else(|| self.known.0.take()))
    }

    /// Sends a response of a mechanism: what is answered, if the server does not ask for more, and the tag.
    async fn by_sasl(
        &mut self,
        known: &Capabilities,
        mechanism: &str,
        response: &Zeroizing<String>,
    ) -> Result<(Option<Answer>, String), Failed> {
        if known.has("SASL-IR") {
            let command = Zeroizing::new(format!("AUTHENTICATE {mechanism} {}", response.as_str()));
            let tag = self.send(command.as_bytes()).await?;
            return Ok((self.answer(&tag).await?, tag));
        }
        let tag = self.send(format!("AUTHENTICATE {mechanism}").as_bytes()).await?;
        if let Some(answer) = self.answer(&tag).await? {
            return Ok((Some(answer.before_password()?), tag));
        }
        self.talk.say(&Zeroizing::new([response.as_bytes(), b"\r\n"].concat())).await?;
        Ok((self.answer(&tag).await?, tag))
    }

    /// Passes a token on; what the server says of one that it refuses is noted down.
    async fn by_token(
        &mut self,
        known: &Capabilities,
        kind: Token,
        (login, challenged): (&Login<'_>, &Challenged),
    ) -> Result<Answer, Failed> {
        if !known.has(&format!("AUTH={}", kind.name())) {
            return Err(Failed::TakesNoPassword);
        }
        let (answer, tag) = self.by_sasl(known, kind.name(), &token(login)).await?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        challenged.by(&self.invited);
        self.talk.say(acknowledged(kind)).await?;
        match self.answer(&tag).await? {
            Some(answer) if answer.word != "OK" => Ok(answer),
            _ => Err(Failed::Broken("it refuses a token, and does not say no")),
        }
    }

    /// LOGIN with literals, which have room for all bytes but NUL. The client has been told what is wrong with others.
    async fn log_in_by_literals(&mut self, login: &Login<'_>) -> Result<Answer, Failed> {
        let (name, password) = (login.name.as_bytes(), login.password.expose().as_bytes());
        if name.contains(&0) || password.contains(&0) {
            return Err(Failed::Wrong);
        }
        let tag = self.send(format!("LOGIN {{{}}}", name.len()).as_bytes()).await?;
        if let Some(answer) = self.answer(&tag).await? {
            return answer.before_password();
        }
        self.talk.say(&[name, format!(" {{{}}}\r\n", password.len()).as_bytes()].concat()).await?;
        if let Some(answer) = self.answer(&tag).await? {
            return answer.before_password();
        }
        self.talk.say(&Zeroizing::new([password, b"\r\n"].concat())).await?;
        self.answer(&tag).await?.ok_or(Failed::Broken("it wants more of a command that is whole"))
    }
}

impl Answer {
    /// Nothing where it is yes, to what has nothing to do with name and password.
    fn yes(self) -> Result<(), Failed> {
        self.ok().map_err(|failed| match failed {
            Failed::Wrong | Failed::Expired | Failed::Busy => Failed::Unwilling,
            other => other,
        })
    }

    /// What it is before the password was sent: no yes can be one.
    fn before_password(self) -> Result<Self, Failed> {
        if self.word == "OK" { Err(Failed::Broken("it says yes before it has the password")) } else { Ok(self) }
    }

    /// Whether it is yes; if not, why (RFC 5530).
    fn ok(self) -> Result<(), Failed> {
        let code = self.code.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        match (self.word.as_str(), code.as_str()) {
            ("OK", _) => Ok(()),
            ("NO", "UNAVAILABLE" | "SERVERBUG") => Err(Failed::Unwilling),
            ("NO", "EXPIRED") => Err(Failed::Expired),
            ("NO", "LIMIT" | "INUSE") => Err(Failed::Busy),
            ("NO", "PRIVACYREQUIRED") => Err(Failed::TakesNoPassword),
            ("NO", _) => Err(Failed::Wrong),
            _ => Err(Failed::Broken("it does not know a command that it offers")),
        }
    }
}

/// The capabilities in the response code of a line.
fn in_code(line: &str) -> Option<String> {
    let (_, code) = line.split_once('[')?;
    let (name, list) = code.split_once(']')?.0.split_once(' ')?;
    name.eq_ignore_ascii_case("CAPABILITY").then(|| list.to_owned())
}

/// Those of an untagged line.
fn listed(line: &str) -> Option<String> {
    let (name, list) = line.strip_prefix("* ")?.split_once(' ')?;
    name.eq_ignore_ascii_case("CAPABILITY").then(|| list.to_owned())
}

/// What a client may know of them after its login: what belongs before it is not there, nor is what would take the session
/// back (UNAUTHENTICATE, RFC 8437).
fn for_clients(list: &str) -> String {
    let hidden = |name: &str| {
        let name = name.to_ascii_uppercase();
        ["STARTTLS", "LOGINDISABLED", "UNAUTHENTICATE"].contains(&name.as_str()) || name.starts_with("AUTH=")
    };
    let right = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b']');
    list.split(' ').filter(right).filter(|name| !hidden(name)).collect::<Vec<_>>().join(" ")
}

/// Who the client is, as Dovecot takes it from networks that it trusts.
fn id(client: &Told<'_>) -> String {
    let Told { peer, id } = client;
    format!(
        "ID (\"x-originating-ip\" \"{}\" \"x-originating-port\" \"{}\" \"x-connected-ip\" \"{}\" \
         \"x-connected-port\" \"{}\" \"x-session-id\" \"{id}\" \"x-proxy-ttl\" \"{PROXY_TTL}\")",
        peer.address,
        peer.port,
        peer.local.ip().to_canonical(),
        peer.local.port(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_found_where_servers_say_them() {
        assert_eq!(in_code("* OK [CAPABILITY IMAP4rev1 ID] ready").as_deref(), Some("IMAP4rev1 ID"));
        assert_eq!(in_code("* OK [ALERT] [CAPABILITY x] ready"), None);
        assert_eq!(listed("* capability IMAP4rev1").as_deref(), Some("IMAP4rev1"));
        assert_eq!(listed("* OK ready"), None);
        let list = "IMAP4rev1 STARTTLS AUTH=PLAIN auth=login UNAUTHENTICATE IDLE LOGINDISABLED  x]y QUOTA";
        assert_eq!(for_clients(list), "IMAP4rev1 IDLE QUOTA");
    }
}
