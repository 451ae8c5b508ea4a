//! Texts of the pages in several languages: those that ship with Doorward, and those of the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use minijinja::Value;

use crate::config::{Collector, Faults, Place, Source, Table, read};
use crate::reply::Message;

static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/languages");
/// The language that has every text.
const COMPLETE: &str = include_str!("../../languages/en.toml");
/// A file of texts may be so large.
const FILE_SIZE: u64 = 256 << 10;
/// Ranges of an `Accept-Language` that are looked at; browsers send a handful.
const RANGES: usize = 16;

/// Texts by key.
type Texts = BTreeMap<String, String>;

/// All languages of a Snapshot.
#[derive(Debug)]
pub struct Languages {
    /// By tag in lower case.
    all: BTreeMap<String, Language>,
    /// Where nobody asks for another.
    default: Arc<str>,
}

/// A language.
#[derive(Debug, Default)]
pub struct Language {
    /// Its tag (RFC 5646), such as `de` or `pt-BR`.
    pub tag: String,
    /// All texts: its own, and those of English that it lacks.
    texts: Texts,
    /// The same for templates.
    value: Value,
}

impl Languages {
    /// Reads the built-in languages and over them those of a folder: `TAG.toml`, with a text for each key.
    ///
    /// # Errors
    /// Every fault of every file.
    pub fn build(folder: Option<&Path>, default: &str, place: &Place) -> Result<Self, Faults> {
        let faults = Collector::default();
        let complete = texts_of("en.toml".into(), COMPLETE.to_owned(), &Texts::new())?;
        let mut all = BTreeMap::new();
        let mut add = |path: &Path, text: String| {
            let tag = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            if let Some(texts) = faults.keep(texts_of(path.to_owned(), text, &complete)) {
                let known: &mut (String, Texts) =
                    all.entry(tag.to_lowercase()).or_insert_with(|| (tag, complete.clone()));
                known.1.extend(texts);
            }
        };
        for file in BUILT_IN.files() {
            add(file.path(), file.contents_utf8().unwrap_or_default().to_owned());
        }
        for path in folder.map_or_else(|| Ok(Vec::new()), |folder| files(folder, place))? {
            match std::fs::read_to_string(&path) {
                Ok(text) => add(&path, text),
                Err(error) => faults.add(place.fault(format!("{}: {error}", path.display()), "a readable file")),
            }
        }
        if !all.contains_key(&default.to_lowercase()) {
            faults.add(place.key("default-language").unknown(default, "a language", all.keys().map(String::as_str)));
        }
        faults.finish()?;
        let all = all.into_iter().map(|(key, (tag, texts))| (key, Language::new(tag, texts))).collect();
        Ok(Self { all, default: default.to_lowercase().into() })
    }

    /// The language for somebody: the one they chose, or the best of an `Accept-Language` (RFC 9110, section 12.5.4, with
    /// the lookup of RFC 4647, section 3.4), or the default. There is at least that one.
    pub fn choose(&self, chosen: Option<&str>, accepted: Option<&str>) -> Option<&Language> {
        let chosen = chosen.and_then(|tag| self.all.get(&tag.to_lowercase()));
        let accepted = || ranges(accepted?).iter().find_map(|range| self.look_up(range));
        chosen.or_else(accepted).or_else(|| self.all.get(&*self.default))
    }

    /// Whether there is such a language.
    pub fn has(&self, tag: &str) -> bool {
        self.all.contains_key(&tag.to_lowercase())
    }

    /// The tag of the one where nobody asks for another.
    pub fn default_tag(&self) -> &str {
        self.all.get(&*self.default).map_or("", |language| language.tag.as_str())
    }

    /// All of them, by tag.
    pub fn all(&self) -> impl Iterator<Item = &Language> {
        self.all.values()
    }

    fn look_up(&self, range: &str) -> Option<&Language> {
        let mut range = range;
        loop {
            match self.all.get(range) {
                Some(found) => return Some(found),
                None => range = range.rsplit_once('-')?.0,
            }
        }
    }
}

impl Language {
    fn new(tag: String, texts: Texts) -> Self {
        let value = Value::from_serialize(&texts);
        Self { tag, texts, value }
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        self.text("language_name")
    }

    /// A text as it is; the key itself where there is none.
    pub fn text<'t>(&'t self, key: &'t str) -> &'t str {
        self.texts.get(key).map_or(key, String::as_str)
    }

    /// A message in this language.
    pub fn say(&self, message: &Message) -> String {
        match message {
            // A policy may give a key of the operator's own files.
            Message::Given(text) => self.text(text).to_owned(),
            Message::Known(key, values) => fill(self.text(key), values),
        }
    }

    /// All texts, for a template.
    pub(super) fn value(&self) -> Value {
        self.value.clone()
    }
}

