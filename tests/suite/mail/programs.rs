//! Real mail programs: mbsync, offlineimap and neomutt, each with a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A listener of IMAP; with the authority of its certificate, where TLS comes first.
pub(super) struct At<'a> {
    pub(super) port: u16,
    pub(super) tls: Option<&'a Path>,
}

/// Who logs in.
pub(super) struct Person<'a> {
    pub(super) name: &'a str,
    pub(super) password: &'a str,
}

/// The folder of a program, with its configuration, and name and password in files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(person: &Person<'_>) -> Self {
        let folder = Self(harness::temp_dir());
        folder.write("name", person.name);
        folder.write("password", person.password);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    /// Runs a program with this folder for its home: what it says.
    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("timeout");
        command.args(["120", program]).args(arguments).env("HOME", self.0.path()).env("TERM", "xterm");
        let ran = command.stdin(Stdio::null()).output().expect("it runs");
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{program} {arguments:?}: {said}");
        said
    }

    /// The messages in a folder of mail, oldest first.
    fn messages(&self, name: &str) -> Vec<String> {
        let folders = ["cur", "new"].map(|part| self.path(name).join(part));
        let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
        let mut messages: Vec<_> = files
            .map(|file| {
                String::from_utf8_lossy(&std::fs::read(file.expect("a file").path()).expect("text")).into_owned()
            })
            .collect();
        messages.sort();
        messages
    }
}

/// The messages of an INBOX, as mbsync brings them.
#[track_caller]
pub(super) fn mbsync(at: &At<'_>, person: &Person<'_>) -> Vec<String> {
    let folder = Folder::new(person);
    let home = folder.0.path().display();
    let tls = match at.tls {
        Some(ca) => format!("SSLType IMAPS\nCertificateFile {}", ca.display()),
        None => "SSLType None".to_owned(),
    };
    folder.write(
        "mbsyncrc",
        &format!(
            "IMAPStore far\nHost localhost\nPort {}\nUserCmd \"cat {home}/name\"\nPassCmd \"cat {home}/password\"\n\
             {tls}\nAuthMechs PLAIN\n\n\
             MaildirStore near\nPath {home}/mail/\nInbox {home}/mail/INBOX\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nSync Pull\nCreate Near\nSyncState *\n",
            at.port
        ),
    );
    std::fs::create_dir(folder.path("mail")).expect("a folder");
    folder.run("mbsync", &["-c", &format!("{home}/mbsyncrc"), "all"]);
    folder.messages("mail/INBOX")
}

/// The messages of an INBOX, as offlineimap brings them.
#[track_caller]
pub(super) fn offlineimap(at: &At<'_>, person: &Person<'_>) -> Vec<String> {
    let folder = Folder::new(person);
    let home = folder.0.path().display();
    let tls = match at.tls {
        Some(ca) => format!("ssl = yes\nsslcacertfile = {}", ca.display()),
        None => "ssl = no\nstarttls = no".to_owned(),
    };
    folder.write(
        "offlineimaprc",
        &format!(
            "[general]\naccounts = a\nmetadata = {home}/state\nui = basic\n\
             [Account a]\nlocalrepository = near\nremoterepository = far\n\
             [Repository near]\ntype = Maildir\nlocalfolders = {home}/mail\n\
             [Repository far]\ntype = IMAP\nreadonly = True\nremotehost = localhost\nremoteport = {}\n\
             remoteusereval = open('{home}/name').read()\nremotepassfile = {home}/password\n{tls}\n\
             auth_mechanisms = PLAIN\nfolderfilter = lambda name: name == 'INBOX'\n",
            at.port
        ),
    );
    folder.run("offlineimap", &["-o", "-c", &format!("{home}/offlineimaprc")]);
    folder.messages("mail/INBOX")
}

/// The newest message of an INBOX, as neomutt shows it, on a terminal of its own.
#[track_caller]
pub(super) fn neomutt(at: &At<'_>, person: &Person<'_>) -> String {
    let folder = Folder::new(person);
    let home = folder.0.path().display();
    let (scheme, tls) = match at.tls {
        Some(ca) => ("imaps", format!("set certificate_file=\"{}\"\nset ssl_usesystemcerts=no", ca.display())),
        None => ("imap", "set ssl_starttls=no\nset ssl_force_tls=no".to_owned()),
    };
    folder.write(
        "neomuttrc",
        &format!(
            "set imap_user=\"`cat {home}/name`\"\nset imap_pass=\"`cat {home}/password`\"\n\
             set folder=\"{scheme}://localhost:{}/\"\nset spoolfile=+INBOX\n{tls}\nset wait_key=no\n\
             push \"<last-entry><pipe-message>cat > {home}/message<enter><exit>\"\n",
            at.port
        ),
    );
    folder.run("script", &["-qec", &format!("neomutt -n -R -F {home}/neomuttrc"), "/dev/null"]);
    let message = std::fs::read(folder.path("message")).expect("neomutt piped a message");
    String::from_utf8_lossy(&message).into_owned()
}
