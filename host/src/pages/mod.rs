//! What a person sees of Doorward itself: pages by look and device, rendered from templates that escape by default.

mod asset;
mod branding;
mod color;
mod languages;
mod logo;
mod page;
mod prove;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use include_dir::{Dir, include_dir};
use minijinja::{Environment, UndefinedBehavior, context};
use serde::Serialize;

use crate::config::{Fault, Place};
pub use asset::Asset;
use asset::media_type;
pub use branding::{Branded, Branding};
pub use languages::{Language, Languages};
pub use page::Page;

/// The looks that ship with Doorward.
static BUILT_IN: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/templates");

/// The built-in look that has every page.
const COMPLETE: &str = "blue";
/// A template or asset may be so large.
const FILE_SIZE: u64 = 1 << 20;
/// A folder of templates may hold so many files.
const FILES: usize = 1000;

/// The one script. What stands behind `#` in the address that a person asked for is known to the browser only: the script
/// sends it along with the form and the choices, and browsers keep it over the redirects that follow (RFC 9110, section
/// 10.2.2). An empty `action` would do without a script, but then a password goes to the path of a page, and to a node if
/// another tab has logged in meanwhile. It also shows the box with which a person sees the password that they type; when the
/// form is sent it is a password again, so that no browser keeps it as a text. A page without the script works all the same.
/// It stands in the page as it is, for its digest is in the policy of the page, and it goes when it has run.
pub const SCRIPT: &str = "{const k=u=>u.split('#')[0]+location.hash,q=s=>document.querySelector(s),\
    p=q('input[type=password]'),r=q('[data-reveal]'),b=r&&r.querySelector('input'),\
    s=()=>{p.type=b.checked?'text':'password'};\
    if(p&&b){p.spellcheck=false;r.hidden=false;b.addEventListener('change',s)}\
    addEventListener('submit',e=>{e.target.action=k(e.target.action);if(p&&b){b.checked=false;s()}});\
    addEventListener('click',e=>{const a=e.target.closest('.choices a');if(a)a.href=k(a.href)});\
    document.currentScript.remove()}";

/// A language or a view that the person may choose.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Choice {
    /// The language's tag, or the view's name.
    pub tag: String,
    /// What it is called.
    pub name: String,
    /// Where it is chosen.
    pub href: String,
    /// Whether the page is in it.
    pub current: bool,
}

/// What a template may show, besides `t`, the texts of the language by key. Everything is a text that is escaped.
#[derive(Debug, Clone, Serialize)]
pub struct Content {
    /// Which page this is.
    pub page: Page,
    /// The look: the first folder of the template's name.
    pub look: String,
    /// `desktop`, `mobile`, `tablet` or `bot`.
    pub form: &'static str,
    /// Language of the texts: a tag (RFC 5646).
    pub lang: String,
    /// All languages.
    pub languages: Vec<Choice>,
    /// The version for the other kind of device.
    pub other_view: Choice,
    /// The virtual host.
    pub host: String,
    /// The site's title.
    pub title: String,
    /// The user name to show again.
    pub username: String,
    /// What the person should know.
    pub message: Option<String>,
    /// Where there is help with that.
    pub link: Option<String>,
    /// Binds the form to the browser.
    pub token: String,
    /// Where the login leads to.
    pub next: String,
    /// What a login that waits for its second factor has come to, sealed.
    pub state: String,
    /// What a user sent without a session, sealed; it comes back with the login.
    pub held: String,
    /// Where such a form goes when it is sent again.
    pub action: String,
    /// Whether the person said that others use this computer too.
    pub shared: bool,
    /// What the site has of its own.
    #[serde(flatten)]
    pub branded: Branded,
    /// Its fields: names and texts.
    pub fields: Vec<(String, String)>,
    /// Status code.
    pub status: u16,
    /// What that means, in a few words.
    pub reason: String,
    /// One sentence on what went wrong.
    pub detail: String,
    /// Seconds until it is worth to try again.
    pub retry_after: Option<u64>,
    /// The same as a sentence.
    pub wait: Option<String>,
    /// Seconds until the page loads itself again.
    pub refresh: Option<u64>,
    /// Joins the page to the log.
    pub request_id: String,
    /// The one script that our pages may have; see [`SCRIPT`].
    pub script: &'static str,
}