/// Fills the placeholders of a text, in one pass, so that what is filled in has no placeholders.
fn fill(text: &str, values: &[(&'static str, String)]) -> String {
    let mut filled = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let value = behind.split_once('}').and_then(|(placeholder, after)| {
            let (_, value) = values.iter().find(|(name, _)| *name == placeholder)?;
            Some((value, after))
        });
        match value {
            Some((value, after)) => {
                filled.push_str(value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = behind;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// Ranges of an `Accept-Language` in lower case, the most wanted first. Those that are not wanted (`q=0`) are left out.
fn ranges(accepted: &str) -> Vec<String> {
    let range = |part: &str| {
        let (range, parameter) = part.split_once(';').unwrap_or((part, "q=1"));
        let quality: f32 = parameter.trim().strip_prefix("q=")?.parse().ok()?;
        let range = range.trim();
        let fine = !range.is_empty() && range.len() <= 35 && quality > 0.0;
        fine.then(|| (quality, range.to_ascii_lowercase()))
    };
    let mut all: Vec<(f32, String)> = accepted.split(',').take(RANGES).filter_map(range).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().map(|(_, range)| range).collect()
}

/// The files of a folder that are languages.
fn files(folder: &Path, place: &Place) -> Result<Vec<PathBuf>, Faults> {
    let fault = |path: &Path, found: String| {
        Faults::from(place.fault(format!("{}: {found}", path.display()), "a folder of TAG.toml files"))
    };
    let entries = std::fs::read_dir(folder).map_err(|error| fault(folder, error.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    for path in &files {
        let large = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() || metadata.len() > FILE_SIZE);
        if large {
            return Err(fault(path, "no file, or larger than 256 KiB".to_owned()));
        }
    }
    Ok(files)
}

fn texts_of(path: PathBuf, text: String, complete: &Texts) -> Result<Texts, Faults> {
    read(&Arc::new(Source::new(path, text)), |t| texts(t, complete))
}

/// Placeholders that English had once: a file of an operator may still have them, and they are filled with nothing.
const GONE: [(&str, &str); 1] = [("bad_request", "how")];

/// The texts of a file. What English has no text for is a look's own and may be anything; the others have the placeholders
/// that English has, or fewer.
fn texts(t: &Table<'_>, complete: &Texts) -> Texts {
    let mut texts = Texts::new();
    for key in t.keys() {
        let Some(text) = t.text(&key) else { continue };
        if let Some(english) = complete.get(&key) {
            let known = placeholders(english);
            let gone = |placeholder: &&&str| GONE.contains(&(key.as_str(), **placeholder));
            for placeholder in placeholders(&text).difference(&known).filter(|placeholder| !gone(placeholder)) {
                let expected: Vec<String> = known.iter().map(|placeholder| format!("{{{placeholder}}}")).collect();
                let expected = if known.is_empty() { "no placeholder".to_owned() } else { expected.join(", ") };
                t.fault(&key, format!("{{{placeholder}}}"), expected);
            }
        }
        texts.insert(key, text);
    }
    texts
}

fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(placeholder, _)| placeholder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::whole(&Arc::new(Source::new("test", "")))
    }

    fn built_in() -> Languages {
        Languages::build(None, "en", &place()).unwrap()
    }

    #[test]
    fn the_built_in_languages_have_every_text() {
        let complete = texts_of("en.toml".into(), COMPLETE.to_owned(), &Texts::new()).unwrap();
        for file in BUILT_IN.files() {
            let texts = texts_of(file.path().to_owned(), file.contents_utf8().unwrap().to_owned(), &complete).unwrap();
            for (key, english) in &complete {
                let text = texts.get(key).unwrap_or_else(|| panic!("{}: no {key}", file.path().display()));
                assert_eq!(placeholders(text), placeholders(english), "{}: {key}", file.path().display());
            }
        }
        let tags: Vec<String> = built_in().all().map(|language| language.tag.clone()).collect();
        assert_eq!(tags, ["de", "en", "es", "fr", "ja", "ro"]);
    }

    #[test]
    fn the_language_is_the_one_that_was_chosen_or_the_best_that_is_accepted() {
        let all = built_in();
        let check = |chosen, accepted, tag: &str| assert_eq!(all.choose(chosen, accepted).unwrap().tag, tag);
        check(None, None, "en");
        check(None, Some("de-CH, en;q=0.5"), "de");
        check(None, Some("en;q=0.5, ja"), "ja");
        check(None, Some("xx, fr;q=0.1, de;q=0"), "fr");
        check(None, Some("de;q=0, *;q=0.5"), "en");
        check(Some("RO"), Some("de"), "ro");
        check(Some("nope"), Some("de"), "de");
        check(None, Some("\u{7f};;;,q=,=,-,de-"), "de");
    }

    #[test]
    fn a_message_is_filled_once_and_what_is_unknown_stays() {
        assert_eq!(fill("{a} of {b}{c", &[("a", "{b}".to_owned()), ("b", "2".to_owned())]), "{b} of 2{c");
        let english = Language::new("en".to_owned(), Texts::from([("k".to_owned(), "{n} times".to_owned())]));
        let given = |text: &str| english.say(&Message::Given(text.to_owned()));
        assert_eq!((given("k").as_str(), given("Not today.").as_str()), ("{n} times", "Not today."));
        assert_eq!(english.say(&Message::Known("k", vec![("n", "3".to_owned())])), "3 times");
        assert_eq!(english.say(&Message::Given("as {it} is".to_owned())), "as {it} is");
    }

    #[test]
    fn an_operator_adds_a_language_and_changes_a_text_and_faults_are_told_with_their_line() {
        let folder = std::env::temp_dir().join(format!("doorward-languages-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("nds.toml"), "language_name = \"Platt\"\nsign_in = \"Anmellen\"\nour_own = \"x\"\n")
            .unwrap();
        std::fs::write(folder.join("de.toml"), "sign_in = \"Rein\"\n").unwrap();
        let all = Languages::build(Some(&folder), "nds", &place()).unwrap();
        let low = all.choose(None, None).unwrap();
        assert_eq!((low.name(), low.text("sign_in"), low.text("password")), ("Platt", "Anmellen", "Password"));
        let german = all.choose(None, Some("de")).unwrap();
        assert_eq!((german.text("sign_in"), german.name()), ("Rein", "Deutsch"));
        std::fs::write(folder.join("nds.toml"), "sign_in = \"a\"\nwait_minutes = \"{minutes}\"\nx = 1\n").unwrap();
        let told = Languages::build(Some(&folder), "en", &place()).unwrap_err().to_string();
        assert!(told.contains("nds.toml:2: wait_minutes: found {minutes}, expected {count}"), "{told}");
        assert!(told.contains("nds.toml:3: x"), "{told}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
