//! The node of TeamTalk Route: presence, routed events and the gateways' stream, over gRPC.
//!
//! What a gateway sends goes one way: [`attach`] (the stream) → `gateways::ingest` (each entry,
//! once) → `route_core` (state and fan-out) → `gateways::queue` (bounded, one per gateway) → the
//! stream back. What new services read comes from the node's event log: `api::watch` and
//! `api::subscription`, each a cursor in it.
//!
//! **Architecture invariants.** Bodies of PDUs are read in `api::events` only, and only for
//! subscribers and for what services publish. The clock is read in `clock` and in loops. A gRPC
//! status is made in `refusal` only. Nothing is queued for a subscriber. An embedded gateway calls
//! [`attach::open`] as the network service does: there is no second path.
//!
//! A room uses those below it, never those above:
//!
//! | room | subject |
//! |---|---|
//! | [`leadership`] | which of several processes is the node, for a term |
//! | [`server`] | the gRPC ports: connections, what every call passes, health |
//! | [`standby`] | calls that are passed on to the node that leads |
//! | `admin` | AdminService |
//! | [`api`] | PresenceService, BroadcastService, ServerService |
//! | [`attach`] | AttachService: a gateway's stream |
//! | `leads` | who leads the site, as this process sees it |
//! | [`node`] | the state, its locks, its chores |
//! | `access` | who calls, and what he may do |
//! | `cold_start` | what waits until all links are known |
//! | `gateways` | who is attached, what comes up, what waits to go down, what is confirmed |
//! | [`engine`] | what holds the record of who leads |
//! | `tenure` | until when a node may act, and which gateways it may let in |
//! | `process` | what lasts as long as the process, whichever node it is |
//! | [`settings`], `limits`, `methods` | flags, bounds, names |
//! | `metrics`, `trace`, `refusal`, `refusals`, `clock` | instruments, hops, errors, what is said of them, time |

mod access;
mod admin;
pub mod api;
pub mod attach;
mod clock;
mod cold_start;
mod dialects;
pub mod engine;
mod gateways;
pub mod leadership;
mod leads;
mod limits;
mod methods;
mod metrics;
pub mod node;
mod process;
mod refusal;
mod refusals;
pub mod server;
pub mod settings;
pub mod standby;
mod tenure;
mod trace;

pub use access::{Access, Exposure};
pub use node::Node;
pub use process::Process;
pub use server::ports::{Addresses, OpenError, Ports, check};
pub use server::{Gateways, Listener, Role, serve, wrong_port};
pub use tenure::LeaseClock;
