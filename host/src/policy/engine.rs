//! The one wasmtime engine, its clock, and compiled components by digest.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Config, Engine};

/// Length of an epoch: the grain of every time cap.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Compiles components and keeps those in use.
pub struct Compiler {
    engine: Engine,
    compiled: Mutex<HashMap<String, Component>>,
}

impl Compiler {
    /// An engine with its ticker thread, which ends with the engine.
    ///
    /// # Errors
    /// Settings that this machine cannot do, or no thread.
    pub fn start() -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true).concurrency_support(false).max_wasm_stack(512 << 10);
        let engine = Engine::new(&config)?;
        let weak = engine.weak();
        std::thread::Builder::new().name("policy-clock".to_owned()).spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })?;
        Ok(Self { engine, compiled: Mutex::default() })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The component of these bytes; compiled only where no component of the same digest is in use.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn component(&self, digest: &str, bytes: &[u8]) -> wasmtime::Result<Component> {
        if let Some(component) = self.lock().get(digest) {
            return Ok(component.clone());
        }
        let component = Component::from_binary(&self.engine, bytes)?;
        self.lock().insert(digest.to_owned(), component.clone());
        Ok(component)
    }

    /// Forgets components that no policy of the new Snapshot uses.
    pub fn keep_only(&self, in_use: impl Fn(&str) -> bool) {
        self.lock().retain(|digest, _| in_use(digest));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Component>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `sha256` of some bytes, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
