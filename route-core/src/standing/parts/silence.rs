//! What is done about links of which nothing is heard.

use std::time::Duration;

use super::Parts;
use crate::change::Effect;
use crate::standing::hearing;
use crate::transition::TransitionKind;

/// A heartbeat of a MsgServer, and some time. Of a MsgServer that stands still, no connection is heard
/// after this; of one with a connection that is cut, the others are.
const BEAT: Duration = Duration::from_secs(6);
/// A node that decides later than this did not run meanwhile, and may not know who was heard.
const LATE: Duration = Duration::from_secs(2);

impl Parts<'_> {
    /// Nothing is heard of a link, or something is again.
    pub(crate) fn silence(&mut self, slot: u32, silent: bool) {
        let links = &mut self.routing.presence.links;
        links[slot].silent = silent;
        if silent {
            self.await_judgement(slot);
        } else {
            links.judge(slot, None);
            self.tells_of_silent(slot);
            self.regroup_all(&[slot], None);
        }
    }

    /// This link may take the place of silent ones, or show that they are cut.
    pub(super) fn tells_of_silent(&mut self, slot: u32) {
        for silent in hearing::silent_before(self.standing(), slot) {
            self.await_judgement(silent);
        }
    }

    /// It is silent: what that means, others of its MsgServer tell.
    pub(super) fn await_judgement(&mut self, silent: u32) {
        let links = &mut self.routing.presence.links;
        if !links.awaits_judgement(silent) {
            links.judge(silent, Some(self.now + BEAT));
        }
    }

    /// Decides what long silence means.
    pub(super) fn judge_silent(&mut self) {
        let due = self.routing.presence.links.judged();
        let due = due.take_while(|(at, _)| *at <= self.now);
        let due: Vec<(Duration, u32)> = due.collect();
        for (at, silent) in due {
            let links = &mut self.routing.presence.links;
            links.judge(silent, None);
            let is_absent = links.reach.is_absent(links[silent].id.gateway);
            if is_absent || at + LATE < self.now {
                self.await_judgement(silent);
                continue;
            }
            let heard = hearing::heard_shadows(self.standing(), silent);
            if let Some(heir) = hearing::successor(self.standing(), silent) {
                self.inherit(silent, heir, Effect::Notify);
            } else if !heard.is_empty() {
                self.is_cut(silent, heard);
            } else if let Some(heir) = self.standing().moved_to(silent) {
                self.inherit(silent, heir, Effect::Notify);
            } else if !self.standing().is_known() {
                self.await_judgement(silent);
            }
        }
    }

    /// It is closed. Those that are heard are its MsgServer's, whatever their tables say since.
    fn is_cut(&mut self, silent: u32, heard: Vec<u32>) {
        let is_nearest = |shadow: &u32| self.standing().nearest(*shadow) == Some(silent);
        let heard: Vec<u32> = heard.into_iter().filter(is_nearest).collect();
        self.notes(silent, TransitionKind::FallsSilent, None);
        let links = &mut self.routing.presence.links;
        let id = links[silent].id;
        for shadow in heard {
            links[shadow].tied = Some(id);
        }
        self.routing.out.close(id);
    }
}
