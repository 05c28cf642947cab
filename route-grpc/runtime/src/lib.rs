//! What both binaries need to start, to be watched, and to stop.
//!
//! One file per subject: [`flags`] (times, sizes, counts), [`workers`] (the tokio runtime), [`listen`] (TCP listeners),
//! [`http2`] (bounds of connections) and [`files`] (what they may use), [`telemetry`] (logs, metrics, traces), [`readiness`] and [`admin`] (the port that probes
//! and Prometheus ask), [`shutdown`] (drain, then end by a deadline).
//!
//! **Architecture invariant:** nothing here knows the protocol, presence or a service. A change to what is routed
//! never touches this crate.

pub mod admin;
pub mod files;
pub mod flags;
pub mod http2;
pub mod listen;
pub mod readiness;
pub mod shutdown;
pub mod telemetry;
pub mod workers;
