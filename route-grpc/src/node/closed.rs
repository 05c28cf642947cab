//! Links that have closed lately: whose they were, when that was, and why.
//!
//! Bounded in bytes: the oldest is forgotten first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use route_core::memory::allocated;
use route_core::{CloseReason, ClosedLink, LinkId};

/// What they may take: some 2000 of them.
pub(crate) const CLOSED_BYTES: usize = 512 << 10;

/// Why this node has a link closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// An operator has said so, and why.
    Operator { reason: String },
    /// An operator drains its gateway.
    Drain,
    /// Another connection of its MsgServer has its place.
    OtherConnection,
}

impl Asked {
    /// For its gateway's log.
    pub(crate) fn why(&self) -> &'static str {
        match self {
            Self::Operator { .. } => "an operator has asked for it",
            Self::Drain => "an operator drains this gateway",
            Self::OtherConnection => "its MsgServer has another connection",
        }
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Gone {
    /// Counts them, from 1.
    pub(crate) number: u64,
    /// When that was, in the time of the node.
    pub(crate) at: Duration,
    pub(crate) link: ClosedLink,
    /// Its gateway; empty if that was forgotten.
    pub(crate) gateway_id: String,
    /// If this node has asked for it: why.
    pub(crate) asked: Option<Asked>,
}

/// The ring of a node, behind a lock of its own, which is taken after that of the node.
#[derive(Debug)]
pub(crate) struct Closed {
    limit: usize,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// By age, the oldest first.
    links: VecDeque<Arc<Gone>>,
    /// The newest one's.
    number: u64,
    /// What they take.
    bytes: usize,
    /// Links that are open still, and will be closed.
    asked: HashMap<LinkId, Asked>,
}

impl Closed {
    /// Nothing yet.
    pub(super) fn new(limit: usize) -> Self {
        let ring = Mutex::default();
        Self { limit, ring }
    }

    /// An open link is to be closed. Of two reasons the first counts.
    pub(super) fn is_asked(&self, link: LinkId, asked: Asked) {
        self.ring.lock().asked.entry(link).or_insert(asked);
    }

    /// A link has closed.
    pub(super) fn note(&self, at: Duration, link: ClosedLink, gateway_id: &str) {
        let mut ring = self.ring.lock();
        let asked = ring.asked.remove(&link.id);
        // Else it has closed for a reason of its own before that was done.
        let asked = asked.filter(|asked| match (link.reason, asked) {
            (CloseReason::Drain, Asked::Operator { .. } | Asked::Drain)
            | (CloseReason::Requested, Asked::OtherConnection) => true,
            (
                CloseReason::Peer
                | CloseReason::Drain
                | CloseReason::TimedOut
                | CloseReason::BadFrame
                | CloseReason::SlowReader
                | CloseReason::Requested
                | CloseReason::GatewayLost,
                _,
            ) => false,
        });
        ring.number += 1;
        let gone = Gone {
            number: ring.number,
            at,
            link,
            gateway_id: gateway_id.to_owned(),
            asked,
        };
        ring.bytes += gone.bytes();
        ring.links.push_back(Arc::new(gone));
        while ring.bytes() > self.limit
            && let Some(oldest) = ring.links.pop_front()
        {
            ring.bytes -= oldest.bytes();
        }
    }

    /// Those before this number, the newest first.
    pub(crate) fn before(&self, number: u64) -> Vec<Arc<Gone>> {
        let ring = self.ring.lock();
        let older = ring.links.partition_point(|it| it.number < number);
        ring.links.range(..older).rev().map(Arc::clone).collect()
    }

    /// What is remembered of this link.
    pub(crate) fn find(&self, id: LinkId) -> Option<Arc<Gone>> {
        let ring = self.ring.lock();
        let mut newest_first = ring.links.iter().rev();
        newest_first.find(|it| it.link.id == id).map(Arc::clone)
    }

    /// From when on it remembers all: since the node started, or when the oldest one closed.
    pub(crate) fn since(&self) -> Duration {
        let ring = self.ring.lock();
        let oldest = ring.links.front().filter(|it| it.number > 1);
        oldest.map_or(Duration::ZERO, |it| it.at)
    }
}

impl Ring {
    fn bytes(&self) -> usize {
        allocated(self.links.capacity() * size_of::<Arc<Gone>>()) + self.bytes
    }
}

impl Gone {
    /// What it takes: itself with the counts of its handles, and its texts.
    fn bytes(&self) -> usize {
        let reason = match &self.asked {
            Some(Asked::Operator { reason }) => reason.capacity(),
            Some(Asked::Drain | Asked::OtherConnection) | None => 0,
        };
        let parts = [
            size_of::<Self>() + 2 * size_of::<usize>(),
            self.link.msg_server.capacity(),
            self.gateway_id.capacity(),
            reason,
        ];
        parts.into_iter().map(allocated).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(number: u64, reason: CloseReason) -> ClosedLink {
        ClosedLink {
            id: LinkId::new(1, number),
            peer: ([10, 0, 0, 1], 4000).into(),
            msg_server: "msg-1".to_owned(),
            is_named: true,
            is_claimed: true,
            sessions: 1,
            opened_at: 0,
            reason,
        }
    }

    #[test]
    fn the_oldest_are_forgotten_and_it_says_since_when_it_remembers() {
        let closed = Closed::new(16 << 10);
        assert_eq!(closed.since(), Duration::ZERO);
        for number in 1..=1000 {
            let at = Duration::from_secs(number);
            closed.note(at, link(number, CloseReason::Peer), "gate-1");
        }

        let kept = closed.before(u64::MAX);
        assert_eq!(kept[0].number, 1000);
        assert!((40..200).contains(&kept.len()), "{}", kept.len());
        let oldest = kept.last().expect("some");
        assert_eq!(closed.since(), oldest.at);
        assert!(closed.find(LinkId::new(1, 1)).is_none());
        assert!(closed.find(oldest.link.id).is_some());
        assert_eq!(closed.before(999)[0].number, 998);
        assert!(closed.ring.lock().bytes() <= 16 << 10);
    }

    #[test]
    fn who_has_asked_counts_only_if_it_was_closed_for_that() {
        let closed = Closed::new(CLOSED_BYTES);
        let operator = Asked::Operator {
            reason: "in a test".to_owned(),
        };
        for number in 1..=3 {
            closed.is_asked(LinkId::new(1, number), operator.clone());
            closed.is_asked(LinkId::new(1, number), Asked::Drain);
        }
        let at = Duration::ZERO;
        closed.note(at, link(1, CloseReason::Drain), "");
        closed.note(at, link(2, CloseReason::Peer), "");
        closed.note(at, link(3, CloseReason::GatewayLost), "");

        let asked = |number| {
            closed
                .find(LinkId::new(1, number))
                .expect("it")
                .asked
                .clone()
        };
        assert_eq!([asked(1), asked(2), asked(3)], [Some(operator), None, None]);
        assert!(closed.ring.lock().asked.is_empty());
    }
}
