//! What goes up, kept until the node has confirmed it.

pub mod ledger;
pub mod table;
pub mod uplink;
pub mod windows;
