//! HTTP/1.1 on the wire (RFC 9112): read strictly, written anew. Knows nothing of whose connection it is; `door::http::http1`
//! and `back::http1` do.

mod answer;
mod body;
mod inbox;
mod outbox;
mod present;
mod request;

pub use doorward_wire::http1::{Framing, Limits, Places, Reader};

pub use answer::{Asked, write_answer};
pub use body::{Broken, Decoder, Encoder};
pub use inbox::Inbox;
pub use outbox::{Outbox, begin_header, write_header, write_headers, write_number};
pub use present::{Known, Present};
pub use request::{headers_of, limits_of, request_of};
