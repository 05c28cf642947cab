//! Legacy bodies and typed events: the only place that converts one into the other. How bodies are
//! read and written is said by the dialects of gateways.

mod read;
mod write;

pub(super) use read::{kind, names_any, raw_pdu, typed};
pub(super) use write::{Publication, publication};

#[cfg(test)]
mod tests;
