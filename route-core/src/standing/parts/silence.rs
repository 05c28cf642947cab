//! What is done about links of which nothing is heard.

use super::Parts;
use crate::change::Effect;
use crate::routing::Cause;
use crate::standing::hearing;
use crate::transition::TransitionKind;

impl Parts<'_> {
    /// Nothing is heard of a link, or something is again.
    pub(crate) fn silence(&mut self, slot: u32, sequence: u64, silent: bool, effect: Effect) {
        let link = &mut self.routing.presence.links[slot];
        link.silent = silent;
        let id = link.id;
        // One that is heard again may be what tells that another one is cut.
        let judged = if silent {
            vec![slot]
        } else {
            hearing::silent_before(self.standing(), slot)
        };
        for silent in judged {
            if let Some(heir) = hearing::successor(self.standing(), silent) {
                self.inherit(silent, heir, Cause::entry(id, sequence), effect);
            } else if hearing::is_cut(self.standing(), silent) {
                self.notes(silent, TransitionKind::FallsSilent, None);
                let id = self.routing.presence.links[silent].id;
                self.routing.out.close(id);
            }
        }
    }

    /// Of two MsgServers with one name, both stand: else each would have the other one's links closed.
    pub(super) fn find_rival(&mut self, slot: u32) {
        let Some(rival) = hearing::rival(self.standing(), slot, self.now) else {
            return;
        };
        let links = &mut self.routing.presence.links;
        links.are_rivals(slot, rival);
        let other = links[rival].id;
        self.notes(slot, TransitionKind::SharesName, Some(other));
    }
}
