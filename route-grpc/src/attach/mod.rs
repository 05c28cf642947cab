//! A gateway's stream, with and without a network between.

mod hangup;
pub(crate) mod service;
mod stream;

pub use hangup::Hangup;
pub use stream::AttachResponses;
