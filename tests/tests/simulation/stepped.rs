//! Processes between which nothing moves unless the schedule says so: no sockets, no gRPC.

pub(crate) mod connection;
pub(crate) mod host;
pub(crate) mod wire;
