//! Sockets and TLS: from accept to a request, which is handed to the exchange.

mod admit;
mod conn;
mod cork;
mod http1;
mod line;
mod listener;
mod proxied;
mod stream;
mod streams;
mod timed;
mod trailers;

pub use listener::{Phase, serve};
pub use stream::Listening;
