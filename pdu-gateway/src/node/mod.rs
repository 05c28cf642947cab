//! The gateway's end of Attach, and what comes down on it.

pub mod attachment;
pub mod downlink;
pub mod embedded;
pub mod remote;
pub mod upstream;
