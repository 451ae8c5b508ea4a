//! Sockets and TLS: from accept over admission and TLS to the listener's protocol, which is chosen in `listener`.

mod admit;
mod client;
mod drain;
mod handshake;
mod http;
mod listener;
mod mail;
mod proxied;
mod stream;

pub use drain::Phase;
pub use listener::serve;
pub use stream::Listening;
