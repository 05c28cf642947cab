//! How long a leader leads, and when a standby may take over.

use std::time::Duration;

use crate::record::{Record, State, Stored};

/// How long things last. Each node has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A leader serves for so long after it sent its last write that succeeded.
    pub serve: Duration,
    /// A record that has not changed for so long has no leader that serves. Longer than `serve` by what clocks may
    /// differ in so long, and more.
    pub lease: Duration,
    /// A record that has not changed for so long may be taken over while its leader may still serve, if gateways come.
    pub quiet: Duration,
    /// How often a leader writes.
    pub renew: Duration,
}

impl Default for Timing {
    /// Longer than a NATS cluster elects: 5 to 8 s without a write.
    fn default() -> Self {
        Self {
            serve: Duration::from_secs(12),
            lease: Duration::from_secs(15),
            quiet: Duration::from_secs(2),
            renew: Duration::from_secs(1),
        }
    }
}

/// What a standby knows of the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sight<M> {
    /// The last that it read; `None` before the first time, and after [`Sight::interrupted`].
    pub seen: Option<Seen<M>>,
}

/// The last that a standby read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen<M> {
    /// `None`: there is no record.
    pub stored: Option<Stored<M>>,
    /// When it was first seen like that.
    pub since: Duration,
    /// Whether an earlier one was seen before. Else the record may have gone back (an engine that lost its last
    /// writes), and its roster may lack gateways that its leader has.
    pub followed: bool,
}

/// What allows a take-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TakeOver {
    /// When no leader of an earlier term serves any more, for certain.
    pub old_lease_over: Duration,
}

impl<M: Clone + PartialEq> Sight<M> {
    /// A node that has just started has seen nothing.
    pub fn new() -> Self {
        Self { seen: None }
    }

    /// Takes note of what the engine has. The count begins anew when that has changed.
    pub fn see(&mut self, now: Duration, found: Option<&Stored<M>>) {
        let followed = match &self.seen {
            None => false,
            Some(seen) if seen.stored.as_ref() == found => return,
            Some(seen) => follows(found, seen.stored.as_ref()),
        };
        self.seen = Some(Seen {
            stored: found.cloned(),
            since: now,
            followed,
        });
    }

    /// What was seen counts no more: the connection to the engine was lost, and the record may have gone back to what it
    /// was when it was last seen (rule 8). A take-over that is on its way is not recognised after that either, and a leader
    /// that has not served yet leads no more.
    pub fn interrupted(&mut self) {
        self.seen = None;
    }

    /// Whether this node may write a term of its own (rule 2). A release counts if this node has seen the record change to
    /// it: one that was there before may be what an engine went back to. `gateways_come`: gateways of the serving roster have come
    /// here since the record last changed.
    pub fn may_take_over(
        &self,
        now: Duration,
        timing: &Timing,
        gateways_come: bool,
    ) -> Option<TakeOver> {
        let seen = self.seen.as_ref()?;
        if let Some(stored) = &seen.stored
            && stored.record.state == State::Released
            && seen.followed
        {
            return Some(TakeOver {
                old_lease_over: now,
            });
        }
        let old_lease_over = seen.since + timing.lease;
        let early = gateways_come && seen.followed && now >= seen.since + timing.quiet;
        (early || now >= old_lease_over).then_some(TakeOver { old_lease_over })
    }

    /// The revision that a take-over replaces; `None` if there is no record.
    pub fn revision(&self) -> Option<u64> {
        self.seen
            .as_ref()?
            .stored
            .as_ref()
            .map(|stored| stored.revision)
    }
}

impl<M: Clone + Ord> Sight<M> {
    /// What a take-over writes: the next term, with the roster as it was.
    pub fn successor(&self, node: u64, counter: u64) -> Record<M> {
        let before = self
            .seen
            .as_ref()
            .and_then(|seen| seen.stored.as_ref())
            .map(|stored| &stored.record);
        Record {
            term: before.map_or(0, |record| record.term) + 1,
            node,
            counter,
            state: State::Beginning,
            roster: before
                .map(|record| record.roster.clone())
                .unwrap_or_default(),
        }
    }
}

