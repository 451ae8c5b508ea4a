//! The commands as clap knows them: man pages and completions.

use clap::{Command, CommandFactory as _};
use clap_complete::aot::{Bash, Fish, Zsh, generate};

/// All commands of `doorward`. Those that `doorward-author` does are as that program has them.
pub(crate) fn command() -> Command {
    let mut command = doorward::cli::Cli::command().disable_help_subcommand(true);
    for author in doorward_author::command().get_subcommands() {
        let author = author.clone();
        command =
            command.mut_subcommand("policy", |policy| policy.mut_subcommand(author.get_name(), |_| author.clone()));
    }
    command
}

/// A man page for each command, by the name of its file.
pub(crate) fn manual_pages() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    for mut command in [command(), doorward_author::command().disable_help_subcommand(true)] {
        command.build();
        let version = command.get_version().unwrap_or_default().to_owned();
        add_pages(&command, &version, &mut pages)?;
    }
    Ok(pages)
}

fn add_pages(command: &Command, version: &str, pages: &mut Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add_pages(below, version, pages)?;
    }
    let source = format!("Doorward {version}");
    let page = clap_mangen::Man::new(command.clone()).source(source).manual("Doorward");
    let mut text = Vec::new();
    page.render(&mut text)?;
    text.extend_from_slice(SEE_ALSO.as_bytes());
    pages.push((page.get_filename(), text));
    Ok(())
}

/// What each page ends with.
const SEE_ALSO: &str = ".SH \"SEE ALSO\"\n\\fBdoorward\\fR(1), \\fBdoorward.toml\\fR(5)\n";

/// The completions of each shell, by the name that it looks for.
pub(crate) fn completions() -> Vec<(&'static str, Vec<u8>)> {
    let (mut bash, mut zsh, mut fish) = (Vec::new(), Vec::new(), Vec::new());
    generate(Bash, &mut command(), "doorward", &mut bash);
    generate(Zsh, &mut command(), "doorward", &mut zsh);
    generate(Fish, &mut command(), "doorward", &mut fish);
    vec![("bash/doorward", bash), ("zsh/_doorward", zsh), ("fish/doorward.fish", fish)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command, its words and its options.
    fn all(command: &Command, words: &str, found: &mut Vec<(String, Vec<String>)>) {
        let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
        let options = shown.filter_map(|argument| argument.get_long().map(|long| format!("--{long}"))).collect();
        found.push((words.to_owned(), options));
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            all(below, &format!("{words}-{}", below.get_name()), found);
        }
    }

    fn built() -> Vec<(String, Vec<String>)> {
        let mut command = command();
        command.build();
        let mut found = Vec::new();
        all(&command, "doorward", &mut found);
        assert!(found.len() > 30, "{}", found.len());
        found
    }

    #[test]
    fn every_command_has_a_page_with_every_option() {
        let pages = manual_pages().unwrap();
        for (words, options) in built() {
            let (_, page) = pages
                .iter()
                .find(|(name, _)| *name == format!("{words}.1"))
                .unwrap_or_else(|| panic!("no page {words}"));
            // A hyphen is written so that it stays one.
            let page = String::from_utf8_lossy(page).replace("\\-", "-");
            for option in options {
                assert!(page.contains(&option), "{option} is not in {words}.1");
            }
        }
    }

    #[test]
    fn every_command_and_option_completes_in_each_shell() {
        for (shell, text) in completions() {
            let text = String::from_utf8(text).unwrap();
            for (words, options) in built() {
                let last = words.rsplit('-').next().unwrap();
                assert!(text.contains(last), "{shell}: {words}");
                for option in options {
                    // In fish without the hyphens.
                    let name = if shell.starts_with("fish") { format!("-l {}", &option[2..]) } else { option };
                    assert!(text.contains(&name), "{shell}: {name} of {words}");
                }
            }
        }
    }
}
