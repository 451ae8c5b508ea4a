//! HTTP/1.1 (RFC 9112): heads of requests and of answers, and chunked bodies.

mod answer;
mod chunks;
mod head;

pub use answer::{AnswerError, AnswerHead, is_hop_by_hop, options_of, read_answer};
pub use chunks::{ChunkRead, Chunks};
pub use head::{Framing, Head, HeadError, Limits, Place, Places, Reader, content_length};
