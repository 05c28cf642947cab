//! What was lost later of what had been routed to a link: it waited there, the link ended, and nobody took it over.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use route_core::{LinkId, Loss, LossReason};

/// Losses that are remembered; those of one link in a row are one.
const LOSSES: usize = 1024;

/// Of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostLater {
    /// The last of them, in the time of the node.
    pub(crate) at: Duration,
    pub(crate) deliveries: u64,
    /// The position of the first of them.
    pub(crate) from: u64,
    /// Why the last of them.
    pub(crate) reason: LossReason,
}

impl LostLater {
    /// And then this, of the same link.
    fn and(self, later: Self) -> Self {
        Self {
            deliveries: self.deliveries + later.deliveries,
            from: self.from.min(later.from),
            ..later
        }
    }
}

/// What was lost last, the newest at the end.
#[derive(Debug, Default)]
pub(crate) struct Late(Mutex<VecDeque<(LinkId, LostLater)>>);

impl Late {
    /// This was lost. For lack of room: that was so when it was routed, and is noted there.
    pub(crate) fn note(&self, at: Duration, loss: &Loss) {
        if loss.reason == LossReason::Full {
            return;
        }
        let lost = LostLater {
            at,
            deliveries: loss.deliveries,
            from: loss.from,
            reason: loss.reason,
        };
        let mut losses = self.0.lock();
        if let Some((link, before)) = losses.back_mut()
            && *link == loss.link
        {
            *before = before.and(lost);
            return;
        }
        if losses.len() == LOSSES {
            losses.pop_front();
        }
        losses.push_back((loss.link, lost));
    }

    /// All of it, by link.
    pub(crate) fn by_link(&self) -> HashMap<LinkId, LostLater> {
        let mut links: HashMap<LinkId, LostLater> = HashMap::new();
        for &(link, lost) in &*self.0.lock() {
            let known = links.entry(link);
            known.and_modify(|it| *it = it.and(lost)).or_insert(lost);
        }
        links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(number: u64, deliveries: u64, reason: LossReason) -> Loss {
        Loss {
            link: LinkId::new(1, number),
            whose: None,
            deliveries,
            from: 10 * number,
            reason,
        }
    }

    #[test]
    fn losses_of_a_link_add_up_and_the_oldest_are_forgotten() {
        let late = Late::default();
        let at = Duration::from_secs;
        late.note(at(1), &loss(1, 2, LossReason::SeatEnds));
        late.note(at(2), &loss(2, 5, LossReason::Full));
        late.note(at(2), &loss(3, 1, LossReason::SeatEnds));
        late.note(at(3), &loss(1, 1, LossReason::NoSuccessor));
        let lost = LostLater {
            at: at(3),
            deliveries: 3,
            from: 10,
            reason: LossReason::NoSuccessor,
        };
        let known = late.by_link();
        assert_eq!((known.len(), known[&LinkId::new(1, 1)]), (2, lost));

        for number in 2..2 + LOSSES as u64 {
            late.note(at(4), &loss(number, 1, LossReason::SeatEnds));
        }
        let known = late.by_link();
        assert_eq!(known.len(), LOSSES);
        assert!(!known.contains_key(&LinkId::new(1, 1)));
    }
}
