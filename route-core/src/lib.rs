//! Presence and routing state of TeamTalk Route: who is online on which link, and whom a PDU
//! concerns.
//!
//! The crate is sans-I/O and deterministic. It never reads a clock, never touches a socket, a
//! thread or a lock, and knows neither protobuf nor PDU bodies: time is a parameter, payloads are
//! opaque [`bytes::Bytes`].
//!
//! Callers begin a [`Transaction`] of the [`Core`], hand in what links did
//! ([`apply`](Transaction::apply), [`route`](Transaction::route)), and then do what the list of
//! [`Output`]s says, in order. Who only reads takes a [`View`].
//!
//! Each module uses those above it:
//!
//! | module | subject |
//! |---|---|
//! | `work` | what has been done, counted |
//! | `ids`, `change`, `settings` | names; what links do, as values; how it behaves |
//! | `receipt` | what says that everything a batch caused has come to its end |
//! | `delivery`, `event_log`, `output` | what comes out, for links and subscribers; in one list |
//! | `links/` | the links: facts about each, which there are, which gateways can be reached |
//! | `presence/` | the table: every login by (link, user, client type), and which links are seen |
//! | `succession/` | what moves when one link takes another one's place: seats, settling, heirs |
//! | `routing/` | from an audience to links; the legacy rules for notices |
//! | `ending` | what becomes of the sessions of a link that has ended |
//! | `standing/` | which link stands for a MsgServer, and the parts that links play |
//! | `transition`, `closed` | what happened to links, and what was lost, for logs and metrics; those that have ended |
//! | `report` | what can be said of one link |
//! | `explanation` | why a user is what he is |
//! | `view` | what can be seen from outside |
//! | `memory` | what things really take, for bounds |
//! | `core` | the entry points that tie these together |
//! | `routed` | where envelopes went, for those who ask later |
//! | `recipients` | one more: who would get something, and who not |

mod change;
mod closed;
mod core;
mod delivery;
mod ending;
mod event_log;
mod explanation;
mod ids;
mod links;
pub mod memory;
mod output;
mod presence;
mod receipt;
mod recipients;
mod report;
mod routed;
mod routing;
mod settings;
mod standing;
mod status;
mod succession;
mod transition;
mod view;
mod work;

pub use change::{
    Change, CloseReason, Effect, ListEntry, PREDECESSORS, Peer, ReportedStatus, Restored,
    TableEntry, micros,
};
pub use closed::ClosedLink;
pub use core::{Core, LinkError, Transaction};
pub use delivery::{Course, Item, Payload, Perishable, ReturnedRun, Taken};
pub use event_log::{
    ChangeReason, Event, EventLog, Gap, LogLimits, Logged, PresenceChange, of_sessions,
};
pub use explanation::{ExplainedSession, Explanation, LegacyReason, SessionStanding};
pub use ids::{ClientType, Command, LinkId, UserId};
pub use links::Reach;
pub use output::{Answer, FanView, Output, Outputs};
pub use presence::{Counted, Counts, MAX_SESSIONS_OF_USER};
pub use receipt::{Kept, Receipt};
pub use report::{LinkPart, LinkReport, Relation};
pub use routed::{HeldFor, RoutedEnvelope, WhyNot};
pub use routing::{Audience, Recipients, Routed, Spared, Target, Why};
pub use settings::{FanOut, NotifyOnLoss, Settings};
pub use standing::PartReason;
pub use status::{LearnedBy, LinkView, SessionView, Status, Summary};
pub use transition::{Loss, LossReason, Transition, TransitionKind, Whose};
pub use view::{Stats, View};
