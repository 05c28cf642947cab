//! Presence and routing state of TeamTalk Route: who is online on which link, and whom a PDU concerns.
//!
//! The crate is sans-I/O and deterministic. It never reads a clock, never touches a socket, a thread or a lock,
//! and knows neither protobuf nor PDU bodies: time is a parameter, payloads are opaque [`bytes::Bytes`].
//! Callers hand in what links did ([`Core::apply`], [`Core::route`]) and then drain the [`Outbox`]: deliveries
//! for links, events for subscribers.
//!
//! | module | subject |
//! |---|---|
//! | [`ids`] | users, client types, links |
//! | [`change`] | what a link can do to the state, as values |
//! | `sessions` | the table: every login by (link, user, client type) |
//! | `links` | the links, their roles' inputs, who shares an address |
//! | `roles` | active, shadow, waiting, seat: which link stands for a MsgServer |
//! | `likeness` | how alike two links' tables are |
//! | [`succession`] | what moves when one link takes another one's place |
//! | `ending` | what becomes of the sessions of a link that has ended |
//! | `fan_out` | from an audience to target links |
//! | `notices` | the legacy rules for 0x070e and 0x0203 |
//! | [`outbox`] | what the last calls produced |
//! | [`event_log`] | the bounded ring that subscribers read |
//! | [`settings`] | how it behaves |
//! | [`view`] | what can be seen from outside |
//! | [`core`](mod@core) | the entry points that tie these together |

pub mod change;
pub mod core;
mod ending;
pub mod event_log;
mod fan_out;
pub mod ids;
mod likeness;
mod links;
mod notices;
pub mod outbox;
mod roles;
mod sessions;
pub mod settings;
pub mod succession;
pub mod view;

pub use change::{Change, CloseReason, Effect, ListEntry, ReportedStatus, Restored, TableEntry};
pub use core::{Audience, Core, LinkError};
pub use event_log::{ChangeReason, Event, EventLog, Gap, LogLimits};
pub use ids::{ClientType, LinkId, ParseLinkIdError, UserId};
pub use outbox::{
    Course, FanView, Item, Outbox, Payload, Perishable, ReturnedRun, Taken, TakenOver, Target,
};
pub use roles::micros;
pub use sessions::{SessionState, SessionView, Status, Summary};
pub use settings::{FanOut, NotifyOnLoss, Settings};
pub use succession::Holding;
pub use view::{LinkView, Stats, UserView};
