//! Facts as they are typed: `--fact host=a.test`, `--fact header.user-agent=x`, or a file of them.

use std::io::{BufRead as _, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::Value as Json;

use super::subject::table_of;
use crate::policy::{Fact, Given, Recorded};
use crate::workbench::{Stop, is_none, put_fact};

/// A longer line is no record: 64 facts of 8 KiB, escaped.
const LONGEST_RECORD: u64 = 1 << 20;

/// Facts of one decision.
#[derive(Debug, Args)]
pub(super) struct Typed {
    /// A fact: host=mail.example.com, header.user-agent=…, query.NAME=…, cookie.NAME=…, attribute.NAME=A,B. Where one
    /// name is given, the other names are absent.
    #[arg(long = "fact", value_name = "NAME=VALUE")]
    facts: Vec<String>,
    /// A file of facts in TOML, or in JSON if its name ends in .json: the table `facts` of a test vector. What --fact
    /// says counts more.
    #[arg(long = "facts", value_name = "FILE")]
    file: Option<PathBuf>,
    /// A line of a decision log, or - for the first line of standard input: the facts that were read then. What was masked
    /// is to be given by --fact.
    #[arg(long, value_name = "LINE", conflicts_with = "file")]
    record: Option<String>,
}

impl Typed {
    /// Whether nothing was typed.
    pub(super) fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.file.is_none() && self.record.is_none()
    }

    /// The record that they are of, if they are of one.
    ///
    /// # Errors
    /// It is none.
    fn recorded(&self) -> Result<Option<Recorded>, Stop> {
        let mut line = match &self.record {
            None => return Ok(None),
            Some(line) => line.clone(),
        };
        if line == "-" {
            line.clear();
            let read = std::io::stdin().lock().take(LONGEST_RECORD).read_line(&mut line);
            read.map_err(|error| Stop::Unusable(format!("standard input: {error}")))?;
        }
        let recorded = Recorded::parse(line.trim());
        recorded.map(Some).map_err(|error| Stop::Unusable(format!("--record: no record of a decision: {error}")))
    }

    /// The facts.
    ///
    /// # Errors
    /// All that are none, or cannot have that value.
    pub(super) fn given(&self) -> Result<Arc<Given>, Stop> {
        let mut given = self.recorded()?.map_or_else(Given::default, |record| Given::from_trace(record.trace));
        if let Some(file) = &self.file {
            let mut table = table_of(file)?;
            for (name, value) in table.as_object_mut().into_iter().flatten() {
                let none = Fact::parse(name).is_some_and(|fact| is_none(&fact, value.as_str()));
                *value = if none { Json::Null } else { value.take() };
            }
            given = Given::from_json(&table)
                .map_err(|problems| Stop::Unusable(format!("{}: {}", file.display(), problems.join("; "))))?;
        }
        let problems: Vec<String> = self
            .facts
            .iter()
            .filter_map(|text| put_fact(&mut given, text).map_err(|problem| format!("--fact {text}: {problem}")).err())
            .collect();
        if problems.is_empty() { Ok(Arc::new(given)) } else { Err(Stop::Unusable(problems.join("; "))) }
    }
}
