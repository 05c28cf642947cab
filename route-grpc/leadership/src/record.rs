//! The record that says who leads.

use std::collections::BTreeSet;

/// What the leader of a term is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It welcomes the gateways of the serving roster, and applies nothing.
    Beginning,
    /// It applies what gateways send.
    Serving,
    /// It has served, has ended all streams, and leads no more.
    Released,
}

impl State {
    /// Whether a leader in this state may write that it releases the record (rule 6). One that has not served may not: the
    /// leader before it may still hold gateways, and nobody could tell from its release.
    pub fn may_release(self) -> bool {
        self == Self::Serving
    }
}

/// The site's one record. `M` names one life of one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record<M> {
    /// The term, from 1; each take-over adds one.
    pub term: u64,
    /// The life of a node that wrote it: a random number that it gives itself at its start.
    pub node: u64,
    /// Which of the writes of that life this is: no two have the same, whatever became of them.
    pub counter: u64,
    /// What that node is doing.
    pub state: State,
    /// The serving roster: the gateways that the last term that served may have had.
    pub roster: BTreeSet<M>,
}

/// The record as the engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stored<M> {
    /// Grows with each write; a write names the one that it replaces.
    pub revision: u64,
    /// What was written.
    pub record: Record<M>,
}
