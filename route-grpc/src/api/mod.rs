//! What new services call: who is online, what is routed, route this.
//!
//! Nothing is queued for a reader: each stream is a cursor in the node's event log, and whoever falls behind is told so.

pub(crate) mod broadcast;
mod events;
pub(crate) mod methods;
pub(crate) mod presence;
mod reader;
pub(crate) mod requests;
mod resume;
mod snapshot;
mod subscription;
mod watch;
