//! One event of the log before it has a form: what it is about, and its fields.
//!
//! Pure.

use std::time::SystemTime;

use crate::config::{Level, LogKind};

/// An event.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// When.
    pub(super) time: SystemTime,
    /// How important.
    pub(super) level: Level,
    /// What it is about.
    pub(super) kind: LogKind,
    /// What happened, in the words of the documents.
    pub(super) message: &'a str,
    /// More about it.
    pub(super) fields: &'a [Field<'a>],
}

/// A field of an event.
pub(super) type Field<'a> = (&'static str, Value<'a>);

/// What a field says. Any text may be a stranger's.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// The same, made for the event.
    Quoted(String),
    /// A word: for people, without quotes where it has nothing that needs them.
    Word(&'a str),
    /// The same, made for the event.
    Owned(String),
    /// Bytes that should be a text.
    Bytes(&'a [u8]),
    /// A number.
    Number(u64),
    /// A number that may be negative.
    Signed(i64),
    /// A number with a fraction.
    Float(f64),
    /// Yes or no.
    Flag(bool),
    /// Not known.
    None,
}

impl<'a> Value<'a> {
    /// A word, where there is one.
    pub(super) fn word(text: Option<&'a str>) -> Self {
        text.filter(|text| !text.is_empty()).map_or(Self::None, Self::Word)
    }

    /// Bytes, where there are any.
    pub(super) fn bytes(bytes: Option<&'a [u8]>) -> Self {
        bytes.map_or(Self::None, Self::Bytes)
    }

    /// A number, where there is one.
    pub(super) fn number(number: Option<u64>) -> Self {
        number.map_or(Self::None, Self::Number)
    }
}
