//! The gateway's end of Attach, and what comes down on it.

pub mod attachment;
mod away;
pub mod downlink;
pub mod embedded;
mod known;
pub mod remote;
mod search;
pub mod silence;
pub mod upstream;
