//! AdminService: what operators ask and tell the node. Served on a listener of its own
//! (`server::admin`).
//!
//! | module | subject |
//! |---|---|
//! | `service` | the methods, one line each |
//! | `links`, `gateways`, `stats` | what each of them shows or does |
//! | `audit` | the log line of whatever changes something |

mod audit;
mod gateways;
mod links;
pub(crate) mod service;
mod stats;
