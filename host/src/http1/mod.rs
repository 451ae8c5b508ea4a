//! HTTP/1.1 on the wire (RFC 9112): read strictly, written anew. Knows nothing of whose connection it is; `front::http1`
//! and `back::http1` do.

mod answer;
mod body;
mod chunks;
mod head;
mod outbox;
mod request;

pub use answer::{Asked, write_answer};
pub use body::{Broken, Decoder, Encoder, Misfit};
pub use head::{Framing, Head, Limits, Places, Reader};
pub use outbox::{Outbox, write_header, write_headers};
pub use request::request_of;
