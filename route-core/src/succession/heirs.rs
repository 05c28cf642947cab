//! Who inherited from closed links, so that late returns find their way.

use std::collections::{HashMap, VecDeque};

use crate::ids::LinkId;

/// By closed link: the heir. The oldest are forgotten beyond 1 024, far more than there are
/// MsgServers.
#[derive(Debug, Default)]
pub(super) struct Heirs {
    heirs: HashMap<LinkId, (LinkId, u64)>,
    order: VecDeque<LinkId>,
}

impl Heirs {
    /// As many links may one MsgServer have had one after the other, while something of the first is
    /// on its way: who is asked further goes in a circle.
    pub(super) const MOST: usize = 1024;

    /// `from`: the first position that was routed to the heir by itself.
    pub(super) fn record(&mut self, closed: LinkId, heir: LinkId, from: u64) {
        if self.heirs.insert(closed, (heir, from)).is_none() {
            self.order.push_back(closed);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.heirs.remove(&oldest);
        }
    }

    /// As recorded.
    pub(super) fn get(&self, closed: LinkId) -> Option<(LinkId, u64)> {
        self.heirs.get(&closed).copied()
    }

    /// Who inherited from this link, and from that one, and so on.
    pub(super) fn of(&self, link: LinkId) -> impl Iterator<Item = LinkId> + '_ {
        let heir = |link: &LinkId| self.get(*link).map(|(heir, _)| heir);
        std::iter::successors(heir(&link), heir).take(Self::MOST)
    }
}
