//! `policy pull`: fetches policies from registries; says which artifact a tag means, in the lock file, after showing what is
//! different in it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use doorward_registry::{Artifact, Reference};
use serde_json::{Value as Json, json};

use super::remote::{self, Reach};
use super::subject::compiler;
use crate::cli::print::say;
use crate::config::{self, Config, Provenance, Question};
use crate::files::keep_and_replace_readable;
use crate::policy;
use crate::registry;
use crate::workbench::{Difference, Shown, Stop};

#[derive(Debug, Args)]
#[command(after_help = "A Doorward that runs with this configuration sees the lock file change by itself.\n\n\
                        Exit status: 0; 1 where an artifact is refused, or a tag means another one by now and --update is \
                        not given; 2 where the registry is not to be asked.")]
pub(in crate::cli) struct Pull {
    /// Fetch this artifact into a file instead: oci://REGISTRY/NAME:TAG.
    #[arg(value_name = "REFERENCE", requires = "output", conflicts_with_all = ["name", "update", "older"])]
    reference: Option<String>,
    /// The file to write.
    #[arg(short, long, value_name = "FILE", requires = "reference")]
    output: Option<PathBuf>,
    /// Only this policy of the configuration.
    #[arg(long, value_name = "POLICY", requires = "config")]
    name: Option<String>,
    /// Take what each tag means by now.
    #[arg(long, requires = "config")]
    update: bool,
    /// Take it also where its version is older.
    #[arg(long, requires = "update")]
    older: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// There is no such policy, or an artifact is not to be had.
pub(super) fn run(pull: &Pull) -> Result<ExitCode, Stop> {
    if let (Some(reference), Some(output)) = (&pull.reference, &pull.output) {
        return to_file(pull, reference, output);
    }
    let Some(file) = pull.reach.config.as_deref() else {
        return Err(Stop::Unusable("--config is needed, or a REFERENCE and --output".to_owned()));
    };
    let config = remote::config_of(file)?;
    let meant = |policy: &&config::Policy| pull.name.as_ref().is_none_or(|name| *name == policy.name);
    let policies: Vec<&config::Policy> =
        config.policies.iter().filter(|policy| policy.remote.is_some()).filter(meant).collect();
    if policies.is_empty() {
        let of = pull.name.as_ref().map_or_else(String::new, |name| format!(" called \"{name}\""));
        return Err(Stop::Unusable(format!("{} has no policy{of} with file = \"oci://…\"", file.display())));
    }
    let mut reports = Vec::new();
    for policy in policies {
        let done = one(pull, &config, policy)?;
        if !pull.json {
            done.lines.iter().for_each(|line| say(line));
        }
        reports.push(done);
    }
    let ok = !reports.iter().any(|report| report.waits);
    if pull.json {
        let policies: Vec<Json> = reports.into_iter().map(|report| report.json).collect();
        say(&json!({"ok": ok, "policies": policies}).to_string());
    }
    Ok(super::outcome::status(ok))
}

/// What became of a policy.
struct Report {
    lines: Vec<String>,
    json: Json,
    /// Its tag means another artifact by now, which nobody has taken.
    waits: bool,
}

fn one(pull: &Pull, config: &Config, policy: &config::Policy) -> Result<Report, Stop> {
    let bad = |text: String| Stop::Bad(format!("{}: {text}", policy.name));
    let Some(remote) = &policy.remote else { return Err(bad("it is a file".to_owned())) };
    let reference = &remote.reference;
    if let (Some(_), None) | (_, Some(_)) = (&reference.digest, &remote.locked) {
        // What is meant already is fetched where it is not here.
        let ready = registry::ready(policy, config, None).map_err(|fault| Stop::Faults(fault.into()));
        let by = |ready: config::Policy| ready.remote.and_then(|remote| remote.provenance).map(|of| of.signed_by);
        let by = ready.map(|ready| by(ready).unwrap_or_default());
        if reference.digest.is_some() {
            return Ok(kept(policy, reference, &by?));
        }
        // Where another one is taken, that one counts: the old one may be signed by a key that is no longer listed.
        let by = if pull.update { by } else { Ok(by?) };
        let client = registry::client(&config.registry).map_err(|fault| Stop::Faults(fault.into()))?;
        let now = client.resolve(reference).map_err(|error| Stop::Unusable(error.to_string()))?;
        if remote.manifest() == Some(&now.manifest) {
            return Ok(kept(policy, reference, &by?));
        }
    }
    let (artifact, by) = registry::fetch(reference, &config.registry).map_err(bad)?;
    let difference = difference(policy, &artifact).map_err(bad)?;
    let mut lines = difference.as_ref().map(Difference::lines).unwrap_or_default();
    let mut json = told(policy, reference, &artifact, &by);
    json["difference"] = difference.as_ref().map_or(Json::Null, Difference::json);
    if remote.locked.is_some() && !pull.update {
        lines.insert(0, format!("{}: {reference} means {} by now{}", policy.name, artifact.manifest, signed(&by)));
        lines.push("nothing is changed; `--update` takes it".to_owned());
        json["changed"] = json!(false);
        return Ok(Report { lines, json, waits: true });
    }
    refuse_older(pull, config, remote, &artifact).map_err(bad)?;
    // The gate that a configuration has: what does not load is not locked.
    prove(policy, &artifact)?;
    let state = config.state_directory.as_deref().filter(|state| state.is_dir());
    if let Some(state) = state {
        registry::keep(state, config, &artifact).map_err(|error| bad(error.to_string()))?;
    }
    let entry = registry::locked_of(reference, &artifact, pull.older);
    registry::lock(&config.lock_file(), &entry).map_err(bad)?;
    lines.insert(0, format!("{}: {reference} is {} from now on{}", policy.name, artifact.manifest, signed(&by)));
    json["changed"] = json!(true);
    Ok(Report { lines, json, waits: false })
}

fn kept(policy: &config::Policy, reference: &Reference, by: &[String]) -> Report {
    let manifest = policy.remote.as_ref().and_then(|remote| remote.manifest()).map(ToString::to_string);
    let line =
        format!("{}: {reference} is {} as before{}", policy.name, manifest.as_deref().unwrap_or_default(), signed(by));
    let json = json!({
        "policy": policy.name, "reference": reference.to_string(), "manifest": manifest, "signed-by": by, "changed": false,
    });
    Report { lines: vec![line], json, waits: false }
}

fn told(policy: &config::Policy, reference: &Reference, artifact: &Artifact, by: &[String]) -> Json {
    json!({
        "policy": policy.name, "reference": reference.to_string(), "manifest": artifact.manifest.to_string(),
        "version": artifact.version, "signed-by": by,
    })
}

fn signed(by: &[String]) -> String {
    if by.is_empty() { ", not signed".to_owned() } else { format!(", signed by {}", by.join(", ")) }
}

/// What is different from the component that is here, if one is.
fn difference(policy: &config::Policy, artifact: &Artifact) -> Result<Option<Difference>, String> {
    let Ok(old) = policy::bytes_of(policy) else { return Ok(None) };
    let engine = compiler().ok();
    let beside = remote::Beside::of(&artifact.component).map_err(|error| error.to_string())?;
    let new = config::Policy { file: Some(beside.path().to_owned()), remote: None, ..policy.clone() };
    let old = Shown::of(policy, &old, engine.as_ref())?;
    Ok(Some(Difference::between(old, Shown::of(&new, &artifact.component, engine.as_ref())?)))
}

/// Whether it is older than what the lock file has of its repository, by whichever tag.
fn refuse_older(pull: &Pull, config: &Config, remote: &config::Remote, artifact: &Artifact) -> Result<(), String> {
    let of = |version: &Option<String>| Provenance {
        reference: String::new(),
        repository: remote.reference.repository(),
        manifest: String::new(),
        version: version.clone(),
        signed_by: Vec::new(),
    };
    let locked = config::read_lock(&config.lock_file()).map_err(|faults| faults.to_string())?;
    let repository = remote.reference.repository();
    let is_meant = |locked: &&config::Locked| {
        Reference::parse(&locked.reference).is_some_and(|reference| reference.repository() == repository)
    };
    let new = of(&artifact.version);
    let older = locked.iter().filter(is_meant).find_map(|locked| registry::older_than(&new, &of(&locked.version)));
    match older.filter(|_| !pull.older) {
        Some(why) => Err(format!("{}: {why}; `--older` takes it", remote.reference)),
        None => Ok(()),
    }
}

/// Loads it as the configuration would.
fn prove(policy: &config::Policy, artifact: &Artifact) -> Result<(), Stop> {
    let beside = remote::Beside::of(&artifact.component).map_err(|error| Stop::Bad(error.to_string()))?;
    let mut alone = config::Policy { file: Some(beside.path().to_owned()), shadow: None, ..policy.clone() };
    alone.digest = policy.digest.clone();
    policy::load(&alone, &compiler()?, &[], None)?;
    Ok(())
}

fn to_file(pull: &Pull, text: &str, output: &Path) -> Result<ExitCode, Stop> {
    let reference = remote::reference(text)?;
    let reach = pull.reach.registry_for(&reference)?;
    let (artifact, by) = registry::fetch(&reference, &reach).map_err(Stop::Bad)?;
    let place = config::Place::whole(&Arc::new(config::Source::new(text, "")));
    let alone = config::Policy::alone("policy", Question::Access, place);
    Shown::of(&alone, &artifact.component, None).map_err(|odd| Stop::Bad(format!("{reference}: {odd}")))?;
    keep_and_replace_readable(output, &artifact.component)
        .map_err(|error| Stop::Unusable(format!("{}: {error}", output.display())))?;
    if pull.json {
        let mut json = told(&alone, &reference, &artifact, &by);
        (json["ok"], json["file"], json["policy"]) = (json!(true), json!(output), Json::Null);
        say(&json.to_string());
    } else {
        say(&format!("{}: {reference} is {}{}", output.display(), artifact.manifest, signed(&by)));
    }
    Ok(ExitCode::SUCCESS)
}
