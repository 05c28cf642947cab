//! What new services call: who is online, what is routed, route this.
//!
//! Nothing is queued for a reader: each stream is a cursor in the node's event log, and whoever
//! falls behind is told so.

mod at_least;
pub(crate) mod broadcast;
mod events;
mod filter;
pub(crate) mod presence;
mod reader;
mod requests;
mod resume;
mod snapshot;
mod status;
mod subscription;
mod watch;

pub use broadcast::subscribe;
pub use presence::watch_user_status;
