//! What both binaries need to start, to be watched, and to stop.
//!
//! | module | subject |
//! |---|---|
//! | [`flags`] | values of flags: times, sizes, counts |
//! | [`environment`] | names of flags in the environment, and mistyped ones |
//! | [`workers`] | the tokio runtime |
//! | [`listen`] | TCP listeners |
//! | [`http2`] | bounds of HTTP/2 connections, and why they broke |
//! | [`budget`] | one bound over what a process holds for others |
//! | [`files`] | how many connections the process can afford |
//! | [`telemetry`] | logs, metrics, traces |
//! | [`reload`] | what is made of files that others replace |
//! | [`readiness`] | whether work is welcome, and why not |
//! | [`probes`] | the port that probes and Prometheus ask |
//! | [`seldom`] | log lines about what may happen often |
//! | [`quota`] | the same, of each of many |
//! | [`life`] | the name of one life of a process |
//! | [`tls`] | certificates and keys, servers and clients of TLS |
//! | [`shutdown`] | drain, then end by a deadline |
//!
//! **Architecture invariant:** nothing here knows the protocol, presence or a service. A change to
//! what is routed never touches this crate.

pub mod budget;
pub mod container;
pub mod environment;
pub mod files;
pub mod flags;
pub mod http2;
pub mod life;
pub mod listen;
pub mod probes;
pub mod quota;
pub mod readiness;
pub mod reload;
pub mod seldom;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod workers;
