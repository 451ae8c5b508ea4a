//! What a site's pages have of its own: picture, colour, links, and what is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::asset::Asset;
use super::color::Shades;
use super::languages::{Language, Languages};
use super::logo;
use crate::config::{Collector, SharedComputer, Site, Wording};
use crate::own_path::OwnPath;
use crate::reply::Message;

/// What a site's pages have of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Branding {
    /// The picture that takes the place of the look's own.
    pub logo: Option<Asset>,
    /// The style sheet with the site's colour.
    pub style: Option<Asset>,
    /// Whether people log in at computers that others use too.
    pub shared_computer: SharedComputer,
    /// The colour of what a browser draws around the page.
    theme_color: Option<String>,
    links: Vec<(Wording, String)>,
    announcement: Option<Wording>,
    announcement_until: Option<u64>,
    /// The language of texts that are the same for everybody.
    language: Arc<str>,
}

/// A text of the operator's, for a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// What it says.
    pub text: String,
    /// In which language: a tag.
    pub lang: String,
    /// Where it leads, if it is a link.
    pub href: Option<String>,
}

/// What a template gets of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Branded {
    /// The address of the site's picture.
    pub logo: Option<String>,
    /// The address of the style sheet with the site's colour.
    pub stylesheet: Option<String>,
    /// The colour of what a browser draws around the page.
    pub theme_color: Option<String>,
    /// Links below the login form.
    pub links: Vec<Said>,
    /// What is told above it.
    pub announcement: Option<Said>,
    /// Whether people log in at computers that others use too: `never`, `ask` or `always`.
    pub shared_computer: &'static str,
}

impl Branding {
    /// Reads what a site names. A picture that is none, and a language that there is not, is a fault.
    pub fn build(site: &Site, languages: &Languages, faults: &Collector) -> Self {
        let logo = site.logo.as_ref().and_then(|path| {
            let expected = "a whole picture of at most 256 KiB: SVG without scripts, PNG, JPEG or WebP";
            let told = |error: String| site.place.key("logo").fault(format!("{}: {error}", path.display()), expected);
            faults.keep(logo::read(path).map_err(|error| told(error).into()))
        });
        let shades = site.accent_color.map(|color| (color, Shades::of(color)));
        if let Some(shade) = shades.as_ref().and_then(|(color, shades)| shades.instead(*color)) {
            let found = "a colour that nobody can read on a light page";
            let expected = format!("a darker one; {shade} is shown in its place");
            faults.add(site.place.key("accent-color").warning(found, expected));
        }
        let texts = site.links.iter().map(|link| (&link.text, link.place.key("text")));
        for (text, place) in texts.chain(site.announcement.iter().map(|text| (text, site.place.key("announcement")))) {
            let Wording::ByLanguage(texts) = text else { continue };
            for tag in texts.keys().filter(|tag| !languages.has(tag)) {
                faults.add(place.key(tag).unknown(tag, "a language", languages.all().map(|one| one.tag.as_str())));
            }
        }
        Self {
            logo,
            style: shades.as_ref().map(|(_, shades)| Asset::new("text/css; charset=utf-8", shades.sheet().into())),
            theme_color: shades.map(|(_, shades)| shades.deep()),
            shared_computer: site.shared_computer,
            links: site.links.iter().map(|link| (link.text.clone(), link.url.clone())).collect(),
            announcement: site.announcement.clone(),
            announcement_until: site.announcement_until,
            language: languages.default_tag().into(),
        }
    }

    /// What a page shows of it in a language; `now` is in seconds since 1970.
    pub fn shown(&self, language: &Language, now: u64) -> Branded {
        let is_on = self.announcement_until.is_none_or(|end| now < end);
        let link = |(text, url): &(Wording, String)| Said { href: Some(url.clone()), ..self.said(text, language) };
        Branded {
            logo: self.logo.as_ref().map(|logo| logo.address(OwnPath::SiteLogo)),
            stylesheet: self.style.as_ref().map(|style| style.address(OwnPath::SiteStyle)),
            theme_color: self.theme_color.clone(),
            links: self.links.iter().map(link).collect(),
            announcement: self.announcement.as_ref().filter(|_| is_on).map(|text| self.said(text, language)),
            shared_computer: self.shared_computer.word(),
        }
    }

    /// A text in the page's language, or in one that is near it, or in the one for everybody.
    fn said(&self, wording: &Wording, language: &Language) -> Said {
        let (text, lang) = match wording {
            Wording::Same(text) => match language.say(&Message::Given(text.clone())) {
                known if known != *text => (known, language.tag.as_str()),
                same => (same, &*self.language),
            },
            Wording::ByLanguage(texts) => {
                let found = in_language(texts, &language.tag).or_else(|| in_language(texts, &self.language));
                let (tag, text) = found.or_else(|| texts.iter().next()).map_or(("", ""), |(tag, text)| (tag, text));
                (text.to_owned(), tag)
            }
        };
        Said { text, lang: lang.to_owned(), href: None }
    }
}

/// The text of a language, or of the language that it is a variety of (RFC 4647, section 3.4).
fn in_language<'t>(texts: &'t BTreeMap<String, String>, tag: &str) -> Option<(&'t String, &'t String)> {
    let varieties = std::iter::successors(Some(tag), |tag| Some(tag.rsplit_once('-')?.0));
    varieties.into_iter().find_map(|tag| texts.iter().find(|(known, _)| known.eq_ignore_ascii_case(tag)))
}

/// A sample with everything in it, each text with its key.
pub(super) fn sample() -> Branded {
    let said = |text: &str, href: Option<&str>| Said {
        text: text.to_owned(),
        lang: "en".to_owned(),
        href: href.map(str::to_owned),
    };
    Branded {
        logo: Some("/sample-logo".to_owned()),
        stylesheet: Some("/sample-accent-color".to_owned()),
        theme_color: Some("#123456".to_owned()),
        links: vec![said("sample", Some("/sample-links"))],
        announcement: Some(said("sample-announcement", None)),
        shared_computer: SharedComputer::Ask.word(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_in_the_page_s_language_or_a_near_one() {
        let texts = [("de", "Hallo"), ("pt", "Olá"), ("fr", "Salut")];
        let texts: BTreeMap<_, _> = texts.map(|(tag, text)| (tag.to_owned(), text.to_owned())).into();
        let found = |tag| in_language(&texts, tag).map(|(_, text)| text.as_str());
        assert_eq!(found("de"), Some("Hallo"));
        assert_eq!(found("pt-BR"), Some("Olá"));
        assert_eq!(found("DE-ch-1996"), Some("Hallo"));
        assert_eq!((found("ja"), found("")), (None, None));
    }
}
