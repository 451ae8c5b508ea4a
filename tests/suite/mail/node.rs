//! Mail servers that do what a test says, and record who logged in.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use base64::Engine as _;

use super::wire::{self, Wire};

/// A mail server.
pub(super) struct MailNode {
    address: SocketAddr,
    seen: Arc<Seen>,
}

/// What came to it.
#[derive(Default)]
struct Seen {
    logins: Mutex<Vec<(String, String)>>,
    lines: Mutex<Vec<String>>,
    /// Connections whose scripts have not come to their end.
    open: Mutex<usize>,
    ended: Condvar,
}

/// One of its connections.
pub(super) struct Talk {
    /// None while TLS begins.
    stream: Option<BufReader<Box<dyn Wire>>>,
    tls: Option<Arc<rustls::ServerConfig>>,
    seen: Arc<Seen>,
}

impl MailNode {
    /// A server whose connections are served by `script`.
    pub(super) fn start(script: impl Fn(&mut Talk) -> Option<()> + Send + Sync + 'static) -> Self {
        Self::with_tls(None, script)
    }

    /// One that can begin TLS, when its script says so.
    pub(super) fn with_tls(
        tls: Option<Arc<rustls::ServerConfig>>,
        script: impl Fn(&mut Talk) -> Option<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Seen>::default();
        let (of_thread, script) = (seen.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, script, tls) = (of_thread.clone(), script.clone(), tls.clone());
                *seen.open.lock().expect("no panic") += 1;
                thread::spawn(move || {
                    let stream: Box<dyn Wire> = Box::new(stream);
                    // It ends when the client leaves.
                    let _ = script(&mut Talk { stream: Some(BufReader::new(stream)), tls, seen: seen.clone() });
                    *seen.open.lock().expect("no panic") -= 1;
                    seen.ended.notify_all();
                });
            }
        });
        Self { address, seen }
    }

    /// IMAP with these capabilities; the password is `pwd`. After the login each command is answered by `* USER name` and OK.
    pub(super) fn imap(capabilities: &'static str) -> Self {
        Self::start(move |talk| {
            talk.say(&format!("* OK [CAPABILITY {capabilities}] node\r\n"));
            let name = talk.imap_login(capabilities)?;
            loop {
                let line = talk.line()?;
                let tag = line.split(' ').next().unwrap_or_default().to_owned();
                let answer = if line.contains("LOGOUT") { "* BYE\r\n" } else { "" };
                talk.say(&format!("* USER {name}\r\n{answer}{tag} OK done\r\n"));
                if !answer.is_empty() {
                    return None;
                }
            }
        })
    }

    /// POP3, with SASL or without; the password is `pwd`. After the login each command is answered by `+OK name`.
    pub(super) fn pop3(has_sasl: bool) -> Self {
        Self::start(move |talk| {
            talk.say("+OK node\r\n");
            let mut name = String::new();
            loop {
                let line = talk.line()?;
                let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
                let is_in = match word {
                    "CAPA" => {
                        talk.say(if has_sasl { "+OK\r\nSASL PLAIN\r\n.\r\n" } else { "+OK\r\nUSER\r\n.\r\n" });
                        continue;
                    }
                    "USER" => {
                        rest.clone_into(&mut name);
                        talk.say("+OK\r\n");
                        continue;
                    }
                    "PASS" => talk.knows(&name, rest),
                    "AUTH" => {
                        let (who, password) = plain(rest.strip_prefix("PLAIN ").unwrap_or_default());
                        name = who;
                        talk.knows(&name, &password)
                    }
                    _ => false,
                };
                talk.say(if is_in { "+OK in\r\n" } else { "-ERR [AUTH] no\r\n" });
                if is_in {
                    break;
                }
            }
            loop {
                talk.line()?;
                talk.say(&format!("+OK {name}\r\n"));
            }
        })
    }

    /// Host and port.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names and passwords that came to it.
    pub(super) fn logins(&self) -> Vec<(String, String)> {
        self.seen.logins.lock().expect("no panic").clone()
    }

    /// The lines that came to it, when all of its conversations have come to their end.
    pub(super) fn lines(&self) -> Vec<String> {
        let open = self.seen.open.lock().expect("no panic");
        let (_none, waited) =
            self.seen.ended.wait_timeout_while(open, super::PATIENCE, |open| *open > 0).expect("no panic");
        assert!(!waited.timed_out(), "a conversation with the node does not end");
        self.seen.lines.lock().expect("no panic").clone()
    }
}

impl Talk {
    /// The next line, without its end; none when the client has left.
    pub(super) fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.stream.as_mut()?.read_until(b'\n', &mut line).ok().filter(|length| *length > 0)?;
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        self.seen.lines.lock().expect("no panic").push(line.clone());
        Some(line)
    }

    /// Says something.
    pub(super) fn say(&mut self, text: &str) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.get_mut().write_all(text.as_bytes());
            let _ = stream.get_mut().flush();
        }
    }

    /// Begins TLS, if it can; whatever was sent in the clear by then is lost.
    pub(super) fn secure(&mut self) -> Option<()> {
        let stream = self.stream.take()?.into_inner();
        self.stream = Some(BufReader::new(wire::server(stream, self.tls.take()?)));
        Some(())
    }

    /// Whether TLS can begin.
    pub(super) fn can_be_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// So many bytes.
    fn bytes(&mut self, count: usize) -> Option<String> {
        let mut bytes = vec![0; count];
        self.stream.as_mut()?.read_exact(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether name and password are right, which are recorded.
    pub(super) fn knows(&mut self, name: &str, password: &str) -> bool {
        self.seen.logins.lock().expect("no panic").push((name.to_owned(), password.to_owned()));
        password == "pwd" || password.ends_with("-secret")
    }

    /// Answers commands until somebody is in: who.
    fn imap_login(&mut self, capabilities: &str) -> Option<String> {
        loop {
            let line = self.line()?;
            let mut words = line.split(' ');
            let (tag, name) = (words.next()?.to_owned(), words.next()?.to_uppercase());
            let (name, password) = match name.as_str() {
                "CAPABILITY" => {
                    self.say(&format!("* CAPABILITY {capabilities}\r\n{tag} OK\r\n"));
                    continue;
                }
                "ID" => {
                    self.say(&format!("* ID NIL\r\n{tag} OK\r\n"));
                    continue;
                }
                "AUTHENTICATE" => match words.nth(1) {
                    Some(initial) => plain(initial),
                    None => {
                        self.say("+ \r\n");
                        plain(&self.line()?)
                    }
                },
                "LOGIN" => {
                    let size = |text: &str| text.trim_matches(['{', '}']).parse().ok();
                    self.say("+ OK\r\n");
                    let name = self.bytes(size(words.next()?)?)?;
                    let rest = self.line()?;
                    self.say("+ OK\r\n");
                    let password = self.bytes(size(rest.trim())?)?;
                    self.line()?;
                    (name, password)
                }
                _ => return None,
            };
            if self.knows(&name, &password) {
                self.say(&format!("{tag} OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN QUOTA] in\r\n"));
                return Some(name);
            }
            self.say(&format!("{tag} NO no such user {name}\r\n"));
        }
    }
}

/// Name and password of a response of PLAIN.
pub(super) fn plain(response: &str) -> (String, String) {
    let bytes = base64::engine::general_purpose::STANDARD.decode(response.trim()).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut parts = text.split('\0').skip(1).map(str::to_owned);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
