//! Checks passwords against what a directory stores, on a bounded number of threads beside the workers.

mod crypt;
mod error;
mod stored;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use stored::verify;

use crate::limits::{Gate, Holder};
use crate::secret::Secret;

/// So many may wait for a hash, and so long. A hash takes a tenth of a second and each core does one at a time.
const WAITING: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);

/// Nobody could be served: too many passwords are being checked.
#[derive(Debug, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy;

/// Where stored passwords are checked. Clones are the same place.
#[derive(Debug, Clone)]
pub struct Hashing {
    gate: Gate,
    /// What is checked for those who have no stored password: a value that no password has, as dear as those of others.
    decoy: Arc<Mutex<Secret>>,
}

impl Default for Hashing {
    fn default() -> Self {
        // As many as there are cores: more only wait for each other, each with its memory (an Argon2 may want a gigabyte).
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::of(cores, WAITING)
    }
}

#[cfg(test)]
impl Hashing {
    /// How many passwords are being checked.
    pub(crate) fn busy(&self) -> usize {
        self.gate.inside()
    }
}

impl Hashing {
    /// A place where so many are checked at once, and so many may wait.
    pub fn of(places: usize, waiting: usize) -> Self {
        let decoy = Secret::new(stored::NOBODY.to_owned());
        Self { gate: Gate::undivided(places, waiting, PATIENCE), decoy: Arc::new(Mutex::new(decoy)) }
    }

    /// Whether any of the stored values is that of the password. Without any, the same work is done in vain.
    ///
    /// # Errors
    /// Nobody can check it at the moment.
    pub async fn any_fits(&self, stored: Vec<Secret>, secret: Secret) -> Result<bool, Busy> {
        let permit = self.gate.enter(Holder::ANYBODY).await.map_err(|_| Busy)?;
        let decoy = self.decoy.clone();
        let check = move || {
            let _permit = permit;
            check(&stored, &secret, &decoy)
        };
        tokio::task::spawn_blocking(check).await.map_err(|_| Busy)
    }
}

fn check(stored: &[Secret], secret: &Secret, decoy: &Mutex<Secret>) -> bool {
    let Some(first) = stored.first() else {
        let decoy = decoy.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let _ = verify(decoy.expose(), secret.expose());
        return false;
    };
    // What users have is what those who are not there seem to have, as far as work goes.
    if let Some(like) = stored::unlike(first.expose()) {
        *decoy.lock().unwrap_or_else(PoisonError::into_inner) = Secret::new(like);
    }
    stored.iter().any(|value| match verify(value.expose(), secret.expose()) {
        Ok(right) => right,
        Err(error) => {
            tracing::error!(%error, "a stored password cannot be checked");
            false
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_no_password_costs_what_the_others_cost() {
        let hashing = Hashing::default();
        let secret = |text: &str| Secret::new(text.to_owned());
        assert!(!hashing.any_fits(Vec::new(), secret("secret")).await.unwrap());
        let stored = "{CRYPT}$5$saltstring$C3o4O1TC6aRHF4FI.QSZMXtHbaj2gSXr4sUc/3NcUi.";
        assert!(hashing.any_fits(vec![secret("{NOPE}x"), secret(stored)], secret("secret")).await.unwrap());
        assert!(hashing.any_fits(vec![secret(stored)], secret("secret")).await.unwrap());
        let decoy = hashing.decoy.lock().unwrap().expose().to_owned();
        assert!(decoy.starts_with("{CRYPT}$5$saltstring$"), "{decoy}");
        assert_eq!(verify(&decoy, "secret"), Ok(false), "and nobody has it");
    }
}
