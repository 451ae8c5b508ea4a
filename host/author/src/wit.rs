//! `policy wit`: the interface of policies, for authors who have this program and no sources of it.

use std::path::PathBuf;

use clap::Args;
use doorward_vectors::{Question, WIT_VERSION};
use serde_json::json;

use crate::outcome::{Stop, question, say};

#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0; 2 where a file cannot be written.")]
pub(crate) struct Wit {
    /// Print only what a policy of this question exports and imports: access, device, template, filter, auth-mode or route.
    #[arg(value_name = "QUESTION", value_parser = question)]
    question: Option<Question>,
    /// Write the files into this folder, for tools that read them there, and print nothing of them.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one line of JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Runs it.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn run(wit: &Wit) -> Result<(), Stop> {
    let files = files(wit.question);
    let world = wit.question.map(Question::world);
    if let Some(dir) = &wit.dir {
        let written = std::fs::create_dir_all(dir)
            .and_then(|()| files.iter().try_for_each(|(name, text)| std::fs::write(dir.join(name), text)));
        written.map_err(|error| Stop::Unusable(format!("{}: {error}", dir.display())))?;
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    if wit.json {
        let texts: serde_json::Map<_, _> = files.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        say(&json!({"ok": true, "version": WIT_VERSION, "world": world, "files": texts}).to_string());
    } else if let Some(dir) = &wit.dir {
        say(&format!("{}: {}", dir.display(), names.join(", ")));
    } else {
        say(&text_of(&files, world));
    }
    Ok(())
}

/// The interfaces that a question's policies export and import besides `settings`, `log` and `clock`; and those whose types
/// they use.
fn interfaces(question: Question) -> &'static [&'static str] {
    match question {
        Question::Access => &["access", "connection"],
        Question::Device => &["device", "connection", "request"],
        Question::Template => &["template", "device", "connection", "request"],
        Question::Filter => &["filter", "connection", "request", "session", "usage"],
        Question::AuthMode => &["auth-mode", "connection", "request", "login"],
        Question::Route => &["route", "connection", "request", "login", "nodes"],
    }
}

/// The files, or of one question's those that it needs, by name.
fn files(question: Option<Question>) -> Vec<(String, String)> {
    let always = ["worlds", "settings", "log", "clock", "lists"];
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let files =
        crate::interface::interface_files().map(|(name, bytes)| (name.to_string_lossy().into_owned(), text(bytes)));
    let mut files: Vec<_> = files
        .filter(|(name, _)| {
            let stem = name.trim_end_matches(".wit");
            question.is_none_or(|question| always.contains(&stem) || interfaces(question).contains(&stem))
        })
        .map(|(name, text)| match question {
            Some(question) if name == "worlds.wit" => (name, worlds_of(&text, question)),
            _ => (name, text),
        })
        .collect();
    // What a policy must do first, and what it may know after that.
    let order = |name: &str| match question {
        _ if name == "worlds.wit" => 0,
        Some(question) if *name == *format!("{}.wit", question.name()) => 1,
        _ if name == "settings.wit" => 2,
        _ => 3,
    };
    files.sort_by(|(a, _), (b, _)| (order(a), a).cmp(&(order(b), b)));
    files
}

/// Of the file of worlds, the beginning, `base`, and that of one question.
fn worlds_of(text: &str, question: Question) -> String {
    let wanted = ["world base {".to_owned(), format!("world {} {{", question.world())];
    let parts = text.split("\n\n").enumerate();
    let kept: Vec<&str> = parts
        .filter(|(index, part)| *index == 0 || wanted.iter().any(|world| part.contains(world.as_str())))
        .map(|(_, part)| part.trim_end())
        .collect();
    kept.join("\n\n") + "\n"
}

/// One text, with the package's name once.
fn text_of(files: &[(String, String)], world: Option<&str>) -> String {
    let package = format!("package doorward:policy@{WIT_VERSION};");
    let mut whole = String::new();
    for (index, (_, text)) in files.iter().enumerate() {
        let text = if index == 0 { text.clone() } else { text.replacen(&package, "", 1) };
        whole.push_str(text.trim());
        whole.push_str("\n\n");
    }
    let what = world.map_or_else(String::new, |world| format!(" Yours is the world `{world}`."));
    format!("// All in one file; `--dir DIR` writes it as files.{what}\n{}", whole.trim_end())
}

#[cfg(test)]
mod tests {
    use wit_parser::Resolve;

    use super::*;

    #[test]
    fn what_is_printed_is_whole_for_each_question() {
        for question in Question::ALL.map(Some).into_iter().chain([None]) {
            let text = text_of(&files(question), None);
            let mut resolve = Resolve::default();
            let package = resolve.push_str("all.wit", &text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
            for one in Question::ALL {
                let there = resolve.select_world(&[package], Some(one.world())).is_ok();
                assert_eq!(there, question.is_none_or(|question| question == one), "{question:?} {one:?}");
            }
        }
    }
}
