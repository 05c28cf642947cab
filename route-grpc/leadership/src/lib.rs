//! Which of several nodes leads, and which gateways it may welcome.
//!
//! An *engine* outside keeps one *record*; a node changes it by compare-and-set on its revision. Who has written the
//! last one *leads*: it is in its *term*, first beginning, then serving. All others are *standbys*. Two nodes must never
//! both apply what different gateways send that hold, by their own view, a stream there. For that, these rules:
//!
//! 1. **Serving.** A leader serves for 12 s after it sent its last write that succeeded, and renews it every second
//!    ([`Lease::holds`]). Past that it ends all streams and begins anew as a standby.
//! 2. **Taking over.** A standby writes the next term, with the roster as it was, if it sees the record become
//!    released, or unchanged for 15 s; or unchanged for 2 s, if gateways of the roster come and it has seen the record change before
//!    ([`Sight::may_take_over`]). A leader whose write is refused leads no more.
//! 3. **Beginning.** A new leader serves, by one more write, when every gateway of the roster has been welcomed here and
//!    has acknowledged a beat that was sent after that, or when no earlier leader serves any more for certain
//!    ([`Beginning::may_serve`]).
//! 4. **Newcomers** wait at the door until a write that names them has succeeded. Who is given up is one as soon as the
//!    write that leaves it out is sent, and stays one until a later write has succeeded ([`Roster`]).
//! 5. **A later term ends this one.** A gateway names the newest term that has welcomed it. If that is later than the
//!    leader's, it waits at the door until a write that was sent after it came has succeeded
//!    ([`Roster::admission`]). If the write is refused, rule 2 ends the term.
//! 6. **Release.** A leader that has served ends all streams, then writes that the record is released. One that has not
//!    served writes nothing ([`State::may_release`]).
//! 7. **A write that was not answered** may have happened, or may happen later. A leader reads, and goes on if the record is
//!    that write, or the one before ([`Lease::found`]). Its lease counts from when the write was sent.
//! 8. **Interruptions.** A node whose connection to the engine was lost begins anew as a standby, unless it serves: the
//!    record may have gone back ([`Sight::interrupted`]).
//!
//! `tests/search` looks for schedules that break them, and for what breaks when one of them is left out. With rule 8 they
//! hold for a record that goes back, as long as each node notices that its connection was lost.
//!
//! **Architecture invariant:** nothing here knows a clock, a socket, an engine or gRPC. Times are parameters: how long the
//! node's own clock, which goes on while the machine is suspended, has gone. No two clocks are compared, and nothing reads
//! the time of day.

mod lease;
mod record;
mod roster;

pub use lease::{Asked, Found, Lease, Seen, Sight, TakeOver, Timing};
pub use record::{Record, State, Stored};
pub use roster::{Admission, Beginning, Roster};
