//! The WIT of this program, for tools that read it as files.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context, Result};
use doorward_vectors::Question;
use include_dir::{Dir, include_dir};
use wit_parser::{Resolve, WorldId};

/// The current version lies on top; folders beside it hold older ones.
static WIT: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../wit");

/// A folder that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Workshop(PathBuf);

impl Workshop {
    /// Makes the folder, with the interface in it.
    pub(crate) fn open() -> Result<Self> {
        // It must not be there already: another user could have laid it.
        let folder = (0..1000)
            .map(|n| env::temp_dir().join(format!("doorward-build.{}.{n}", std::process::id())))
            .find(|folder| {
                fs::create_dir(folder).map_or_else(|error| error.kind() != io::ErrorKind::AlreadyExists, |()| true)
            });
        let workshop = Workshop(folder.context("no folder for the build")?);
        let wit = workshop.wit();
        fs::create_dir(&wit).with_context(|| format!("cannot make {}", wit.display()))?;
        for (name, text) in interface_files() {
            let path = wit.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(workshop)
    }

    /// A place in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder of the WIT.
    pub(crate) fn wit(&self) -> PathBuf {
        self.join("wit")
    }

    /// The world of a question, with all that it needs.
    pub(crate) fn world(&self, question: Question) -> Result<(Resolve, WorldId)> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(self.wit()).context("the interface cannot be read")?;
        let world =
            resolve.select_world(&[package], Some(question.world())).context("the interface lacks the world")?;
        Ok((resolve, world))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What stays is a folder of small files in the place for such.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Names and texts of the interface.
pub(crate) fn interface_files() -> impl Iterator<Item = (&'static Path, &'static [u8])> {
    let current = WIT.files().filter(|file| file.path().extension().is_some_and(|extension| extension == "wit"));
    current.map(|file| (file.path(), file.contents()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_its_world() {
        let workshop = Workshop::open().unwrap();
        for question in Question::ALL {
            workshop.world(question).unwrap();
        }
        let folder = workshop.wit();
        drop(workshop);
        assert!(!folder.exists());
    }
}
