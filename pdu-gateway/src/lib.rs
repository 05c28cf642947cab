//! The legacy gateway of TeamTalk Route: MsgServers on one side, an Attach stream on the other.
//!
//! Data flows one way, up on the left and down on the right:
//!
//! ```text
//!              bytes of a MsgServer                       bytes to MsgServers
//!                      │                                           ▲
//! connection ──────────┼───────────────────────────────────────────┤ one task per connection
//!              frame: PDUs                             output: one bounded queue per link
//!                      │                                           ▲
//!              translate: what they mean               run, takeover: once to each link
//!                      │                                           ▲
//!              ledger: numbered, kept until confirmed  downlink: to the target links
//!                      │                                           ▲
//! attach ──────────────┴──────────── node ─────────────────────────┘ one stream
//! ```
//!
//! Everything happens in batches: one read, many PDUs; one lock, many entries; one message, many entries; one write, many
//! deliveries.
//!
//! **Architecture invariants.** A forwarded PDU is never changed, and copied once. Nothing here knows presence: who
//! gets what is the node's decision, and nothing is decided by what a MsgServer was told before. No queue is unbounded.
//! No task waits for a MsgServer but the one that serves it. Reading stops in two places only: the link's own
//! window, and [`throttle`]. [`embedded`] is the only module that names the node's crate.
//!
//! | module | subject |
//! |---|---|
//! | [`frame`], [`wire`], [`command`], [`codec`] | the legacy protocol: headers and framing, bodies, ids, own PDUs |
//! | [`translate`], [`session`] | what a PDU means; one connection's input |
//! | [`ledger`], [`table`], [`takeover`] | what has to survive a broken stream |
//! | [`kick`], [`recent_logins`] | kicks that come late, and whom they must not throw out |
//! | [`run`], [`output`], [`pressure`] | what is written to a link, and how it copes |
//! | [`link`], [`links`], [`connection`], [`listener`], [`network`], [`host`], [`tick`], [`throttle`] | MsgServers' connections |
//! | [`uplink`], [`downlink`], [`attach`], [`embedded`] | the node's side |
//! | [`gateway`], [`clock`], [`metrics`], [`trace`], [`settings`] | what all share; instruments; flags |

pub mod attach;
pub mod clock;
pub mod codec;
pub mod command;
pub mod connection;
pub mod downlink;
pub mod embedded;
pub mod frame;
pub mod gateway;
pub mod host;
pub mod kick;
pub mod ledger;
pub mod link;
pub mod links;
pub mod listener;
pub mod metrics;
pub mod network;
pub mod output;
pub mod pressure;
pub mod recent_logins;
pub mod run;
pub mod session;
pub mod settings;
pub mod table;
pub mod takeover;
pub mod throttle;
pub mod tick;
pub mod told;
pub mod trace;
pub mod translate;
pub mod uplink;
pub mod wire;

mod process;

pub use process::{Running, Sockets, StartError, start};
