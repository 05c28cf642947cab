//! Sessions follow their links, and MsgServers are told what is different by that.

use super::Routing;
use crate::ids::UserId;

impl Routing<'_> {
    /// Gives heirs what has waited for them, until so much has been done. True while there is more.
    pub(crate) fn pass_on(&mut self, until: u64) -> bool {
        let left = until.saturating_sub(self.work());
        let until = self.out.work.done() + left;
        self.successions.pass_on(until, self.out)
    }

    /// Sessions follow, a piece of those that are left. True while there are more.
    pub(crate) fn align_some(&mut self, until: u64) -> bool {
        while self.work() < until {
            let Some(user) = self.presence.next_lagging() else {
                return false;
            };
            self.align(user);
        }
        self.presence.is_lagging()
    }

    /// Those of these users do, who are about to change.
    pub(crate) fn align_all(&mut self, users: impl IntoIterator<Item = UserId>) {
        for user in users {
            if !self.presence.is_lagging() {
                return;
            }
            self.align(user);
        }
    }

    fn align(&mut self, user: UserId) {
        let Some(difference) = self.presence.align(user, self.out) else {
            return;
        };
        let of_desktop = difference.of_desktop;
        let before = self.out.also_caused_by(&difference.causes);
        self.is_different(user, of_desktop);
        self.out.no_more(before);
    }

    /// MsgServers are told how things are with a user now, though no link has reported it.
    /// `of_desktop`: a desktop client is concerned.
    pub(crate) fn is_different(&mut self, user: UserId, of_desktop: bool) {
        match self.untold {
            Some(untold) => untold.note(user, of_desktop, self.out),
            None => self.tell_state(user, of_desktop, None),
        }
    }
}
