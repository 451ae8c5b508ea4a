//! Doorward: the front door of a webmail cluster.
//!
//! The modules stand in reading order, which is the layer rule: a module imports only modules that come after it.
//! A request is read in `door::listener` → `door::admit` → `door::handshake` → `door::http` → `exchange` →
//! `back::forward`; everything else is a question asked from `exchange`, and `reply` and `log::access` end it.

pub mod cli;
pub mod demo;
pub mod admin;
pub mod control;
pub mod proxy;
pub mod watch;
pub mod door;
pub mod exchange;
pub mod login;
pub mod worker;
pub mod state;
pub mod live;
pub mod snapshot;
pub mod tries;
pub mod workbench;
pub mod log;
pub mod session;
pub mod auth;
pub mod directory;
pub mod policy;
pub mod pages;
pub mod back;
pub mod upload;
pub mod ahead;
pub mod password;
pub mod peer;
pub mod request_id;
pub mod http1;
pub mod reply;
pub mod feed;
pub mod limits;
pub mod mails;
pub mod counters;
pub mod traces;
pub mod tls;
pub mod shortage;
pub mod config;
pub mod files;
pub mod unix;
pub mod own_path;
pub mod reserved;
pub mod text;
pub mod times;
pub mod secret;
