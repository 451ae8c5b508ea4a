//! Where requests go: nodes, connections to them, and the login by recipe.

mod body;
mod connect;
pub mod connection_auth;
mod dialogue;
mod forward;
mod health;
pub mod headers;
mod http1;
mod jar;
mod login;
mod masked;
mod peek;
mod pinned;
mod pools;
mod probe;
mod proxy_header;
mod recipe;
mod request;
mod spec;
mod timers;
mod tunnel;
mod urls;

pub use body::{NodeBody, Outbound, Outgoing};
pub use connect::Idle;
pub use dialogue::{ByRecipe, Dialogue};
pub use forward::{Hop, NodeAnswer, Times, forward};
pub use health::NodeStatus;
pub use login::{Event, LoggedIn, LoginError, Pending, Person, Visitor, Watcher, equip, log_out};
pub use peek::{beginning, narrow_encoding};
pub use pinned::{ClientConnection, Owner};
pub use pools::{Node, Pools};
pub use probe::watch_over;
pub use recipe::{Answered, BUILT_IN, Choice, Recipe};
pub use spec::NodeSpec;
pub use tunnel::{Closed, Moved, Tunnel};
pub use urls::Fitting;
