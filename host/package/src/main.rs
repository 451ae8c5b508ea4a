//! `doorward-package`: what a package has beside the program, made of what the program itself knows: man pages of its
//! commands and its configuration, completions for shells, and the list of the parts that it is built of.

mod bill;
mod commands;
mod manual;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;

/// Writes what a package of Doorward has beside the program.
#[derive(Debug, Parser)]
#[command(name = "doorward-package", version, about)]
enum Command {
    /// Man pages and completions, into folders `man` and `completions`.
    Pages {
        /// The folder to write to.
        dir: PathBuf,
    },
    /// The parts that the program is built of, as CycloneDX, and their licences' texts: from `cargo metadata` on standard
    /// input.
    Bill {
        /// The folder to write to.
        dir: PathBuf,
        /// A package of Debian that goes with it; may be given several times.
        #[arg(long, value_name = "NAME=VERSION", value_parser = debian)]
        debian: Vec<(String, String)>,
    },
}

/// The source of doorward.toml(5).
const CONFIGURATION: &str = include_str!("../../../docs/config.md");

fn debian(text: &str) -> Result<(String, String), String> {
    let (name, version) = text.split_once('=').ok_or("a name and a version, such as libc6=2.36-9")?;
    Ok((name.to_owned(), version.to_owned()))
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Pages { dir } => pages(&dir),
        Command::Bill { dir, debian } => {
            let mut metadata = String::new();
            std::io::stdin().read_to_string(&mut metadata)?;
            let bill = bill::of(&serde_json::from_str(&metadata)?, &debian)?;
            write(&dir.join("sbom.cdx.json"), bill.list.as_bytes())?;
            write(&dir.join("licences.txt"), bill.licences.as_bytes())
        }
    }
}

fn pages(dir: &Path) -> anyhow::Result<()> {
    for (name, page) in commands::manual_pages()? {
        write(&dir.join("man/man1").join(name), &page)?;
    }
    write(&dir.join("man/man5/doorward.toml.5"), manual::page("doorward.toml", CONFIGURATION).as_bytes())?;
    for (name, text) in commands::completions() {
        write(&dir.join("completions").join(name), &text)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let named = || path.display().to_string();
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).with_context(named)?;
    let mut file = std::fs::File::create(path).with_context(named)?;
    file.write_all(bytes).with_context(named)
}
