//! What new services call: who is online, what is routed, route this.
//!
//! Nothing is queued for a reader: each stream is a cursor in the node's event log, and whoever
//! falls behind is told so.

mod at_least;
pub(crate) mod broadcast;
mod events;
mod filter;
pub(crate) mod info;
mod list;
mod newest;
mod places;
pub(crate) mod presence;
pub(crate) mod publisher;
mod reader;
mod requests;
mod resume;
mod set_change;
mod snapshot;
pub(crate) mod status;
mod subscription;
mod watch;
mod watched;

pub use broadcast::subscribe;
pub use presence::watch_user_status;
