//! Just enough HTML to find a form and what is in it. Pure.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};

/// One `<form>` of a page.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// Where it goes, as written.
    pub action: String,
    /// `GET` or `POST`.
    pub method: String,
    /// Its fields with a name, in their order.
    pub fields: Vec<Field>,
}

/// One field of a form.
#[derive(Clone, Debug, Default)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// `text`, `password`, `hidden`, `submit`, ...
    pub kind: String,
    /// What it holds.
    pub value: String,
    /// Whether a box is ticked.
    pub checked: bool,
}

impl Form {
    /// Whether it has a password field.
    pub fn asks_for_password(&self) -> bool {
        self.fields.iter().any(|f| f.kind == "password")
    }

    /// The field of a name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// What a browser sends when the user and the password are filled in and the first button is pressed.
    pub fn filled(&self, user: &str, password: &str) -> Vec<(String, String)> {
        let mut clicked = false;
        let mut out = Vec::new();
        for f in &self.fields {
            let value = match f.kind.as_str() {
                "text" | "email" => user,
                "password" => password,
                "checkbox" | "radio" if !f.checked => continue,
                "button" | "reset" | "image" | "file" => continue,
                "submit" if clicked => continue,
                _ => &f.value,
            };
            clicked |= f.kind == "submit";
            // HTML is read with the ends of lines of Unix, and sent with those of the Internet (WHATWG HTML, 4.10.21.4).
            out.push((f.name.clone(), value.replace("\r\n", "\n").replace('\n', "\r\n")));
        }
        out
    }
}

/// All forms of a page.
pub fn forms(page: &str) -> Vec<Form> {
    let mut out: Vec<Form> = Vec::new();
    let mut open = false;
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    for Ok(token) in Tokenizer::new_with_emitter(page, emitter) {
        let tag = match token {
            Token::StartTag(tag) => tag,
            Token::EndTag(tag) => {
                open &= *tag.name != b"form";
                continue;
            }
            _ => continue,
        };
        let value = |key: &str| tag.attributes.get(key.as_bytes()).map(|v| String::from_utf8_lossy(v).into_owned());
        match tag.name.as_slice() {
            b"form" => {
                open = true;
                out.push(Form {
                    action: value("action").unwrap_or_default(),
                    method: value("method").unwrap_or_else(|| "get".into()).to_ascii_uppercase(),
                    fields: Vec::new(),
                });
            }
            name @ (b"input" | b"button" | b"select" | b"textarea") if open => {
                let usual = if name == b"button" { "submit" } else { "text" };
                if let (Some(form), Some(field)) = (out.last_mut(), value("name").filter(|n| !n.is_empty())) {
                    form.fields.push(Field {
                        name: field,
                        kind: value("type").unwrap_or_else(|| usual.into()).to_ascii_lowercase(),
                        value: value("value").unwrap_or_default(),
                        checked: value("checked").is_some(),
                    });
                }
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_login_form_is_read_as_a_browser_reads_it() {
        let page = r#"<!-- <form action=no> --><script>"<form>"</script><form method=post action="/x?a=1&amp;b=2">
            <input type=hidden name=token value='a&#39;b&quot;'><input name="username"/><input type="password" name="password">
            <input type=checkbox name=keep><button>Go</button><button name=go value=1>Go</button></form><input name=outside>"#;
        let forms = super::forms(page);
        assert_eq!(forms.len(), 1);
        assert_eq!((forms[0].action.as_str(), forms[0].method.as_str()), ("/x?a=1&b=2", "POST"));
        let sent = forms[0].filled("zoë", "p w");
        let sent: Vec<String> = sent.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(sent, ["token=a'b\"", "username=zoë", "password=p w", "go=1"]);
    }
}
