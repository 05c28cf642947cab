//! AdminService: what operators ask and tell the node. Served on a listener of its own
//! (`server::admin`).
//!
//! | module | subject |
//! |---|---|
//! | `service` | the methods, one line each |
//! | `links`, `gateways`, `stats`, `streams`, `log_filter` | what each of them shows or does |
//! | `users` | why a user is what he is |
//! | `envelope` | who would get a PDU, and why |
//! | `routed` | where envelopes went that were routed lately |
//! | `kick` | a user's clients are disconnected |
//! | `drain` | the progress of a gateway that is drained |
//! | `topology` | all of that again and again, for screens |
//! | `audit` | the log line of whatever changes something |

mod audit;
mod drain;
mod envelope;
mod gateways;
mod kick;
mod links;
mod log_filter;
mod routed;
pub(crate) mod service;
mod stats;
mod streams;
mod topology;
mod users;
