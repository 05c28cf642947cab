//! What starts a gateway, and what it lives by.

pub mod check_config;
mod life;
pub mod settings;
mod start;

pub use start::{Running, Sockets, StartError, start};
