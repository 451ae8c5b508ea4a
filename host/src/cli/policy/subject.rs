//! Which policy a command is about: a component by itself with options, or one of a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;

use crate::cli::print::tell;
use crate::config::{self, Faults, Place, Question, Source, units};
use crate::policy::{self, BUILT_IN, Compiler, Trial};
use crate::workbench::{Candidate, Stop};

/// Components of this size take seconds to compile, so it is told that this goes on.
const LARGE: usize = 4 << 20;

/// Options that say how a component is tried.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Its settings: a file in TOML, or in JSON if its name ends in .json.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The question to ask; needed only where the component answers several.
    #[arg(long, value_name = "QUESTION", value_parser = question)]
    asks: Option<Question>,
    /// Grant an interface (wasi) or a function (request.cookie) besides the usual ones of its question.
    #[arg(long = "grant", value_name = "NAME", value_parser = grant)]
    grants: Vec<String>,
    /// Memory that an instance may have [default: 16MiB].
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<u64>,
    /// Time that a call may take [default: 10ms].
    #[arg(long, value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    /// CPU time that compiling it may take, such as 5m [default: 15s, and 6s for each MiB].
    #[arg(long, value_name = "TIME", value_parser = compile_time)]
    compile_time: Option<Duration>,
    /// Take the file, settings, grants and limits of a policy from this configuration; --name says which. What is given
    /// besides takes the place of that.
    #[arg(long, value_name = "FILE", requires = "name", conflicts_with = "asks")]
    config: Option<PathBuf>,
    /// The policy's name in the configuration; for a replay also in the log.
    #[arg(long, value_name = "POLICY")]
    pub name: Option<String>,
}

impl Options {
    /// Whether its settings are given, by a file or by a configuration.
    pub(super) fn has_settings(&self) -> bool {
        self.settings.is_some() || self.config.is_some()
    }

    /// Files that they name, which the policy depends on.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.settings.iter().chain(&self.config)
    }

    /// The configuration that the policy comes from, and its name there.
    pub(super) fn configured(&self) -> Option<(&Path, &str)> {
        Some((self.config.as_deref()?, self.name.as_deref()?))
    }

    /// Whether the policy comes from a configuration.
    pub(super) fn of_configuration(&self) -> bool {
        self.config.is_some()
    }
}

/// What a command is about.
pub(super) struct Subject {
    /// As it would stand in a configuration.
    pub config: config::Policy,
    /// What it is compiled with, once.
    pub compiler: Compiler,
}

impl Subject {
    /// Finds it. With a configuration, a component that is named besides stands in for the policy's own.
    ///
    /// # Errors
    /// There is none, or what was found is no policy.
    pub(super) fn find(component: Option<&str>, options: &Options) -> Result<Self, Stop> {
        if options.name.is_some() && options.config.is_none() {
            return Err(Stop::Unusable("--name is a name in a configuration: --config is needed".to_owned()));
        }
        Self::candidate(component, options)
    }

    /// The same for a replay, where the name without a configuration is one in the log.
    ///
    /// # Errors
    /// There is none, or what was found is no policy.
    pub(super) fn candidate(component: Option<&str>, options: &Options) -> Result<Self, Stop> {
        let compiler = compiler()?;
        let mut config = match (&options.config, component) {
            (Some(file), component) => {
                let name = options.name.as_deref().unwrap_or_default();
                let (mut config, faults) = of_configuration(file, name)?;
                if !faults.0.is_empty() {
                    return Err(Stop::Faults(faults));
                }
                if let Some(component) = component {
                    (config.file, config.remote) = (Some(existing(component)?), None);
                    (config.digest, config.shadow) = (None, None);
                }
                if let Some(settings) = &options.settings {
                    config.settings = table_of(settings)?;
                    config.place = Place::whole(&Arc::new(Source::new(settings.clone(), "")));
                }
                config
            }
            (None, Some(component)) => alone(component, options)?,
            (None, None) => {
                let text = "a component is needed: FILE.wasm or a built-in policy, or --config and --name";
                return Err(Stop::Unusable(text.to_owned()));
            }
        };
        if !options.grants.is_empty() {
            let mut grants = config
                .grants
                .take()
                .unwrap_or_else(|| config.asks.imports().iter().map(|grant| (*grant).to_owned()).collect());
            grants.extend(options.grants.iter().cloned());
            config.grants = Some(grants);
        }
        config.memory = options.memory.unwrap_or(config.memory);
        config.time = options.time.unwrap_or(config.time);
        config.compile_time = options.compile_time.or(config.compile_time);
        tell_of_compiling(&config, &compiler);
        Ok(Self { config, compiler })
    }

    /// It, to be tried.
    pub(super) fn candidate_of(&self) -> Candidate<'_> {
        Candidate { config: &self.config, compiler: &self.compiler }
    }

    /// Loads it, by the whole gate, to be tried; its shadow is no part of that.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn load(&self) -> Result<Trial, Faults> {
        self.candidate_of().load()
    }
}

/// The engine.
pub(super) fn compiler() -> Result<Compiler, Stop> {
    Compiler::of_user().map_err(|error| Stop::Bad(format!("the policy engine does not start: {error:#}")))
}

