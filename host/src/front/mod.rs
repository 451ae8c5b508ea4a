//! Sockets and TLS: from accept to a request, which is handed to the exchange.

mod admit;
mod chunks;
mod conn;
mod head;
mod listener;
mod streams;
mod strict;
mod timed;

pub use listener::{Drain, serve};
