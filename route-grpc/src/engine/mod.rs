//! What holds the site's record, and changes it by compare-and-set: NATS.
//!
//! **Architecture invariant:** an engine decides nothing. It tries nothing twice, keeps nothing of what it read, and
//! knows no lease: a write that was not answered is the caller's to find again (rule 7 of `route_leadership`).

pub mod nats;
pub mod played;
pub mod record;

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;
use route_leadership::Record;

use self::record::{Author, Found, Member};

/// A request that was not answered for so long is given up. Less than the time between two renewals, and a hundred times
/// what a healthy cluster takes.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// What holds the record of one site, as one node reaches it.
pub trait Engine: Debug + Send + Sync + 'static {
    /// The record as it is now; none if there is none. Whoever answers has answered since it was asked: what was read
    /// before an [interruption](Self::interruptions) never comes after it.
    ///
    /// It may be older than the newest: a NATS server that was cut off takes some seconds to notice that it leads the
    /// stream no more. A write that replaces what such a server told is refused.
    ///
    /// # Errors
    ///
    /// Not answered within [`ANSWER_LIMIT`], or what is there is not to be replaced by this node.
    fn read(&self) -> BoxFuture<'_, Result<Option<Found>, Unread>>;

    /// Writes the record, if what is there has the revision `replaces`; `None`: if there is none. The revision that it
    /// has then.
    ///
    /// # Errors
    ///
    /// It was refused, or not answered within [`ANSWER_LIMIT`]. In the second case it may have happened, and may happen
    /// later.
    fn write<'a>(
        &'a self,
        record: &'a Record<Member>,
        author: &'a Author,
        replaces: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, NotWritten>>;

    /// Waits until the record may have changed since the last time this was waited for. A hint: it may be late or not
    /// come, and nothing may depend on it. One waits at a time.
    fn changed(&self) -> BoxFuture<'_, ()>;

    /// How often the connection to the engine was lost, so that the record may have gone back (rule 8). Counted before
    /// any answer of the next connection is given: look after each answer, before it is used.
    fn interruptions(&self) -> u64;
}

/// Why a record was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// The engine has not answered, or not with a record. It says what to mend, if that is known.
    #[error("{0}")]
    Unanswered(String),
    /// There is one that this node cannot read, and must not replace.
    #[error("{0}")]
    Unfit(String),
}

/// Why a write has not succeeded, or is not known to have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// What is there has another revision.
    #[error("the record has changed")]
    Refused,
    /// It may have happened. It says what to mend, if that is known.
    #[error("{0}")]
    Unanswered(String),
}
