//! Users of whom MsgServers are told later, once, as things are then.

use std::collections::BTreeMap;

use crate::ids::UserId;
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
    /// Of what caused it.
    pub(super) receipts: Vec<Receipt>,
}

impl Untold {
    /// Something is to be told of this user, because of what is being done.
    pub(super) fn note(&mut self, user: UserId, of_desktop: bool, out: &Outputs) {
        let subject = self.users.entry(user).or_default();
        subject.of_desktop |= of_desktop;
        for receipt in out.causes() {
            if !subject.receipts.contains(receipt) {
                subject.receipts.push(receipt.clone());
            }
        }
    }

    /// Everybody, by user.
    pub(super) fn into_subjects(self) -> impl Iterator<Item = (UserId, Subject)> {
        self.users.into_iter()
    }
}
