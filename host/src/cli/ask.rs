//! What a command asks for on a terminal.

use std::io::{BufRead as _, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::print::tell;
use crate::secret::Secret;

/// A secret from a file, or else from standard input: typed without being shown where that is a terminal.
pub(super) fn secret(file: Option<&Path>, question: &str) -> anyhow::Result<Secret> {
    let mut text = zeroize::Zeroizing::new(String::new());
    if let Some(path) = file {
        *text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    } else {
        let hidden = Hidden::begin(question);
        std::io::stdin().lock().read_line(&mut text)?;
        drop(hidden);
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// A terminal that does not show what is typed, as long as this lives.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn begin(question: &str) -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let Ok(usual) = tcgetattr(rustix::stdio::stdin()) else { return Self(None) };
        let _ = write!(std::io::stderr(), "{question}");
        let mut silent = usual.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &silent);
        Self(Some(usual))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(usual) = &self.0 {
            let now = rustix::termios::OptionalActions::Now;
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), now, usual);
            tell("");
        }
    }
}
