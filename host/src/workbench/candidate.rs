//! A policy that is tried, as it would stand in a configuration.

use serde_json::Value as Json;

use crate::config::{self, Faults};
use crate::policy::{self, Compiler, Trial};

/// What is tried, and what it is compiled with.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// As it would stand in a configuration.
    pub config: &'a config::Policy,
    /// What compiles it, once.
    pub compiler: &'a Compiler,
}

impl Candidate<'_> {
    /// Loads it, by the whole gate, to be tried; its shadow is no part of that.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn load(&self) -> Result<Trial, Faults> {
        self.load_with(self.config.settings.clone())
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn load_with(&self, settings: Json) -> Result<Trial, Faults> {
        let mut config = self.config.clone();
        (config.shadow, config.settings) = (None, settings);
        policy::load(&config, self.compiler, &[], None).map(Trial::new)
    }
}
