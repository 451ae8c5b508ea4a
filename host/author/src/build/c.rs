//! Policies in C, by clang alone: no C library, only the header that lies in this program.

use std::ffi::OsString;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};
use doorward_vectors::Question;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::Built;
use super::description::Description;
use super::tool;
use crate::interface::Workshop;

const HEADER: &str = include_str!("../../../../policy-sdk/c/doorward.h");

const INSTALL: &str = "`apt install clang lld`, or set CLANG to the program";

/// How the module is made. The stack lies first, so that one that overflows traps and does not write over data.
const FLAGS: &[&str] = &[
    "--target=wasm32-unknown-unknown",
    "-std=c11",
    "-O2",
    "-ffreestanding",
    "-nostdlib",
    "-fvisibility=hidden",
    "-mbulk-memory",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wl,--no-entry",
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=65536",
    "-Wl,--strip-all",
    "-Wl,--fatal-warnings",
];

/// Builds one source file that includes `doorward.h`.
pub(super) fn build(policy: &Description) -> Result<Built> {
    let clang: OsString = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let by = tool::first_line(&tool::run_or_install(Command::new(&clang).arg("--version"), INSTALL)?);
    let workshop = Workshop::open()?;
    fs::write(workshop.join("doorward.h"), HEADER).context("cannot write the header")?;
    let output = workshop.join("policy.wasm");
    // In its folder, so that no path of this machine can come into the bytes.
    let source = policy.source.file_name().context("the source has no name")?;
    tool::run(
        Command::new(&clang)
            .current_dir(&policy.folder)
            .args(FLAGS)
            .args([define(policy.question), "-isystem"])
            .arg(workshop.join(""))
            .arg("-o")
            .arg(&output)
            .arg(source),
    )
    .map_err(|error| {
        // Its own words for "there is no wasm-ld" and "I was built without WebAssembly".
        let lacks = ["unable to execute command", "invalid linker name", "unable to create target"];
        let said = error.to_string();
        if lacks.iter().any(|words| said.contains(words)) {
            error.context(format!("clang is not whole: {INSTALL}"))
        } else {
            error
        }
    })?;
    let mut module = fs::read(&output).context("clang made no module")?;
    let (resolve, world) = workshop.world(policy.question)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .context("the module is not a policy: does the source include `doorward.h`?")?;
    Ok(Built { component, by })
}

/// Tells the header which question's function to export.
fn define(question: Question) -> &'static str {
    match question {
        Question::Access => "-DDOORWARD_ACCESS",
        Question::Device => "-DDOORWARD_DEVICE",
        Question::Template => "-DDOORWARD_TEMPLATE",
        Question::AuthMode => "-DDOORWARD_AUTH_MODE",
        Question::Filter => "-DDOORWARD_FILTER",
        Question::Route => "-DDOORWARD_ROUTE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_of_this_version_and_has_every_question() {
        let version = doorward_vectors::WIT_VERSION;
        assert!(HEADER.contains(&format!("#define DOORWARD_VERSION \"{version}\"")));
        for question in Question::ALL {
            let name = define(question).trim_start_matches("-D");
            assert!(HEADER.contains(&format!("if defined({name})\n")), "{name}");
        }
    }
}
