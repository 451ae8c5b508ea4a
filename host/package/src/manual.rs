//! A document as a man page of section 5: its tables become lists, its links words.
//!
//! Pure.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// What is being read, and what was written of it.
struct Writer {
    out: String,
    /// The text of the paragraph, heading or cell that is being read.
    text: String,
    /// The headings of the table's columns, and the cells of its row.
    columns: Vec<String>,
    row: Vec<String>,
    lists: usize,
    is_code: bool,
}

/// The page.
pub(crate) fn page(name: &str, document: &str) -> String {
    let mut writer = Writer {
        out: format!(
            ".TH {} 5 \"\" \"Doorward {}\" \"Doorward\"\n.SH NAME\n{name} \\- the configuration of the front door doorward(1)\n",
            name.to_uppercase(),
            env!("CARGO_PKG_VERSION"),
        ),
        text: String::new(),
        columns: Vec::new(),
        row: Vec::new(),
        lists: 0,
        is_code: false,
    };
    for event in Parser::new_ext(document, Options::ENABLE_TABLES) {
        writer.take(event);
    }
    writer
        .out
        .push_str(".SH \"SEE ALSO\"\n\\fBdoorward\\fR(1), \\fBdoorward\\-check\\fR(1), \\fBdoorward\\-init\\fR(1)\n");
    writer.out
}

/// Text as roff takes it: nothing in it is a command.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti")
}

impl Writer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.is_code => self.code(&text),
            Event::Text(text) => self.text.push_str(&escaped(&text)),
            Event::Code(code) => self.text.push_str(&format!("\\fB{}\\fR", escaped(&code))),
            Event::SoftBreak => self.text.push('\n'),
            Event::HardBreak => self.text.push_str("\n.br\n"),
            // Comments, for the tests.
            _ => {}
        }
    }

    fn begin(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.is_code = true;
                self.out.push_str(".PP\n.RS 4\n.nf\n");
            }
            Tag::List(_) => {
                self.flush_item();
                self.lists += 1;
            }
            Tag::Strong => self.text.push_str("\\fB"),
            Tag::Emphasis => self.text.push_str("\\fI"),
            Tag::TableHead => self.row.clear(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let macro_name = if level as usize <= 2 { "SH" } else { "SS" };
                let text = std::mem::take(&mut self.text).replace("\\fB", "").replace("\\fR", "");
                // The document's own name is the page's.
                if level as usize > 1 {
                    let text = if macro_name == "SH" { text.to_uppercase().replace("\\(AQ", "\\(aq") } else { text };
                    self.out.push_str(&format!(".{macro_name} \"{}\"\n", text.replace('"', "\\(dq")));
                } else {
                    self.out.push_str(".SH DESCRIPTION\n");
                }
            }
            TagEnd::Paragraph if self.lists > 0 => {}
            TagEnd::Paragraph => {
                self.out.push_str(".PP\n");
                self.flush();
            }
            TagEnd::CodeBlock => {
                self.is_code = false;
                self.out.push_str(".fi\n.RE\n");
            }
            TagEnd::Item => self.flush_item(),
            TagEnd::List(_) => self.lists -= 1,
            TagEnd::Strong | TagEnd::Emphasis => self.text.push_str("\\fR"),
            TagEnd::TableCell => self.row.push(std::mem::take(&mut self.text)),
            TagEnd::TableHead => self.columns = std::mem::take(&mut self.row),
            TagEnd::TableRow => self.flush_row(),
            _ => {}
        }
    }

    fn code(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&escaped(line));
        }
    }

    /// A line of text: a point or an apostrophe at its begin would be a command.
    fn line(&mut self, line: &str) {
        if line.starts_with('.') || line.starts_with('\'') {
            self.out.push_str("\\&");
        }
        self.out.push_str(line);
        self.out.push('\n');
    }

    fn flush(&mut self) {
        for line in std::mem::take(&mut self.text).lines() {
            // A break is a command of ours.
            if line == ".br" { self.out.push_str(".br\n") } else { self.line(line.trim_start()) }
        }
    }

    fn flush_item(&mut self) {
        if !self.text.trim().is_empty() {
            self.out.push_str(".IP \\(bu 2\n");
            self.flush();
        }
        self.text.clear();
    }

    /// A row: its first cell in bold, what the others are and say below it.
    fn flush_row(&mut self) {
        let row = std::mem::take(&mut self.row);
        let Some((first, rest)) = row.split_first() else { return };
        self.out.push_str(".TP\n");
        self.line(&format!("\\fB{}\\fR", first.replace("\\fR", "").replace("\\fB", "")));
        let columns = self.columns.iter().skip(1);
        let cells = rest.iter().zip(columns).filter(|(cell, _)| !cell.is_empty() && *cell != "–");
        let said: Vec<String> = cells
            .map(|(cell, column)| match column.as_str() {
                "" | "meaning" | "is" | "does" | "means" | "says" => cell.clone(),
                column => format!("\\fI{column}:\\fR {cell}"),
            })
            .collect();
        if said.is_empty() {
            self.out.push_str("\\&\n");
        }
        for (number, text) in said.iter().enumerate() {
            if number > 0 {
                self.out.push_str(".br\n");
            }
            self.line(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_becomes_a_page() {
        let page = page(
            "x.toml",
            "# X\n\nReads `a-b`.\n.c\n\n## Y\n\n| key | type | meaning |\n| --- | --- | --- |\n| `k` | text | it's |\n\n- one\n  - two\n\n```toml\n.d = \"e\\n\"\n```\n",
        );
        for part in [
            ".SH DESCRIPTION\n.PP\nReads \\fBa\\-b\\fR.\n\\&.c\n",
            ".SH \"Y\"\n",
            ".TP\n\\fBk\\fR\n\\fItype:\\fR text\n.br\nit\\(aqs\n",
            ".IP \\(bu 2\none\n.IP \\(bu 2\ntwo\n",
            ".nf\n\\&.d = \"e\\en\"\n.fi\n",
        ] {
            assert!(page.contains(part), "{part:?} is not in {page}");
        }
    }

    #[test]
    fn each_key_of_the_configuration_is_in_its_page() {
        let page = page("doorward.toml", crate::CONFIGURATION).replace("\\-", "-");
        let keys = crate::CONFIGURATION.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut found = 0;
        for key in keys {
            assert!(page.contains(key.replace('\\', "\\e").as_str()) || key.contains(['\'', '^', '~']), "{key}");
            found += 1;
        }
        assert!(found > 150, "{found}");
    }
}
