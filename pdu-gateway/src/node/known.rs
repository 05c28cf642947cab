//! What a gateway knows of nodes, from one attempt to attach to the next.

use std::time::Duration;

use bytes::Bytes;
use route_runtime::life::new_secret;
use route_runtime::seldom::Seldom;

/// A node that is replaced is back in less.
const RESTART: Duration = Duration::from_secs(5);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) attempt: u64,
    /// What shows nodes that an attempt is of this life.
    pub(super) secret: Bytes,
    pub(super) roster: Vec<String>,
    pub(super) epoch: u64,
    /// The highest of all nodes that have welcomed us.
    pub(super) term: u64,
    /// Number of the last Downlink taken from that node since its last welcome: an earlier one it has been told of.
    pub(super) taken: u64,
    /// Of the newest delivery of all nodes so far.
    pub(super) position: u64,
    /// Rounds since the last welcome in which no node welcomed us, and the stream that ended before them.
    pub(super) failures: u32,
    /// So many of the last ones were because the node does not take what we show.
    pub(super) not_let_in: u32,
    /// Since when there is no node, if there has been one.
    pub(super) away_since: Option<Duration>,
    /// Failures since the last welcome that somebody may look at.
    pub(super) worrying: Seldom,
}

impl Known {
    /// Nothing is, at the start of a gateway.
    pub(super) fn new() -> Self {
        Known {
            secret: Bytes::copy_from_slice(&new_secret()),
            ..Known::default()
        }
    }

    /// Whether a failure is worth a line that somebody may look at: a refusal is, for it will not go away by itself, and
    /// everything while there has been no node, or while it is away for longer than a restart takes; one a minute. Returns how
    /// many were left out.
    pub(super) fn is_worrying(&mut self, now: Duration, is_refusal: bool) -> Option<u64> {
        let is_restart = |since| now.saturating_sub(since) < RESTART;
        let passes = !is_refusal && self.away_since.is_some_and(is_restart);
        (!passes).then(|| self.worrying.happened(now)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_once_a_minute_and_those_of_a_restart_are_not() {
        let mut known = Known::new();
        let at = Duration::from_secs;

        assert_eq!(
            known.is_worrying(at(0), false),
            Some(0),
            "there was never a node"
        );
        assert_eq!(known.is_worrying(at(1), false), None);
        assert_eq!(known.is_worrying(at(60), false), Some(1));

        known.worrying = Seldom::default();
        known.away_since = Some(at(100));
        assert_eq!(known.is_worrying(at(104), false), None);
        assert_eq!(known.is_worrying(at(105), false), Some(0), "it stays away");
        assert_eq!(known.is_worrying(at(106), true), None);

        known.worrying = Seldom::default();
        assert_eq!(known.is_worrying(at(101), true), Some(0), "a refusal");
    }
}
