//! Compiled components by digest, of the one engine.

use crate::text::hex;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use doorward_engine::engine;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::Cache;
use super::compile::{self, Limits};

/// Compiles components and keeps those in use.
pub struct Compiler {
    engine: Engine,
    compiled: Mutex<HashMap<String, Component>>,
    cache: Option<Cache>,
    niceness: u8,
    compiling: Compiling,
}

/// Says whether something is being compiled. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Compiling(Arc<AtomicUsize>);

impl Compiling {
    /// Whether a compile process runs now.
    pub fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    fn during<T>(&self, compile: impl FnOnce() -> T) -> T {
        self.0.fetch_add(1, Ordering::AcqRel);
        let done = compile();
        self.0.fetch_sub(1, Ordering::AcqRel);
        done
    }
}

impl Compiler {
    /// An engine with its ticker thread, which ends with the engine. With a state folder, compiled code is kept there.
    ///
    /// # Errors
    /// Settings that this machine cannot do, or no thread.
    pub fn start(state: Option<&Path>) -> wasmtime::Result<Self> {
        let engine = engine::start()?;
        let cache = state.and_then(|state| {
            let opened = Cache::open(state, &engine);
            opened
                .inspect_err(|error| tracing::warn!(folder = %state.display(), %error, "no compiled code is kept"))
                .ok()
        });
        let (compiling, niceness) = (Compiling::default(), compile::BEHIND_TRAFFIC);
        Ok(Self { engine, compiled: Mutex::default(), cache, compiling, niceness })
    }

    /// The same for the command line, which keeps compiled code among the user's caches, and waits for the compiler.
    ///
    /// # Errors
    /// Likewise.
    pub fn of_user() -> wasmtime::Result<Self> {
        Ok(Self { niceness: compile::AWAITED, ..Self::start(super::cache::of_user().as_deref())? })
    }

    /// Says whether it compiles.
    pub fn compiling(&self) -> Compiling {
        self.compiling.clone()
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The component of these bytes; compiled only where none of the same digest is in use or kept.
    ///
    /// # Errors
    /// What the compiler says.
    pub(super) fn component(&self, digest: &str, bytes: &[u8], limits: Limits) -> Result<Component, compile::Error> {
        if let Some(component) = self.lock().get(digest) {
            return Ok(component.clone());
        }
        let kept = self.cache.as_ref().and_then(|cache| cache.get(digest)).and_then(|code| self.revive(&code).ok());
        let component = match kept {
            Some(component) => component,
            None => {
                let started = Instant::now();
                let code = self.compiling.during(|| compile::compile(bytes, limits, self.niceness))?;
                tracing::info!(digest, bytes = bytes.len(), ms = started.elapsed().as_millis(), "compiled a policy");
                let component = self.revive(&code).map_err(|error| compile::Error::Load(format!("{error:#}")))?;
                if let Some(cache) = &self.cache {
                    cache.put(digest, &code);
                }
                component
            }
        };
        self.lock().insert(digest.to_owned(), component.clone());
        Ok(component)
    }

    /// Compiled code as a component.
    #[expect(unsafe_code, reason = "compiled code is run as it is, and that it is ours is known here and nowhere else")]
    fn revive(&self, code: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: the code was written by `compile::run` of this very binary, either through a pipe just now, or into a
        // folder of our own, where its HMAC was checked (docs/decisions/0006).
        unsafe { Component::deserialize(&self.engine, code) }
    }

    /// Whether a component need not be compiled any more.
    pub fn knows(&self, digest: &str) -> bool {
        self.lock().contains_key(digest) || self.cache.as_ref().is_some_and(|cache| cache.has(digest))
    }

    /// Forgets components that no policy uses any more.
    pub fn keep_only(&self, in_use: impl Fn(&str) -> bool) {
        self.lock().retain(|digest, _| in_use(digest));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Component>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `sha256` of some bytes, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
