//! HTTP/1.1 (RFC 9112): heads of requests, and chunked bodies.

mod chunks;
mod head;

pub use chunks::{ChunkRead, Chunks};
pub use head::{Framing, Head, HeadError, Limits, Place, Places, Reader, content_length};
