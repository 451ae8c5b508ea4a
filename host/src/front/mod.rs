//! Sockets and TLS: from accept to a request, which is handed to the exchange.

mod admit;
mod conn;
mod listener;
mod timed;

pub use listener::{Drain, serve};
