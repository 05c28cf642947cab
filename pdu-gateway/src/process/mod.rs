//! What starts a gateway, and what it lives by.

mod life;
pub mod settings;
mod start;

pub use start::{Running, Sockets, StartError, start};
