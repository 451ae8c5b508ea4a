//! The Active Directory of `tests/stack/ad`: Samba's domain controller.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde::Deserialize;

/// The domain controller that all tests of this process share. It ends with the process, however that ends.
#[derive(Debug, Deserialize)]
pub struct ActiveDirectory {
    ca_file: PathBuf,
    base_dn: String,
    ldap: String,
    ldaps: String,
}

impl ActiveDirectory {
    /// Started by the first who asks.
    pub fn start() -> &'static Self {
        static SHARED: OnceLock<ActiveDirectory> = OnceLock::new();
        SHARED.get_or_init(|| {
            // `down` removes the folder, not we.
            let dir = crate::temp_dir().keep();
            let up = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/ad/up");
            let output = Command::new(&up).arg(&dir).arg(std::process::id().to_string()).output();
            let output = output.unwrap_or_else(|error| panic!("{}: {error}", up.display()));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {}\n{said}", up.display(), output.status);
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{}: {error}", up.display()))
        })
    }

    /// The authority of its certificate, which is for `127.0.0.1`.
    pub fn ca(&self) -> &Path {
        &self.ca_file
    }

    /// Where all entries are.
    pub fn base_dn(&self) -> &str {
        &self.base_dn
    }

    /// `ldap://`, for StartTLS.
    pub fn ldap(&self) -> &str {
        &self.ldap
    }

    /// `ldaps://`.
    pub fn ldaps(&self) -> &str {
        &self.ldaps
    }
}
