//! `doorward init`: asks what a front door needs, writes its configuration, and says what to do next.

mod answers;
mod certificate;
mod text;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::print::{say, tell};
use super::run::told_of;
use crate::config::Severity;
use crate::files;
pub(super) use answers::Init;
use answers::{Answers, Encryption, PACKAGE};
use text::{CERTIFICATE, KEY, PASSWORD};

/// What is written, and goes again when the configuration turns out to be wrong.
struct Written {
    folder: PathBuf,
    files: Vec<PathBuf>,
    state: Option<PathBuf>,
}

/// Where the file that had this name before is kept.
fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".previous");
    PathBuf::from(name)
}

impl Written {
    /// A file of the configuration's folder. What is secret may be read by its owner alone; where the folder hands its group
    /// on (set-group-ID), by that group too: it is the one that the service runs as.
    fn file(&mut self, path: &Path, bytes: &[u8], is_secret: bool) -> anyhow::Result<()> {
        let hands_on = std::fs::metadata(&self.folder).is_ok_and(|folder| folder.mode() & 0o2000 != 0);
        let mode = if is_secret && !hands_on { 0o600 } else { 0o640 };
        let named = || path.display().to_string();
        self.keep_previous(path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).with_context(named)?;
        self.files.push(path.to_owned());
        // Whatever the umask is.
        file.set_permissions(std::fs::Permissions::from_mode(mode)).with_context(named)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).with_context(named)
    }

    fn keep_previous(&self, path: &Path) -> anyhow::Result<()> {
        match std::fs::rename(path, previous(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| path.display().to_string()),
            _ => Ok(()),
        }
    }

    /// All is as it was before.
    fn take_away(&self) {
        for file in &self.files {
            let _ = std::fs::remove_file(file);
            let _ = std::fs::rename(previous(file), file);
        }
        if let Some(state) = &self.state {
            let _ = std::fs::remove_dir(state);
        }
    }
}

/// Asks, writes and checks. Nothing is left of what does not pass the check.
///
/// # Errors
/// Something is missing, is there already, or cannot be written.
pub(super) fn run(init: Init) -> anyhow::Result<ExitCode> {
    let config = std::path::absolute(&init.config)?;
    if config.exists() && !init.force {
        bail!("{} is there already; --force writes a new one in its place", config.display());
    }
    let answers = Answers::of(init)?;
    let folder = config.parent().unwrap_or(Path::new("/")).to_owned();
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let layout = text::Layout::of(&answers, &config);
    let mut written = Written { folder, files: Vec::new(), state: None };
    match write(&answers, &layout, &config, &mut written) {
        Ok(true) => {
            told(&answers, &config, &written.files, &layout);
            Ok(ExitCode::SUCCESS)
        }
        Ok(false) => {
            written.take_away();
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            written.take_away();
            Err(error)
        }
    }
}

/// Writes the files; false where the configuration has a fault, which has been told then.
fn write(answers: &Answers, layout: &text::Layout, config: &Path, written: &mut Written) -> anyhow::Result<bool> {
    let folder = written.folder.clone();
    if answers.encryption == Encryption::SelfSigned {
        let (chain, key) = certificate::self_signed(&answers.hosts)?;
        written.file(&folder.join(CERTIFICATE), chain.as_bytes(), false)?;
        written.file(&folder.join(KEY), key.as_bytes(), true)?;
    }
    if let Some(password) = answers.typed_password() {
        written.file(&folder.join(PASSWORD), password.expose().as_bytes(), true)?;
    }
    let state = &layout.state;
    if !state.exists() {
        files::own_folder(state).with_context(|| format!("the state directory {}", state.display()))?;
        written.state = Some(state.clone());
    }
    // Checked before it has its name: a Doorward that watches it never sees one with a fault.
    let mut draft = config.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    let _ = std::fs::remove_file(&draft);
    written.file(&draft, text::of(answers, layout).as_bytes(), false)?;
    let all = told_of(&draft)?;
    for fault in &all {
        tell(&fault.to_string().replace(&draft.display().to_string(), &config.display().to_string()));
    }
    if all.iter().any(|fault| fault.severity == Severity::Error) {
        tell("nothing is written: the answers make a configuration with these faults");
        return Ok(false);
    }
    written.keep_previous(config)?;
    std::fs::rename(&draft, config)?;
    written.files.retain(|file| *file != draft);
    written.files.push(config.to_owned());
    Ok(true)
}

fn told(answers: &Answers, config: &Path, files: &[PathBuf], layout: &text::Layout) {
    for file in files {
        say(&format!("written: {}", file.display()));
    }
    let config = config.display().to_string();
    say("\nNext:");
    if config == PACKAGE && Path::new("/run/systemd/system").is_dir() {
        say("  systemctl enable --now doorward          # start it, now and with the machine");
        say("  journalctl -u doorward -f                # its log");
    } else {
        say(&format!("  doorward serve --config {config}"));
    }
    let backend = &answers.backends[0].0;
    say(&format!("  doorward recipe test --config {config} --backend {backend} --user NAME   # a login, step by step"));
    say(&format!("  doorward ctl --config {config} status"));
    if answers.encryption == Encryption::SelfSigned {
        say(&format!(
            "\nBrowsers warn of the certificate that was made just now. Put a real one into {CERTIFICATE} and {KEY}: it is\n\
             taken as soon as the files change."
        ));
    }
    say(&format!("\nKeys of sessions are made in {}; further front doors need the same.", layout.state.display()));
}
