//! Which gateways a leader may welcome, and when the leader before it has none left.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::lease::TakeOver;

/// The gateways that are in the record for certain, whatever becomes of writes that are on their way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Roster<M> {
    /// Those that the last write that succeeded names, and each write after it, too.
    pub certain: BTreeSet<M>,
    /// Those that the last write names, until it is known to have succeeded.
    pub asked: Option<BTreeSet<M>>,
}

/// What happens to a gateway that comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Admission {
    /// It is welcome.
    Now,
    /// It waits at the door until a write that was sent after it came, and that names it, has succeeded.
    AfterWrite,
}

impl<M: Clone + Ord> Roster<M> {
    /// The roster of a record that is this node's.
    pub fn new(certain: BTreeSet<M>) -> Self {
        Self {
            certain,
            asked: None,
        }
    }

    /// Whether a gateway may be welcomed now (rules 4 and 5). `welcomed_by` is the newest term that has welcomed it, by its
    /// own word, 0 for none. A newcomer waits for the write that names it. One that names a later term waits for a write that
    /// shows that there is none: nobody is deposed by a number, and nobody is shut out by one.
    pub fn admission(&self, gateway: &M, welcomed_by: u64, term: u64) -> Admission {
        if welcomed_by <= term && self.certain.contains(gateway) {
            Admission::Now
        } else {
            Admission::AfterWrite
        }
    }

    /// A write goes out that names these: everyone who has a stream here, and those at the door. Whom it leaves out is
    /// welcome no more from now on.
    pub fn ask(&mut self, named: BTreeSet<M>) {
        self.certain.retain(|gateway| named.contains(gateway));
        self.asked = Some(named);
    }

    /// The last write has succeeded, so that none before it can any more. One that was not answered changes nothing
    /// here: it may still happen, even if a read has not shown it.
    pub fn accepted(&mut self) {
        if let Some(named) = self.asked.take() {
            self.certain = named;
        }
    }
}

/// What a new leader waits for before it serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Beginning<M> {
    /// Those of the serving roster that have not yet acknowledged a beat here.
    pub missing: BTreeSet<M>,
    /// When no leader of an earlier term serves any more.
    pub old_lease_over: Duration,
}

impl<M: Ord> Beginning<M> {
    /// A term that begins with the roster of the record that it took over.
    pub fn new(roster: BTreeSet<M>, take_over: TakeOver) -> Self {
        Self {
            missing: roster,
            old_lease_over: take_over.old_lease_over,
        }
    }

    /// A gateway that was welcomed here has acknowledged a beat that was sent after that: it knows of this term, and names it
    /// wherever it goes. That it is still here is not needed.
    pub fn acknowledged(&mut self, gateway: &M) {
        self.missing.remove(gateway);
    }

    /// Whether this leader may write that it serves (rule 3), and serve once that has succeeded.
    pub fn may_serve(&self, now: Duration) -> bool {
        self.missing.is_empty() || now >= self.old_lease_over
    }
}
