//! What is done about two MsgServers with one name: both stand, else each would have the other one's
//! links closed, or the one would not be heard.

use super::Parts;
use crate::links::Doubt;
use crate::standing::DOUBT;
use crate::standing::namesakes::{self, FOUND_OUT};
use crate::transition::TransitionKind;

impl Parts<'_> {
    /// A link's first list is complete: whether its MsgServer is another one is known, or seen.
    pub(super) fn find_rival(&mut self, slot: u32) {
        self.knows_rivals(slot);
        if !self.routing.presence.links[slot].is_claimed() {
            return;
        }
        if let Some(rival) = namesakes::rival(self.standing(), slot, self.now) {
            self.are_two(slot, rival);
        }
    }

    /// It stands beside another claimed link of its name: what that means is known later.
    pub(super) fn await_namesake(&mut self, slot: u32) {
        if namesakes::namesake(self.standing(), slot).is_some() {
            let (since, due) = (self.now, self.now + FOUND_OUT);
            let links = &mut self.routing.presence.links;
            links.doubt(slot, Some(Doubt { since, due }));
        }
    }

    /// This link, in doubt, and another one of its name may be of two MsgServers. True if that is not
    /// known yet.
    pub(super) fn is_undecided(&mut self, slot: u32) -> bool {
        while let Some(other) = namesakes::namesake(self.standing(), slot) {
            let now = self.now;
            let links = &self.routing.presence.links;
            let since = links[slot].doubted.map_or(now, |doubt| doubt.since);
            let is_heard = !links[slot].silent && !links[other].silent;
            let doubt = if !is_heard || !self.standing().is_known() {
                let due = now + DOUBT;
                Doubt { since: now, due }
            } else if now < since + FOUND_OUT {
                let due = since + FOUND_OUT;
                Doubt { since, due }
            } else {
                self.are_two(slot, other);
                continue;
            };
            let links = &mut self.routing.presence.links;
            links.doubt(slot, Some(doubt));
            return true;
        }
        false
    }

    /// They are of two MsgServers, and so are others that hold the same as one of them.
    fn are_two(&mut self, slot: u32, other: u32) {
        let own = namesakes::alike(self.standing(), slot);
        let mut others = namesakes::alike(self.standing(), other);
        others.retain(|it| !own.contains(it));
        let links = &mut self.routing.presence.links;
        for own in &own {
            for other in &others {
                links.are_rivals(*own, *other);
                for (a, b) in [(*own, *other), (*other, *own)] {
                    let id = links[b].id;
                    let link = &mut links[a];
                    link.tied = link.tied.filter(|it| *it != id);
                    link.supersedes = link.supersedes.filter(|it| *it != id);
                }
            }
        }
        let other = links[other].id;
        self.notes(slot, TransitionKind::SharesName, Some(other));
    }

    /// It is no link of those that are known to be of another MsgServer than one that holds much the same.
    fn knows_rivals(&mut self, slot: u32) {
        let alike = namesakes::alike(self.standing(), slot);
        let links = &mut self.routing.presence.links;
        let rivals = alike.iter().flat_map(|it| links[*it].rivals.clone());
        let rivals: Vec<u32> = rivals.filter_map(|it| links.slot(it)).collect();
        for rival in rivals.into_iter().filter(|it| !alike.contains(it)) {
            links.are_rivals(slot, rival);
        }
    }
}
