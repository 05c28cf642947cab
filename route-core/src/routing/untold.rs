//! Users of whom MsgServers are told later, once, as things are then.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{LinkId, UserId};
use crate::output::Outputs;
use crate::receipt::Receipt;

/// What notices would have been about.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    users: BTreeMap<UserId, Subject>,
}

/// One user of whom something is to be told.
#[derive(Debug, Default)]
pub(super) struct Subject {
    /// A desktop client is concerned: 0x0203 is told, too.
    pub(super) of_desktop: bool,
    /// To whom.
    pub(super) to: Whom,
    /// Of what caused it.
    pub(super) receipts: BTreeSet<Receipt>,
}

/// Who is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// Every MsgServer that such a notice concerns.
    Everybody,
    /// The MsgServers of these closed links: only they have missed something.
    Only(BTreeSet<LinkId>),
}

impl Default for Whom {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Untold {
    /// Something is to be told of this user, because of what is being done.
    pub(super) fn note(&mut self, user: UserId, of_desktop: bool, out: &Outputs) {
        let subject = self.subject(user, of_desktop, out);
        subject.to = Whom::Everybody;
    }

    /// A notice of this user has not been written to this link, which is closed.
    pub(super) fn note_unwritten(&mut self, user: UserId, closed: LinkId, out: &Outputs) {
        let subject = self.subject(user, true, out);
        if let Whom::Only(links) = &mut subject.to {
            links.insert(closed);
        }
    }

    fn subject(&mut self, user: UserId, of_desktop: bool, out: &Outputs) -> &mut Subject {
        let subject = self.users.entry(user).or_default();
        subject.of_desktop |= of_desktop;
        out.work.steps(out.causes().len() + 1);
        subject.receipts.extend(out.causes().iter().cloned());
        subject
    }

    /// Takes the next one, by user.
    pub(super) fn take_next(&mut self) -> Option<(UserId, Subject)> {
        self.users.pop_first()
    }
}
