//! HTTP on the wire, towards clients.

mod cork;
pub(super) mod http1;
pub(super) mod http2;
mod line;
mod streams;
mod timed;
mod trailers;
