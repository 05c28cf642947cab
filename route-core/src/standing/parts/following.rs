//! Links without a claim play the part that their lists ask for, at once or after a while of doubt.

use std::time::Duration;

use super::Parts;
use crate::event_log::ChangeReason;
use crate::links::{Doubt, Part};
use crate::presence::Follow;
use crate::standing::{DOUBT, Due, UNHEARD, transitions};

impl Parts<'_> {
    /// A client of a link came or went: another part may be due.
    pub(crate) fn updated(&mut self, slot: u32) {
        if !self.routing.presence.links.counts(slot) {
            return;
        }
        for slot in self.routing.presence.links.followers(slot) {
            self.ask(slot);
        }
    }

    /// What this link has listed or claimed concerns its MsgServer's others.
    pub(super) fn regroup(&mut self, slot: u32) {
        self.tells_of_silent(slot);
        let followers = self.routing.presence.links.followers(slot);
        self.regroup_all(&followers, Some(slot));
    }

    /// Unclaimed links play the part that is due. `decided`: by what this link has listed or claimed.
    pub(super) fn regroup_all(&mut self, slots: &[u32], decided: Option<u32>) {
        for slot in slots {
            if !self.routing.presence.links.follows(*slot) {
                continue;
            }
            if self.standing().may_stay(*slot, self.now, decided) {
                self.ask(*slot);
                continue;
            }
            let due = self.standing().due(*slot, self.now);
            if !self.may_play(*slot, due.part()) {
                continue;
            }
            self.play(*slot, due.part(), false);
            self.doubt(*slot, due == Due::Doubted);
        }
    }

    /// What has contradicted a link's part for long enough changes it.
    pub(super) fn dispel(&mut self) {
        let links = &self.routing.presence.links;
        let due = links.doubted().take_while(|(due, _)| *due <= self.now);
        let due: Vec<u32> = due.map(|(_, slot)| slot).collect();
        for slot in due {
            if self.is_undecided(slot) {
                continue;
            }
            let part = self.standing().due(slot, self.now).settled();
            if self.is_open_to_doubt(slot, part) {
                continue;
            }
            self.routing.presence.links.doubt(slot, None);
            let follows = self.routing.presence.links.follows(slot);
            // Nobody has reported anything, so MsgServers are told.
            if follows && self.may_play(slot, part) && self.play(slot, part, true) {
                self.notes(slot, transitions::of_part(part), None);
            }
        }
    }

    /// Whether a link plays the part that is due.
    fn ask(&mut self, slot: u32) {
        let part = self.routing.presence.links[slot].part();
        let due = self.standing().due(slot, self.now);
        self.doubt(slot, part.map(Due::Now) != Some(due));
    }

    /// A link of which nothing is heard does not begin to stand for a MsgServer.
    fn may_play(&self, slot: u32, part: Part) -> bool {
        part != Part::Active || !self.routing.presence.links[slot].silent
    }

    /// Whether that is another part than before. `told`: MsgServers are told what is different by that.
    pub(super) fn play(&mut self, slot: u32, part: Part, told: bool) -> bool {
        if self.routing.presence.links[slot].part() == Some(part) {
            return false;
        }
        if part == Part::Active {
            let reason = ChangeReason::Standing;
            self.activate(slot, Follow { reason, told });
        } else {
            self.step_back(slot, part, told);
        }
        true
    }

    /// It has been asked for the part of this link.
    pub(super) fn doubt(&mut self, slot: u32, doubts: bool) {
        let tie = self.standing().tie(slot);
        let now = self.now;
        let links = &mut self.routing.presence.links;
        links[slot].tied = tie.or(links[slot].tied);
        let doubt = links[slot].doubted.unwrap_or_else(|| fresh(now));
        links.doubt(slot, doubts.then_some(doubt));
    }

    /// Something comes to be known only now: nothing has been doubted for long.
    pub(crate) fn doubt_anew(&mut self) {
        let links = &mut self.routing.presence.links;
        let doubted: Vec<u32> = links.doubted().map(|(_, slot)| slot).collect();
        for slot in doubted {
            links.doubt(slot, Some(fresh(self.now)));
        }
    }

    /// It cannot be decided yet whether this link is to play another part: a gateway is away, or the
    /// link, or a claimed one that may be of its MsgServer, has done nothing since, and may be dead.
    /// Then its due time is later.
    fn is_open_to_doubt(&mut self, slot: u32, part: Part) -> bool {
        let is_known = self.standing().is_known();
        let now = self.now;
        let since = self.routing.presence.links[slot].doubted;
        let since = since.map_or(now, |doubt| doubt.since);
        let may_be_dead = part == Part::Active && self.standing().any_may_be_dead(slot, since);
        let is_heard = part != Part::Active || self.standing().leaders_are_heard(slot);
        let doubt = if !is_known {
            fresh(now)
        } else if may_be_dead && now < since + UNHEARD {
            let due = (now + DOUBT).min(since + UNHEARD);
            Doubt { since, due }
        } else if !is_heard {
            let due = now + DOUBT;
            Doubt { since, due }
        } else {
            return false;
        };
        let links = &mut self.routing.presence.links;
        links.doubt(slot, Some(doubt));
        true
    }
}

fn fresh(now: Duration) -> Doubt {
    Doubt {
        since: now,
        due: now + DOUBT,
    }
}