/// All looks of a Snapshot.
#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    names: BTreeSet<String>,
    looks: BTreeSet<String>,
    assets: BTreeMap<String, Asset>,
    /// Pages that render, and that nobody can use.
    doubts: Vec<String>,
    /// Settings of sites that a look does not show: its name and the setting's.
    unshown: BTreeSet<(String, &'static str)>,
}

impl Pages {
    /// Reads the operator's folder, if there is one, over the built-in looks; every page is rendered once as a proof.
    ///
    /// # Errors
    /// The file that cannot be read, or the template that does not work.
    pub fn build(folder: Option<&Path>, languages: &Languages, place: &Place) -> Result<Self, Fault> {
        let mut files = shipped();
        if let Some(folder) = folder {
            let fault = |found: String| place.fault(found, "a folder of templates");
            collect(folder, folder, &mut files, 0).map_err(fault)?;
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let (mut names, mut looks, mut assets) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut texts = BTreeMap::new();
        for (name, bytes) in files {
            looks.extend(name.split_once('/').map(|(look, _)| look.to_owned()));
            if name.ends_with(".html") {
                let text = String::from_utf8(bytes)
                    .map_err(|_| place.fault(format!("{name}: bytes that are no UTF-8"), "a template"))?;
                texts.insert(name.clone(), text.clone());
                environment
                    .add_template_owned(name.clone(), text)
                    .map_err(|error| place.fault(format!("{name}: {error:#}"), "a template that parses"))?;
                names.insert(name);
            } else if let Some(media_type) = media_type(&name) {
                assets.insert(name, Asset::new(media_type, bytes));
            }
        }
        if let Some(lost) = prove::lost_block(&texts) {
            let fault = place.fault(format!("{}: the block \"{}\", which nobody shows", lost.template, lost.block), "");
            let known = lost.known.iter().map(String::as_str);
            return Err(fault.none_of(&lost.block, &format!("one of the blocks of {}", lost.above), known));
        }
        let mut pages = Self { environment, names, looks, assets, doubts: Vec::new(), unshown: BTreeSet::new() };
        pages.prove(languages, place)?;
        Ok(pages)
    }

    /// Pages that render, and that nobody can use: which, and what they lack.
    pub fn doubts(&self) -> &[String] {
        &self.doubts
    }

    /// Whether a look shows what a setting of a site says, by the setting's key.
    pub fn shows(&self, look: &str, key: &str) -> bool {
        !self.unshown.iter().any(|(of, unshown)| of == look && *unshown == key)
    }

    /// Whether there is a look of that name.
    pub fn has(&self, look: &str) -> bool {
        self.looks.contains(look)
    }

    /// The names of all looks.
    pub fn looks(&self) -> impl Iterator<Item = &str> {
        self.looks.iter().map(String::as_str)
    }

    /// Renders a page in a language. A look that lacks the page has it from the first of the built-in looks.
    ///
    /// # Errors
    /// What the template does wrong with this content.
    pub fn render(&self, content: &Content, language: &Language) -> Result<String, minijinja::Error> {
        let variant = if content.form == "mobile" { "mobile" } else { "desktop" };
        let of = |look: &str, variant: &str| format!("{look}/{variant}/{}", content.page.file());
        let names = [of(&content.look, variant), of(&content.look, "desktop"), of(COMPLETE, variant)];
        let name = names.iter().find(|name| self.names.contains(*name)).unwrap_or(&names[2]);
        let values = context! { t => language.value(), ..minijinja::Value::from_serialize(content) };
        self.environment.get_template(name)?.render(values)
    }

    /// A file of a look's `assets` folder, by `look/file`.
    pub fn asset(&self, path: &str) -> Option<&Asset> {
        let (look, file) = path.split_once('/')?;
        self.assets.get(&format!("{look}/assets/{file}"))
    }

    /// Renders every page of every look once.
    fn prove(&mut self, languages: &Languages, place: &Place) -> Result<(), Fault> {
        let mut doubts = BTreeSet::new();
        let mut unshown = BTreeSet::new();
        for (look, language) in self.looks.iter().flat_map(|look| languages.all().map(move |l| (look, l))) {
            for (form, page) in ["desktop", "mobile"].into_iter().flat_map(|form| Page::ALL.map(|page| (form, page))) {
                let content = sample(look, form, page);
                let html = self.render(&content, language).map_err(|error| {
                    place.fault(format!("{look}/{form}/{}: {error:#}", page.file()), "a template that renders")
                })?;
                let lacks = prove::missing(page, &html);
                doubts.extend(lacks.map(|lacks| format!("{look}/{form}/{} without {lacks}", page.file())));
                unshown.extend(prove::unshown(page, &html).map(|key| (look.clone(), key)));
            }
        }
        // It lacks the same in each language.
        (self.doubts, self.unshown) = (doubts.into_iter().collect(), unshown);
        Ok(())
    }
}

/// A page with everything on it.
fn sample(look: &str, form: &'static str, page: Page) -> Content {
    let choice = Choice { tag: "en".into(), name: "English".into(), href: "/".into(), current: true };
    Content {
        page,
        look: look.to_owned(),
        form,
        lang: "en".to_owned(),
        languages: vec![choice.clone()],
        other_view: choice,
        host: "mail.example.com".to_owned(),
        title: "Webmail".to_owned(),
        username: "alice".to_owned(),
        message: Some("message".to_owned()),
        link: Some("https://help.example.com/".to_owned()),
        token: "token".to_owned(),
        next: "/".to_owned(),
        state: "state".to_owned(),
        held: "held".to_owned(),
        action: "/".to_owned(),
        shared: true,
        branded: branding::sample(),
        fields: vec![("name".to_owned(), "text".to_owned())],
        status: 503,
        reason: "Service Unavailable".to_owned(),
        detail: "detail".to_owned(),
        retry_after: Some(5),
        wait: Some("5 s".to_owned()),
        refresh: Some(5),
        request_id: "id".to_owned(),
        script: SCRIPT,
    }
}

/// The templates and assets that ship with Doorward, by their path.
pub fn shipped() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    built_in(&BUILT_IN, &mut files);
    files
}

fn built_in(folder: &Dir<'_>, files: &mut BTreeMap<String, Vec<u8>>) {
    for file in folder.files() {
        files.insert(file.path().to_string_lossy().into_owned(), file.contents().to_vec());
    }
    for below in folder.dirs() {
        built_in(below, files);
    }
}

/// Files of a folder by their path in it. Links out of the folder and endless depths are not followed.
fn collect(root: &Path, at: &Path, files: &mut BTreeMap<String, Vec<u8>>, depth: usize) -> Result<(), String> {
    let told = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    for entry in std::fs::read_dir(at).map_err(|error| told(at, error))? {
        let path = entry.map_err(|error| told(at, error))?.path();
        let metadata = std::fs::metadata(&path).map_err(|error| told(&path, error))?;
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if metadata.is_dir() && depth < 4 && !hidden {
            collect(root, &path, files, depth + 1)?;
        } else if metadata.is_file() && !hidden {
            if metadata.len() > FILE_SIZE || files.len() > FILES {
                return Err(format!("{}: more than 1 MiB, or more than {FILES} files", path.display()));
            }
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.insert(name, std::fs::read(&path).map_err(|error| told(&path, error))?);
        }
    }
    Ok(())
}
