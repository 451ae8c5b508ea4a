//! Sockets and TLS: from accept to a request, which is handed to the exchange.

mod admit;
mod conn;
mod drain;
mod http;
mod listener;
mod proxied;
mod stream;

pub use drain::Phase;
pub use listener::serve;
pub use stream::Listening;
