//! Which links should not be read, because they feed links of other gateways more than these take.

use std::collections::{BTreeMap, BTreeSet};

use route_core::LinkId;

use super::Gateways;

/// So many links may one gateway ask to pause at a time. More are not paused.
const MOST: usize = 65_536;

/// What gateways have asked for.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    by_asker: BTreeMap<u64, BTreeSet<LinkId>>,
    /// By link: how many gateways ask.
    asked: BTreeMap<LinkId, usize>,
}

impl Pauses {
    /// A gateway asks that a link pauses, or that it goes on. True if the link's gateway is to be told.
    pub(super) fn change(&mut self, asker: u64, link: LinkId, on: bool) -> bool {
        let asked = self.by_asker.entry(asker).or_default();
        let is_news = match on {
            true => asked.len() < MOST && asked.insert(link),
            false => asked.remove(&link),
        };
        is_news && self.count(link, on)
    }

    fn count(&mut self, link: LinkId, on: bool) -> bool {
        let askers = self.asked.entry(link).or_default();
        if on {
            *askers += 1;
            return *askers == 1;
        }
        *askers = askers.saturating_sub(1);
        let is_over = *askers == 0;
        if is_over {
            self.asked.remove(&link);
        }
        is_over
    }

    /// A gateway asks for nothing any more. Returns links that may go on.
    pub(super) fn forget(&mut self, asker: u64) -> Vec<LinkId> {
        let asked = self.by_asker.remove(&asker).unwrap_or_default();
        let links = asked.into_iter();
        links.filter(|link| self.count(*link, false)).collect()
    }

    /// Links of a gateway that should pause.
    pub(super) fn of(&self, gateway: u64) -> impl Iterator<Item = LinkId> {
        let all = LinkId::new(gateway, 0)..=LinkId::new(gateway, u64::MAX);
        self.asked.range(all).map(|(link, _)| *link)
    }
}

impl Gateways {
    /// Links of a gateway are fed more than they take by this one, which should pause, or may go on.
    pub(crate) fn ask_pause(&mut self, asker: u64, link: LinkId, on: bool) {
        if (self.has_open(link) || !on) && self.pauses.change(asker, link, on) {
            self.tell_pause(link, on);
        }
    }

    /// A gateway that is gone, or has a new stream, asks for nothing.
    pub(super) fn ask_no_pauses(&mut self, asker: u64) {
        for link in self.pauses.forget(asker) {
            self.tell_pause(link, false);
        }
    }

    /// The new stream of a gateway knows of no pauses.
    pub(super) fn tell_pauses(&mut self, incarnation: u64) {
        let paused: Vec<_> = self.pauses.of(incarnation).collect();
        for link in paused {
            self.tell_pause(link, true);
        }
    }

    fn tell_pause(&mut self, link: LinkId, on: bool) {
        if let Some(queue) = self.queue_of(link.gateway) {
            queue.pause(link.number, on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_goes_on_when_nobody_asks_any_more() {
        let (mut pauses, link) = (Pauses::default(), LinkId::new(9, 1));
        assert!(pauses.change(7, link, true));
        assert!(!pauses.change(7, link, true), "again");
        assert!(!pauses.change(8, link, true), "it pauses already");
        assert_eq!(pauses.of(9).collect::<Vec<_>>(), [link]);
        assert!(!pauses.change(7, link, false));
        assert!(!pauses.change(7, link, false), "again");

        assert_eq!(pauses.forget(8), [link]);

        assert_eq!(pauses.of(9).count(), 0);
        assert_eq!(pauses.forget(7), []);
    }

    #[test]
    fn one_gateway_asks_for_no_more_than_the_most() {
        let mut pauses = Pauses::default();
        for number in 0..=MOST as u64 {
            pauses.change(7, LinkId::new(9, number), true);
        }
        assert_eq!(pauses.of(9).count(), MOST);
    }
}
