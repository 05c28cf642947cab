//! Legacy bodies and typed events: the only place that converts one into the other. How bodies are
//! read and written is said by the dialects of gateways.

mod names;
mod read;
mod sizes;
mod write;

pub(super) use names::{Name, Talk, names, talk};
pub(super) use read::{kind, origin, raw_pdu, typed};
pub(super) use sizes::fit;
pub(super) use write::{Publication, publication};

#[cfg(test)]
mod tests;
