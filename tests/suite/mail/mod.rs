//! The doors for mail programs: what they may say before they are logged in, and what becomes of it.

mod cases;
mod demo;
mod doors;
mod many;
mod node;
mod nodes;
mod programs;
mod real;
mod real_others;
mod routed;
mod sessions;
mod sieve;
mod submission;
mod tokens;
mod wire;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use harness::{Certs, Proxy, Setup};
use node::MailNode;
use wire::Wire;

/// So long an answer may take on a busy machine; it only ends what hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// People of the tests. Who is asked about at the node has `pwd` for a password.
const PEOPLE: &str = "\
dn: uid=bob,dc=test\nuid: bob\nmailHost: node-a\nuserPassword: pwd\n\n\
dn: uid=alice,dc=test\nuid: alice\nmail: alice@a.test\nmailHost: node-a\nuserPassword: alice-secret\n\n\
dn: uid=carol,dc=test\nuid: carol\nmailHost: node-b\nuserPassword: carol-secret\n\n\
dn: uid=odd,dc=test\nuid: b\"o\\b\nmailHost: node-a\nuserPassword: pwd\n\n\
dn: uid=umlaut,dc=test\nuid:: bcO8bGxlcg==\nmailHost: node-a\nuserPassword: pwd\n";

/// A proxy with an IMAP and a POP3 listener in clear text, which takes passwords there, `imap-tls`, `imap-start` and `pop3-start`
/// with certificates, and these mail servers.
struct Doors {
    proxy: Proxy,
    certs: Certs,
}

impl Doors {
    fn start(extra: &str, nodes: &[(&str, &MailNode, &MailNode, &str)]) -> Self {
        Self::start_with(extra, nodes, &[])
    }

    /// The same with files beside the configuration.
    fn start_with(extra: &str, nodes: &[(&str, &MailNode, &MailNode, &str)], files: &[(&str, &str)]) -> Self {
        let certs = Certs::new();
        let pair = certs.server(&["localhost"]);
        let certificates =
            format!("certificates = [{{ chain = \"{}\", key = \"{}\" }}]\n", pair.chain.display(), pair.key.display());
        let no_limits = "[listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0\npeer-max-connections = 0\n";
        let mut text = extra.to_owned();
        text.push_str(
            "\n[[log.to]]\nwhat = [\"server\", \"login\", \"access\"]\ntarget = \"stderr\"\n[admin]\nsocket = \"admin.sock\"\n[directory]\nfile = \"people.ldif\"\n[[site]]\nhosts = [\"*\"]\n",
        );
        for (name, protocol, more) in [
            ("public", "http", ""),
            ("imap", "imap", ""),
            ("pop3", "pop3", ""),
            ("imap-tls", "imap", certificates.as_str()),
            ("imap-start", "imap", &format!("start-tls = true\n{certificates}")),
            ("pop3-start", "pop3", &format!("start-tls = true\n{certificates}")),
            ("sieve", "sieve", ""),
            ("sieve-tls", "sieve", certificates.as_str()),
            ("sieve-start", "sieve", &format!("start-tls = true\n{certificates}")),
            ("submission", "submission", ""),
            ("submission-tls", "submission", certificates.as_str()),
            ("submission-start", "submission", &format!("start-tls = true\n{certificates}")),
        ] {
            text.push_str(&format!(
                "[[listener]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n{more}{no_limits}"
            ));
        }
        for (name, imap, pop3, more) in nodes {
            text.push_str(&format!(
                "[[backend]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:1/{name}\"\nrecipe = \"form\"\n\
                 imap = \"imap://{}\"\npop3 = \"pop3://{}\"\n{more}\n",
                imap.address(),
                pop3.address()
            ));
        }
        let setup = Setup::new().file("people.ldif", PEOPLE);
        let proxy = files.iter().fold(setup, |setup, (name, text)| setup.file(name, *text)).serve(&text);
        Self { proxy, certs }
    }

    fn talk(&self, listener: &str) -> Talk {
        Talk::to(self.proxy.address(listener))
    }
}

/// Without delays for wrong passwords, which are tested elsewhere, and with passwords in clear text from this machine.
const USUAL: &str = "[authentication]\nmode = \"back-end\"\n[authentication.throttle]\nfree-failures = 1000\n\
                     max-failures = 1000\nmax-names = 1000\nuser-failures = 1000\n\
                     [mail]\nclear-text-from = [\"127.0.0.0/8\"]\nmax-errors = 20\n";

/// A client's connection.
struct Talk {
    stream: Box<dyn Wire>,
    socket: TcpStream,
    read: Vec<u8>,
}

impl Talk {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let socket = stream.try_clone().expect("a copy");
        Self { stream: Box::new(stream), socket, read: Vec::new() }
    }

    /// TLS from now on.
    fn secure(self, ca: &std::path::Path) -> Self {
        Self { stream: wire::client(self.stream, ca), ..self }
    }

    fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // Who has closed already says why.
        let _ = self.stream.write_all(bytes.as_ref());
        let _ = self.stream.flush();
    }

    fn no_more(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// The next line, without its end; none at the end of the connection.
    #[track_caller]
    fn hear(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line).into_owned();
                assert!(text.ends_with("\r\n"), "{text:?} ends as no line does");
                return Some(text.trim_end_matches("\r\n").to_owned());
            }
            let mut more = [0; 4096];
            match self.stream.read(&mut more) {
                Ok(0) => {
                    assert!(self.read.is_empty(), "{:?} is half a line", String::from_utf8_lossy(&self.read));
                    return None;
                }
                Ok(length) => self.read.extend_from_slice(&more[..length]),
                Err(error) if wire::is_end(&error) => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    /// All lines up to the end of the connection.
    #[track_caller]
    fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.hear()).collect()
    }

    /// A session: greeted and logged in.
    #[track_caller]
    fn logged_in(mut self, name: &str, password: &str) -> Self {
        self.hear().expect("a greeting");
        self.say(format!("in LOGIN {name} {password}\r\n"));
        let answer = self.hear().unwrap_or_default();
        assert!(answer.starts_with("in OK"), "{answer}");
        self
    }
}
