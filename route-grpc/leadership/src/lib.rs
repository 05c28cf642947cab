//! Which of several nodes leads, and which gateways it may welcome.
//!
//! An *engine* outside keeps one *record*; a node changes it by compare-and-set on its revision. Who has written the
//! last one *leads*: it is in its *term*, first beginning, then serving. All others are *standbys*. A leader counts its
//! lease from when it sent what the engine accepted, a standby from when it saw the record change; no two clocks are
//! compared. What is decided:
//!
//! - [`Lease::holds`]: may this leader still apply what gateways send? (rule 1)
//! - [`Sight::may_take_over`]: may this standby write a term of its own? (rules 2 and 6)
//! - [`Beginning::may_serve`]: has the leader before it no gateway left? (rule 3)
//! - [`Roster::admission`]: is this gateway welcome now, or only after a write? (rules 4 and 5)
//! - [`Lease::found`]: is what a read shows the write that was not answered? (rule 7)
//!
//! The rules are for one promise: two nodes never both apply what different gateways send that hold, by their own view, a
//! stream there. `tests/search` looks for a schedule that breaks it.
//!
//! **No node uses this yet.** The search does.
//!
//! **Architecture invariant:** nothing here knows a clock, a socket, an engine or gRPC. Times are parameters: how long the
//! node's own clock, which goes on while the machine is suspended, has gone. Nothing reads the time of day.

mod lease;
mod record;
mod roster;

pub use lease::{Asked, Found, Lease, Seen, Sight, TakeOver, Timing};
pub use record::{Record, State, Stored};
pub use roster::{Admission, Beginning, Roster};
