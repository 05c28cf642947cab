//! TLS from files, which others may replace while a process runs: cert-manager, kubelet, an operator.

pub mod client;
pub mod files;
pub mod hand_shake;
pub mod server;
