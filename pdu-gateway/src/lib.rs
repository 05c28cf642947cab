//! The legacy gateway of TeamTalk Route: MsgServers on one side, an Attach stream on the other.
//!
//! Data flows one way, up on the left and down on the right:
//!
//! ```text
//!                bytes of a MsgServer                          bytes to MsgServers
//!                        │                                              ▲
//! links::connection ─────┼──────────────────────────────────────────────┤ one task per link
//!                pdu::frame: PDUs                               links::output: one bounded queue per link
//!                        │                                              ▲
//!                pdu::translate: what they mean                 once: once to each link
//!                        │                                              ▲
//!                unconfirmed: numbered, kept until confirmed    node::downlink: to the target links
//!                        │                                              ▲
//! node::attachment ──────┴────────────── the node ──────────────────────┘ one stream
//! ```
//!
//! Everything happens in batches: one read, many PDUs; one lock, many entries; one message, many
//! entries; one write, many deliveries.
//!
//! **Architecture invariants.** A forwarded PDU is never changed, and copied once. Who gets what is
//! the node's decision alone. The gateway knows of presence only what it has to repeat or to spare: a
//! copy of each link's sessions, for a new node ([`unconfirmed::table`]), and each link's last logins,
//! for kicks that come late ([`once`]); it never compares links. No queue is unbounded. No task waits
//! for a MsgServer but the one that serves it. Reading stops in two places only: the link's own window,
//! and [`links::brake`]. [`node::embedded`] is the only module that names the node's crate.
//!
//! Each room uses only those above it, and the instruments:
//!
//! | room | subject |
//! |---|---|
//! | [`pdu`] | the legacy protocol: framing, bodies, what a PDU means, the PDUs that we make |
//! | [`once`] | nothing is written to a link twice; kicks that come late spare who came after them |
//! | [`unconfirmed`] | what goes up, kept until the node has confirmed it |
//! | [`links`] | MsgServers' connections; what is written to them, and how each copes; what they share |
//! | [`node`] | the gateway's end of Attach: to find a node, and to take what comes down |
//! | [`process`] | flags; start and end |
//! | [`clock`], [`metrics`], [`trace`] | instruments |

pub mod clock;
pub mod links;
pub mod memory;
pub mod metrics;
pub mod node;
pub mod once;
pub mod pdu;
pub mod process;
pub mod trace;
pub mod unconfirmed;

pub use process::{Running, Sockets, StartError, start};
