//! Doorward: the front door of a webmail cluster.
//!
//! The modules stand in reading order, which is the layer rule: a module imports only modules that come after it.
//! A request is read in `door::listener` → `door::admit` → `door::handshake` → `door::http` → `exchange` →
//! `back::forward`; everything else is a question asked from `exchange`, and `reply` and `log::access` end it.
//!
//! Public is what the program, `doorward-author` and the fuzz targets use; the compiler reports what nobody uses of the rest.

#![allow(unreachable_pub, reason = "`pub` in a private module says that the module's neighbours use it")]

pub mod cli;
mod demo;
mod admin;
mod control;
mod proxy;
mod watch;
mod door;
mod exchange;
mod login;
mod worker;
mod state;
mod live;
mod snapshot;
mod cluster;
mod tries;
mod workbench;
pub mod log;
mod session;
mod auth;
pub mod directory;
pub mod policy;
mod pages;
pub mod back;
mod upload;
mod ahead;
mod password;
mod peer;
mod request_id;
mod http1;
mod reply;
mod feed;
mod limits;
mod mails;
mod counters;
mod traces;
mod registry;
mod tls;
mod shortage;
pub mod config;
mod files;
mod unix;
mod own_path;
mod reserved;
mod text;
mod times;
pub mod secret;
