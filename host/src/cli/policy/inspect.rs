//! `policy inspect`: what a component is and may do, without loading it as a policy. Only the schema of its settings, which
//! it tells itself, needs it compiled.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::subject::{compile_time, compiler, manifest_of, named, tell_of_compiling};
use crate::cli::print::say;
use crate::config::{self, Place, Question, Source};
use crate::policy::{self, Grants, Manifest};
use crate::workbench::Stop;

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0; 1 where it is no policy; 2 where there is no such file.")]
pub(in crate::cli) struct Inspect {
    /// The component: FILE.wasm, or the name of a built-in policy.
    #[arg(value_name = "FILE")]
    component: String,
    /// Leave out the schema of its settings; then it is not compiled.
    #[arg(long)]
    no_schema: bool,
    /// CPU time that compiling it may take, such as 5m [default: 15s, and 6s for each MiB].
    #[arg(long, value_name = "TIME", value_parser = compile_time)]
    compile_time: Option<Duration>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// There is no such component, or it is no policy.
pub(super) fn run(inspect: &Inspect) -> Result<ExitCode, Stop> {
    let (name, file) = named(&inspect.component)?;
    let place = Place::whole(&Arc::new(Source::new(inspect.component.clone(), "")));
    let mut config = config::Policy::alone(&name, Question::Access, place);
    config.file = file;
    config.compile_time = inspect.compile_time;
    let bytes = policy::bytes_of(&config)?;
    let manifest = manifest_of(&config, &bytes)?;
    config.asks = manifest.questions.first().copied().unwrap_or(Question::Access);
    // To tell its schema it may import what it likes.
    config.grants = Some(config::GRANTS.map(str::to_owned).to_vec());
    let schema = if inspect.no_schema { None } else { Some(schema(&config)?) };
    let digest = format!("sha256:{}", policy::digest(&bytes));
    if inspect.json {
        say(&as_json(&inspect.component, bytes.len(), &digest, &manifest, schema).to_string());
    } else {
        say(&as_text(&inspect.component, bytes.len(), &digest, &manifest, &schema));
    }
    Ok(ExitCode::SUCCESS)
}

/// The schema of its settings, null where it tells none; or why it is not known, which leaves all else to be shown.
fn schema(config: &config::Policy) -> Result<Result<Json, String>, Stop> {
    let compiler = compiler()?;
    tell_of_compiling(config, &compiler);
    Ok(policy::schema_of(config, &compiler).map_err(|faults| faults.to_string()).and_then(|schema| {
        if schema.is_empty() {
            return Ok(Json::Null);
        }
        serde_json::from_str(&schema).map_err(|error| format!("its schema is no JSON: {error}"))
    }))
}

fn questions(manifest: &Manifest) -> Vec<&'static str> {
    manifest.questions.iter().map(|question| question.name()).collect()
}

/// What it imports beyond what its question is granted anyway.
fn beyond(manifest: &Manifest) -> Vec<String> {
    let usual = manifest.questions.first().map(|question| Grants::new(None, *question));
    let beyond = |fact: &&String| {
        let parts = fact.split_once('.').unwrap_or((fact, ""));
        usual.as_ref().is_some_and(|usual| !usual.has(parts.0, parts.1))
    };
    let facts = manifest.facts.iter().filter(beyond).cloned();
    facts.chain((!manifest.wasi.is_empty()).then(|| "wasi".to_owned())).collect()
}

fn as_json(name: &str, size: usize, digest: &str, manifest: &Manifest, schema: Option<Result<Json, String>>) -> Json {
    let mut report = json!({
        "component": name,
        "questions": questions(manifest),
        "version": manifest.version,
        "imports": manifest.facts,
        "wasi": manifest.wasi,
        "grants-needed": beyond(manifest),
        "size": size,
        "digest": digest,
    });
    match schema {
        Some(Ok(schema)) => report["schema"] = schema,
        Some(Err(error)) => report["schema-error"] = json!(error),
        None => {}
    }
    report
}

fn as_text(
    name: &str,
    size: usize,
    digest: &str,
    manifest: &Manifest,
    schema: &Option<Result<Json, String>>,
) -> String {
    let list = |items: Vec<String>| if items.is_empty() { "nothing".to_owned() } else { items.join(", ") };
    let facts = list(manifest.facts.iter().cloned().collect());
    let mut text = format!(
        "{name}\n  answers   {}\n  built for doorward:policy@{}\n  size      {size} bytes\n  digest    {digest}\n  imports   {facts}\n",
        questions(manifest).join(", "),
        manifest.version,
    );
    if !manifest.wasi.is_empty() {
        text.push_str(&format!("  WASI      {}\n", list(manifest.wasi.iter().cloned().collect())));
    }
    let beyond = beyond(manifest);
    if !beyond.is_empty() {
        text.push_str(&format!("  needs     to be granted {} besides the usual\n", beyond.join(", ")));
    }
    match schema {
        Some(Ok(Json::Null)) => text.push_str("  settings  no schema"),
        Some(Ok(schema)) => text.push_str(&format!("  settings  {schema:#}")),
        Some(Err(error)) => text.push_str(&format!("  settings  {error}")),
        None => text.push_str("  settings  not asked for"),
    }
    text
}
