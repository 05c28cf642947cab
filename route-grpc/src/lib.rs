//! The node of TeamTalk Route: presence, routed events and the gateways' stream, over gRPC.
//!
//! What a gateway sends goes one way: [`attach`] (the stream) → `uplink` (each entry, once) → `route_core` (state and
//! fan-out) → `outbound` (a bounded queue per gateway) → the stream back. What new services read comes from the
//! node's event log: `watch` and `subscription`, each a cursor in it.
//!
//! **Architecture invariants.** Bodies of PDUs are read in `events` only, and only for subscribers and for what
//! services publish. The clock is read in `clock` and in loops. A gRPC status is made in `status` only. Nothing is
//! queued for a subscriber. An embedded gateway calls [`node::Node::attach`], the function that the network service
//! calls: there is no second path.
//!
//! | module | subject |
//! |---|---|
//! | [`node`] | the state, its locks, its chores |
//! | [`attach`], `uplink`, `outbound` | a gateway's stream, what comes up, what goes down |
//! | `gateways`, `sequences`, `sync` | who is attached; how far with each link; whether all are known: pure |
//! | `confirmations`, `replays` | what may be confirmed; links that are being restored: pure |
//! | `gateway_clock` | by how much a gateway's clock differs: pure |
//! | `presence`, `watch`, `snapshot` | PresenceService |
//! | `broadcast`, `subscription`, `requests`, `events` | BroadcastService |
//! | [`pdu`] | the frame of PDUs that are written here |
//! | `reader`, `resume`, `position` | reading the log, where to begin, how places in it are named |
//! | [`server`], `link`, `calls`, `health` | the gRPC server around them |
//! | [`load`] | how much is kept, to be checked against the bounds |
//! | [`settings`], `limits`, `metrics`, `status`, `clock` | flags, bounds, instruments, errors, time |

pub mod attach;
mod broadcast;
mod calls;
mod clock;
mod confirmations;
mod connections;
mod events;
mod gateway_clock;
mod gateways;
pub mod hangup;
mod health;
mod limits;
mod link;
pub mod load;
mod metrics;
pub mod node;
mod outbound;
pub mod pdu;
mod position;
mod presence;
mod reader;
mod replays;
mod requests;
mod resume;
mod sequences;
pub mod server;
pub mod settings;
mod snapshot;
mod status;
mod subscription;
mod sync;
mod trace;
mod uplink;
mod watch;

pub use connections::Listener;
pub use node::Node;
pub use server::serve;
