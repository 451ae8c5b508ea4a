//! Just enough HTML to find a form and what is in it. Pure.

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
            out.push((f.name.clone(), value.to_owned()));
        }
        out
    }
}

/// All forms of a page.
pub fn forms(page: &str) -> Vec<Form> {
    let mut out: Vec<Form> = Vec::new();
    let mut open = false;
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let (name, attributes, after) = tag(rest);
        rest = after;
        let value = |key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        match name.as_str() {
            "form" => {
                open = true;
                out.push(Form {
                    action: value("action").unwrap_or_default(),
                    method: value("method").unwrap_or_else(|| "get".into()).to_ascii_uppercase(),
                    fields: Vec::new(),
                });
            }
            "/form" => open = false,
            "script" | "style" => {
                let end = format!("</{name}");
                rest = rest.find(&end).map_or("", |i| &rest[i..]);
            }
            "input" | "button" | "select" | "textarea" if open => {
                let usual = if name == "button" { "submit" } else { "text" };
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

/// Name, attributes and what follows, of a tag whose `<` is gone.
fn tag(text: &str) -> (String, Vec<(String, String)>, &str) {
    let name_end = text.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(text.len());
    let name = text[..name_end].trim_end_matches('/').to_ascii_lowercase();
    let mut rest = &text[name_end..];
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() || rest.starts_with('>') {
            return (name, attributes, rest.strip_prefix('>').unwrap_or(rest));
        }
        let end = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '>').unwrap_or(rest.len());
        // "=" where a name should begin: step over it, or this would never end
        let (key, after) = rest.split_at(end.max(1));
        rest = after.trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let body = if quote.is_some() { &after[1..] } else { after };
            let end = match quote {
                Some(q) => body.find(q),
                None => body.find(|c: char| c.is_whitespace() || c == '>'),
            };
            let end = end.unwrap_or(body.len());
            value = &body[..end];
            rest = &body[end..];
            if quote.is_some() {
                rest = rest.get(1..).unwrap_or("");
            }
        }
        attributes.push((key.to_ascii_lowercase(), unescape(value)));
    }
}

/// The character references that a template engine writes.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest.find(';').filter(|&end| end <= 10).and_then(|end| Some((reference(&rest[1..end])?, end)));
        match known {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
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
