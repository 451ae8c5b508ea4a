//! Readers of bytes that strangers send.
//!
//! Everything here is pure: bytes in, a value or an error out. No reader panics, whatever the bytes are, and none holds more
//! memory than the bytes and its limits allow. The crate knows no sockets, no configuration and no HTTP library; `tests/fuzz`
//! has a target for each reader.

#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::string_slice, reason = "a test that panics has failed"))]

pub mod http1;
pub mod proxy_header;
pub mod multipart;
pub mod form;
pub mod percent;
pub mod cookie;
pub mod cookie_date;
pub mod header_url;
pub mod html;
pub mod svg;
pub mod ldap;
pub mod ldif;
pub mod mail;
pub mod host;
pub mod local_path;
pub mod tar;
pub mod challenge;
