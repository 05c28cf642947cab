//! What was lost later of what had been routed to a link: it waited there, the link ended, and nobody took it over.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use route_core::{LinkId, Loss, LossReason};

/// Links that are remembered.
const LINKS: usize = 1024;

/// Of one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostLater {
    /// The last of them, in the time of the node.
    pub(crate) at: Duration,
    pub(crate) deliveries: u64,
    /// Why the last of them.
    pub(crate) reason: LossReason,
}

/// Of the links that lost something last.
#[derive(Debug, Default)]
pub(crate) struct Late(Mutex<VecDeque<(LinkId, LostLater)>>);

impl Late {
    /// This was lost. For lack of room: that was so when it was routed, and is noted there.
    pub(crate) fn note(&self, at: Duration, loss: &Loss) {
        if loss.reason == LossReason::Full {
            return;
        }
        let mut links = self.0.lock();
        let known = links.iter().rposition(|(link, _)| *link == loss.link);
        let before = known.and_then(|place| links.remove(place));
        let before = before.map_or(0, |(_, lost)| lost.deliveries);
        if links.len() == LINKS {
            links.pop_front();
        }
        let lost = LostLater {
            at,
            deliveries: before + loss.deliveries,
            reason: loss.reason,
        };
        links.push_back((loss.link, lost));
    }

    /// All of them.
    pub(crate) fn by_link(&self) -> HashMap<LinkId, LostLater> {
        self.0.lock().iter().copied().collect()
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
            reason,
        }
    }

    #[test]
    fn losses_of_a_link_add_up_and_the_oldest_links_are_forgotten() {
        let late = Late::default();
        let at = Duration::from_secs;
        late.note(at(1), &loss(1, 2, LossReason::SeatEnds));
        late.note(at(2), &loss(2, 5, LossReason::Full));
        late.note(at(3), &loss(1, 1, LossReason::NoSuccessor));
        let lost = LostLater {
            at: at(3),
            deliveries: 3,
            reason: LossReason::NoSuccessor,
        };
        assert_eq!(late.by_link(), HashMap::from([(LinkId::new(1, 1), lost)]));

        for number in 2..2 + LINKS as u64 {
            late.note(at(4), &loss(number, 1, LossReason::SeatEnds));
        }
        let known = late.by_link();
        assert_eq!(known.len(), LINKS);
        assert!(!known.contains_key(&LinkId::new(1, 1)));
    }
}
