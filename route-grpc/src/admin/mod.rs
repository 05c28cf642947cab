//! AdminService: what operators ask and tell the node. Served on a listener of its own
//! (`server::admin`).
//!
//! | module | subject |
//! |---|---|
//! | `service` | the methods, one line each |
//! | `links`, `gateways`, `stats`, `streams`, `log_filter` | what each of them shows or does |
//! | `closed_links` | links that have closed lately, and why |
//! | `users` | why a user is what he is |
//! | `envelope` | who would get a PDU, and why |
//! | `routed` | where envelopes went that were routed lately |
//! | `kick` | a user's clients are disconnected |
//! | `drain` | the progress of a gateway that is drained |
//! | `topology` | all of that again and again, for screens |
//! | `audit` | the log line of whatever changes something |

mod audit;
mod closed_links;
mod drain;
mod envelope;
mod gateways;
mod kick;
mod links;
pub(crate) mod log_filter;
mod routed;
pub(crate) mod service;
mod stats;
mod streams;
mod topology;
mod users;

/// Rows in a page, unless the request says otherwise.
const USUAL_PAGE: usize = 100;

/// Rows in a page at most.
const MAX_PAGE: usize = 1000;