/// A policy of a configuration, and what is wrong with its own keys; faults elsewhere are no matter here.
///
/// # Errors
/// The file cannot be read, or has no such policy.
pub(super) fn of_configuration(file: &Path, name: &str) -> Result<(config::Policy, Faults), Stop> {
    let (config, faults) = config::load_anyway(file).map_err(|faults| Stop::Unusable(faults.to_string()))?;
    let names: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
    let Some(policy) = config.policies.iter().find(|policy| policy.name == name) else {
        let of = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(Stop::Unusable(format!("{} has no policy \"{name}\"; it has: {of}", file.display())));
    };
    let key = policy.place.fault("", "").key;
    let below = |fault: &config::Fault| fault.key == key || fault.key.starts_with(&format!("{key}."));
    Ok((policy.clone(), Faults(faults.0.into_iter().filter(below).collect())))
}

/// A component by itself.
fn alone(component: &str, options: &Options) -> Result<config::Policy, Stop> {
    let (name, file) = named(component)?;
    let origin = options.settings.clone().unwrap_or_else(|| PathBuf::from(component));
    let settings = options.settings.as_deref().map(table_of).transpose()?;
    let place = Place::whole(&Arc::new(Source::new(origin, "")));
    let config = |asks| {
        let mut config = config::Policy::alone(&name, asks, place.clone());
        config.file.clone_from(&file);
        config.settings = settings.clone().unwrap_or(config.settings);
        config
    };
    if let Some(asks) = options.asks {
        return Ok(config(asks));
    }
    let any = config(Question::Access);
    let bytes = policy::bytes_of(&any)?;
    let manifest = manifest_of(&any, &bytes)?;
    match manifest.questions[..] {
        [one] => Ok(config(one)),
        _ => {
            let names: Vec<&str> = manifest.questions.iter().map(|question| question.name()).collect();
            Err(Stop::Unusable(format!("it answers {}: --asks must say which is meant", names.join(", "))))
        }
    }
}

/// What a component is.
///
/// # Errors
/// It is no policy.
pub(super) fn manifest_of(config: &config::Policy, bytes: &[u8]) -> Result<policy::Manifest, Stop> {
    policy::manifest_of(bytes).map_err(|found| {
        let expected = format!("a component of doorward:policy@{}", policy::WIT_VERSION);
        config.place.fault(found, expected).into()
    })
}

/// Tells that a large component is compiled now. What cannot be read is told where it is loaded.
pub(super) fn tell_of_compiling(config: &config::Policy, compiler: &Compiler) {
    let Ok(bytes) = policy::bytes_of(config) else { return };
    if bytes.len() > LARGE && !compiler.knows(&policy::digest(&bytes)) {
        tell(&format!("compiling {} ({} MiB)", config.name, bytes.len() >> 20));
    }
}

/// The name of a policy, and its file unless it is built in. A file of that name comes first.
///
/// # Errors
/// It is neither.
pub(super) fn named(component: &str) -> Result<(String, Option<PathBuf>), Stop> {
    let path = Path::new(component);
    if !path.is_file() && BUILT_IN.iter().any(|(name, _)| *name == component) {
        return Ok((component.to_owned(), None));
    }
    let path = existing(component)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok((stem.unwrap_or_default(), Some(path)))
}

fn existing(component: &str) -> Result<PathBuf, Stop> {
    let path = PathBuf::from(component);
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(_) => Err(Stop::Unusable(format!("{component} is no regular file"))),
        Err(error) => {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            Err(Stop::Unusable(format!("{component}: {error}; built-in policies are {}", names.join(", "))))
        }
    }
}

/// A table from a file in TOML or JSON; dates become texts, as in a configuration.
///
/// # Errors
/// It cannot be read.
pub(super) fn table_of(path: &Path) -> Result<Json, Stop> {
    let unusable = |what: String| Stop::Unusable(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let table = if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?
    } else {
        let table = toml::de::DeTable::parse(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            unusable(format!("line {}: {}", before.matches('\n').count() + 1, error.message()))
        })?;
        doorward_vectors::json_of(&toml::de::DeValue::Table(table.into_inner()))
    };
    if table.is_object() { Ok(table) } else { Err(unusable("no table".to_owned())) }
}

/// A question by its name.
///
/// # Errors
/// The names there are.
pub(super) fn question(text: &str) -> Result<Question, String> {
    let names = Question::ALL.map(Question::name);
    Question::named(text).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

fn grant(text: &str) -> Result<String, String> {
    let known = config::GRANTS.contains(&text.split('.').next().unwrap_or_default());
    if known {
        Ok(text.to_owned())
    } else {
        Err(format!("expected one of {}, or a function", config::GRANTS.join(", ")))
    }
}

/// The bounds are those of `[policy.limits]`.
fn memory(text: &str) -> Result<u64, String> {
    let size = units::size(text).filter(|size| *size <= 256 << 20);
    size.ok_or_else(|| "expected a size with its unit, such as 16MiB, of at most 256MiB".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(1)..=Duration::from_secs(1);
    let time = units::duration(text).filter(|time| range.contains(time));
    time.ok_or_else(|| "expected a time with its unit, such as 10ms, from 1ms to 1s".to_owned())
}

/// The bounds are those of `[policy.limits]`.
pub(super) fn compile_time(text: &str) -> Result<Duration, String> {
    let time = units::duration(text).filter(|time| config::is_compile_time(*time));
    time.ok_or_else(|| "expected a time with its unit, such as 90s, from 1s to 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bounded_as_in_a_configuration() {
        assert_eq!(memory("32MiB"), Ok(32 << 20));
        assert!(memory("1GiB").is_err() && memory("5").is_err());
        assert_eq!(time("20ms"), Ok(Duration::from_millis(20)));
        assert!(time("2s").is_err() && time("0ms").is_err());
        assert_eq!(compile_time("2m"), Ok(Duration::from_secs(120)));
        assert!(compile_time("999ms").is_err() && compile_time("1h").is_err());
    }
}
