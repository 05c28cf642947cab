//! What clients did that only a link's table tells, as if they had reported it.

use crate::change::ReportedStatus;
use crate::presence::{Client, Logins, Presence, Sessions};

/// What is different when one link takes another one's place. If it was active already, its own
/// logins were notified when they came.
pub(super) fn differences(
    sessions: &Sessions,
    from: u32,
    to: u32,
    was_active: bool,
) -> Vec<(Client, ReportedStatus)> {
    let gone = sessions.of_link(from).filter_map(|(client, old)| {
        let new = sessions.logins(to, client);
        (new.visible() < old.visible()).then_some((client, ReportedStatus::Offline))
    });
    let come = sessions.of_link(to).filter_map(|(client, new)| {
        let old = sessions.logins(from, client);
        let changed = new.visible() > old.visible() || (new.online == 0) != (old.online == 0);
        (!was_active && new.visible() > 0 && changed).then_some((client, status(new)))
    });
    by_client(gone.chain(come))
}

/// What is different when this link begins or ends to be seen, and no other one takes its place.
pub(super) fn of_one(presence: &Presence, slot: u32) -> Vec<(Client, ReportedStatus)> {
    let is_active = presence.links[slot].is_active();
    let visible = presence.sessions.of_link(slot).filter(|(client, logins)| {
        let mut seen = presence.sessions.visible(client.user);
        logins.visible() > 0 && !seen.any(|(other, ..)| other != slot)
    });
    by_client(visible.map(|(client, logins)| {
        let status = if is_active {
            status(logins)
        } else {
            ReportedStatus::Offline
        };
        (client, status)
    }))
}

fn status(logins: Logins) -> ReportedStatus {
    if logins.online > 0 {
        ReportedStatus::Online
    } else {
        ReportedStatus::Away
    }
}

/// A node that does this again has to number the notices as its predecessor did.
fn by_client(all: impl Iterator<Item = (Client, ReportedStatus)>) -> Vec<(Client, ReportedStatus)> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable_by_key(|(client, _)| *client);
    all
}