impl<M: Clone + PartialEq> Default for Sight<M> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a record is later than the one before, and so nothing was lost between.
fn follows<M>(found: Option<&Stored<M>>, before: Option<&Stored<M>>) -> bool {
    match (found, before) {
        (Some(found), Some(before)) => {
            found.revision > before.revision && found.record.term >= before.record.term
        }
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// What a leader knows of its own hold on the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The revision of its last write that succeeded.
    pub revision: u64,
    /// When that write was sent.
    pub sent: Duration,
    /// The last write, until it is known what became of it.
    pub asked: Option<Asked>,
}

/// A write that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    /// [`Record::counter`] of what it writes.
    pub counter: u64,
    /// When it was sent.
    pub sent: Duration,
}

/// What a read after a write without an answer shows (rule 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Found {
    /// The write: it has succeeded.
    Written,
    /// What was there before: the write has not happened. It still may.
    Unchanged,
    /// Something else: this node leads no more.
    Lost,
}

impl Lease {
    /// The lease of a term whose first write has succeeded.
    pub fn new(first: Asked, revision: u64) -> Self {
        Self {
            revision,
            sent: first.sent,
            asked: None,
        }
    }

    /// Whether the leader may apply what gateways send, and answer reads (rule 1). Asked where each transaction begins.
    /// Once false, it is false for ever: the node ends all streams, and is a standby.
    pub fn holds(&self, now: Duration, timing: &Timing) -> bool {
        now < self.sent + timing.serve
    }

    /// A write goes out. One at a time; it replaces [`Lease::revision`].
    pub fn ask(&mut self, now: Duration, counter: u64) {
        self.asked = Some(Asked { counter, sent: now });
    }

    /// The engine has accepted the write. Whose write it refuses leads no more: it drops the lease.
    pub fn accepted(&mut self, revision: u64) {
        if let Some(asked) = self.asked.take() {
            self.sent = asked.sent;
            self.revision = revision;
        }
    }

    /// The write was not answered, and this is what the engine has (rule 7). The lease counts from when the write was
    /// sent, not from the read.
    pub fn found<M>(&mut self, node: u64, found: Option<&Stored<M>>) -> Found {
        let Some(stored) = found.filter(|stored| stored.record.node == node) else {
            return Found::Lost;
        };
        if self
            .asked
            .is_some_and(|asked| asked.counter == stored.record.counter)
        {
            self.accepted(stored.revision);
            Found::Written
        } else if stored.revision == self.revision {
            self.asked = None;
            Found::Unchanged
        } else {
            Found::Lost
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stored(counter: u64, state: State) -> Stored<u8> {
        let record = Record {
            term: 1,
            node: 1,
            counter,
            state,
            roster: [1].into(),
        };
        Stored {
            revision: counter,
            record,
        }
    }

    fn may(sight: &Sight<u8>, seconds: u32, gateways_come: bool) -> bool {
        sight
            .may_take_over(SECOND * seconds, &Timing::default(), gateways_come)
            .is_some()
    }

    #[test]
    fn a_record_that_was_renewed_is_taken_over_early_if_gateways_come() {
        let mut sight = Sight::new();
        sight.see(SECOND, Some(&stored(1, State::Serving)));
        sight.see(SECOND * 2, Some(&stored(2, State::Serving)));
        assert!(!may(&sight, 3, true) && may(&sight, 4, true));
        assert!(!may(&sight, 16, false) && may(&sight, 17, false));
    }

    #[test]
    fn a_record_that_was_never_renewed_or_that_has_gone_back_is_taken_over_after_the_lease() {
        let mut sight = Sight::new();
        sight.see(SECOND, Some(&stored(2, State::Serving)));
        assert!(!may(&sight, 15, true) && may(&sight, 16, true));
        sight.see(SECOND * 16, Some(&stored(1, State::Serving)));
        assert!(!may(&sight, 30, true) && may(&sight, 31, true));
    }

    #[test]
    fn a_released_record_is_taken_over_at_once() {
        let mut sight = Sight::new();
        assert!(!may(&sight, 60, true), "nothing was seen");
        sight.see(SECOND, Some(&stored(1, State::Released)));
        assert!(
            !may(&sight, 15, true) && may(&sight, 16, false),
            "nobody knows since when"
        );
        sight.see(SECOND * 20, Some(&stored(2, State::Serving)));
        sight.see(SECOND * 20, Some(&stored(3, State::Released)));
        assert!(may(&sight, 20, false));
    }
}
