//! AttachService: a gateway's stream, hello and welcome, then batches both ways until either side
//! ends it.
//!
//! Two halves that never wait for each other: a task that applies what comes up (`stream`), and a
//! stream that takes what waits in the gateway's queue (`responses`). An embedded gateway calls
//! [`open_embedded`], which is the same without a network between.

mod admission;
pub(crate) mod former;
mod hangup;
mod responses;
pub(crate) mod service;
mod stream;

pub use hangup::Hangup;
pub use responses::AttachResponses;
pub use stream::{open, open_embedded};
