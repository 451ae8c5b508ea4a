//! Whether an SVG picture is one, and nothing else: no script, and nothing that it fetches from elsewhere.
//!
//! An SVG in an `<img>` runs no script, but one that is opened by its address is a document of the site that it came from.
//!
//! Pure.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};

/// What says that an element is SVG. Without it nobody draws the picture.
const NAMESPACE: &[u8] = b"http://www.w3.org/2000/svg";
/// Elements that run something, or that bring in another document.
const ACTIVE: [&[u8]; 8] =
    [b"script", b"foreignobject", b"iframe", b"object", b"embed", b"handler", b"listener", b"animatecolor"];
/// Elements that may change an attribute of another one.
const ANIMATIONS: [&[u8]; 3] = [b"set", b"animate", b"animatetransform"];
/// What a parser of HTML does not see: entities, whose text an XML parser puts into the picture, and a style sheet, which
/// makes another document of it.
const UNSEEN: [&str; 2] = ["<!ENTITY", "<?xml-stylesheet"];
/// Pictures within the picture.
const EMBEDDED: [&[u8]; 4] = [b"data:image/png", b"data:image/jpeg", b"data:image/gif", b"data:image/webp"];

/// Checks a picture.
///
/// It is read as HTML, which finds at least the elements that an XML parser would find: comments, instructions and CDATA
/// sections end at the same place or sooner, and the texts of scripts, styles and titles are markup here. What an XML
/// parser reads otherwise (entities of the file's own) is refused.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check(text: &str) -> Result<(), String> {
    if let Some(what) = UNSEEN.into_iter().find(|what| text.contains(what)) {
        return Err(format!("{what} in it, which a picture may not have; save it as plain SVG"));
    }
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(false);
    let (mut root, mut last) = (None, None);
    for token in Tokenizer::new_with_emitter(text, emitter) {
        match token {
            Ok(Token::StartTag(tag)) => {
                let (prefix, name) = parts(&tag.name);
                if root.is_none() {
                    if name != b"svg" || !has_namespace(&tag, prefix) {
                        return Err("its first element is no <svg xmlns=\"http://www.w3.org/2000/svg\">".to_owned());
                    }
                    root = Some(tag.name.to_vec());
                    // An element that is closed at once is whole.
                    last = tag.self_closing.then(|| tag.name.to_vec());
                }
                active(&tag, name).map_or(Ok(()), |what| Err(format!("{what} in it, which a picture may not have")))?;
            }
            Ok(Token::EndTag(tag)) => last = Some(tag.name.to_vec()),
            Ok(_) => {}
            Err(never) => match never {},
        }
    }
    match root {
        None => Err("no <svg> in it".to_owned()),
        Some(root) if last.as_ref() != Some(&root) => Err("its end is missing".to_owned()),
        Some(_) => Ok(()),
    }
}

/// The prefix and the name of an element or attribute.
fn parts(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().position(|byte| *byte == b':') {
        Some(at) => (name.get(..at).unwrap_or_default(), name.get(at + 1..).unwrap_or_default()),
        None => (b"", name),
    }
}

fn has_namespace(tag: &StartTag<()>, prefix: &[u8]) -> bool {
    let attribute = if prefix.is_empty() { b"xmlns".to_vec() } else { [b"xmlns:", prefix].concat() };
    tag.attributes.get(attribute.as_slice()).is_some_and(|value| value.as_slice() == NAMESPACE)
}

/// What of an element does more than to be drawn.
fn active(tag: &StartTag<()>, name: &[u8]) -> Option<String> {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(40).collect::<String>();
    if ACTIVE.contains(&name) {
        return Some(format!("<{}>", shown(name)));
    }
    for (attribute, value) in &tag.attributes {
        let (_, word) = parts(attribute);
        let value = value.trim_ascii().to_ascii_lowercase();
        let leads_away = || !value.starts_with(b"#") && !EMBEDDED.iter().any(|kind| value.starts_with(kind));
        let changes_links = || ANIMATIONS.contains(&name) && value.ends_with(b"href");
        match word {
            _ if word.starts_with(b"on") => return Some(format!("the attribute {}", shown(attribute))),
            b"href" if leads_away() => return Some(format!("the link {} to \"{}\"", shown(attribute), shown(&value))),
            b"attributename" if changes_links() => return Some(format!("<{}> of a link", shown(name))),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: &str = "xmlns=\"http://www.w3.org/2000/svg\"";

    #[test]
    fn pictures_pass() {
        for inner in [
            "",
            "<title>A sprig</title><style>path{fill:#123}</style><path d='M0 0'/>",
            "<defs><g id='a'/></defs><use href='#a'/><use xlink:href=\"#a\"/>",
            "<image href='data:image/png;base64,AAAA'/>",
            "<!-- <script> --><text>one &lt; two</text>",
            "<metadata><rdf:RDF><cc:Work rdf:about=''><dc:type rdf:resource='http://purl.org/dc'/></cc:Work></rdf:RDF></metadata>",
            "<animate attributeName='opacity'/>",
        ] {
            assert_eq!(check(&format!("<?xml version='1.0'?>\n<svg {NS}>{inner}</svg>\n")), Ok(()), "{inner}");
        }
        assert_eq!(check(&format!("<svg {NS}/>")), Ok(()));
        assert_eq!(check("<svg:svg xmlns:svg=\"http://www.w3.org/2000/svg\"></svg:svg>"), Ok(()));
        assert_eq!(check(&format!("<!DOCTYPE svg PUBLIC \"x\" \"y\"><svg {NS}></svg>")), Ok(()));
    }

    #[test]
    fn what_does_more_does_not() {
        for (inner, what) in [
            ("<script>alert(1)</script>", "<script>"),
            ("<SCRIPT/>", "<script>"),
            ("<svg:script>1</svg:script>", "<script>"),
            ("<title><script>1</script></title>", "<script>"),
            ("<style><script>1</script></style>", "<script>"),
            ("<![CDATA[x]]><script>1</script>", "<script>"),
            ("<?x ><script>1</script>", "<script>"),
            ("<!--><script>1</script>-->", "<script>"),
            ("<foreignObject><p>x</p></foreignObject>", "<foreignobject>"),
            ("<path onload='x()'/>", "the attribute onload"),
            ("<path ev:onclick='x()'/>", "the attribute ev:onclick"),
            ("<a href='javascript:x()'>x</a>", "the link href to \"javascript:x()\""),
            ("<a xlink:href='&#106;avascript:x()'>x</a>", "the link xlink:href"),
            ("<use href='https://evil.test/a.svg#x'/>", "the link href"),
            ("<image href='data:image/svg+xml,x'/>", "the link href"),
            ("<set attributeName='xlink:href' to='javascript:x()'/>", "<set> of a link"),
        ] {
            let told = check(&format!("<svg {NS}>{inner}</svg>")).unwrap_err();
            assert!(told.starts_with(what), "{inner}: {told}");
        }
        let entity = format!("<!DOCTYPE svg [<!ENTITY x '<a/>'>]><svg {NS}>&x;</svg>");
        assert!(check(&entity).unwrap_err().contains("ENTITY"));
        let sheet = format!("<?xml-stylesheet type='text/xsl' href='data:,x'?><svg {NS}></svg>");
        assert!(check(&sheet).unwrap_err().contains("xml-stylesheet"));
        for broken in ["", "<", "<html></html>", "<svg></svg>", "<p/>", "text"] {
            assert!(check(broken).is_err(), "{broken}");
        }
        assert_eq!(check(&format!("<svg {NS}><g>")).unwrap_err(), "its end is missing");
    }
}
