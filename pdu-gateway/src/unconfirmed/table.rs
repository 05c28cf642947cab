//! What one link holds, as of its confirmed cut: the gateway's copy, from which a node that knows nothing is told.
//!
//! The rules are those of the node's own table (route-core); this one is only ever replayed, never asked. Twelve
//! bytes a session.
//!
//! Architecture invariant: no link's table is shared, and nothing here makes notices.

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table};
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    ReportedStatus, RestoredLink, SessionList, SessionState, SessionTable, SessionUpdate,
};
use std::hash::BuildHasher;

use crate::pdu::translate::LIST_PART;

/// Most sessions that are kept of a link, as many as a node keeps unless it is told otherwise. Of one that reports more a
/// new node is told that its table cannot be trusted, so that it gets everything.
const MOST: usize = 1_000_000;

/// One link's state that entries build up.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// What the link has done, beside its sessions, and whose place it has taken.
    pub link: RestoredLink,
    rows: HashTable<Row>,
    /// It has reported more than is kept.
    overflows: bool,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    user: u32,
    online: u16,
    away: u16,
    hidden: u16,
    client_type: u8,
    /// Were online and were marked as away; at most 255, more are simply away.
    left: u8,
}

impl Row {
    fn is_empty(&self) -> bool {
        self.online == 0 && self.absent() == 0 && self.hidden == 0
    }

    fn absent(&self) -> u16 {
        self.away.saturating_add(u16::from(self.left))
    }

    /// Ends an absence, or is one more login.
    fn come(&mut self) {
        if self.left > 0 {
            self.left -= 1;
        } else {
            self.away = self.away.saturating_sub(1);
        }
        self.online = self.online.saturating_add(1);
    }

    fn leave(&mut self) {
        if self.online == 0 {
            // Nobody was left to go away: this is a client of its own, and so were those that seemed to have left.
            self.online = self.left.into();
            self.away = self.absent().saturating_add(1);
            self.left = 0;
        } else if self.left < u8::MAX {
            self.online -= 1;
            self.left += 1;
        } else {
            self.online -= 1;
            self.away = self.away.saturating_add(1);
        }
    }

    /// A visible login before a hidden one; an absent client before an active one.
    fn log_out(&mut self) {
        if self.left > 0 {
            self.left -= 1;
        } else if self.away > 0 {
            self.away -= 1;
        } else if self.online > 0 {
            self.online -= 1;
        } else {
            self.hidden = self.hidden.saturating_sub(1);
        }
    }
}

impl Table {
    /// Applies what the link did. Entries that change no state are ignored.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::List(list) => self.list(list),
            Entry::Update(update) => self.update(update),
            Entry::Role(role) => self.link.claimed |= role.claimed,
            Entry::Unreadable(_) => self.link.opaque = true,
            Entry::Silence(report) => self.link.silent = report.silent,
            Entry::Opened(_)
            | Entry::Closed(_)
            | Entry::Table(_)
            | Entry::Query(_)
            | Entry::Envelope(_)
            | Entry::Returned(_) => {}
        }
    }

    /// The sessions in parts, by user, so that what a node does with them can be repeated; at least one
    /// part, the last says so. Which of the absent logins had been
    /// online before is not told: it matters only if one more goes away while nobody is online.
    pub fn replay(&self) -> Vec<SessionTable> {
        let mut parts = vec![SessionTable::default()];
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|row| (row.user, row.client_type));
        for row in rows {
            for (state, logins) in [
                (SessionState::Online, row.online),
                (SessionState::Away, row.absent()),
                (SessionState::Hidden, row.hidden),
            ] {
                if logins == 0 {
                    continue;
                }
                if parts.last().is_none_or(|p| p.user_ids.len() == LIST_PART) {
                    parts.push(SessionTable::default());
                }
                if let Some(part) = parts.last_mut() {
                    part.user_ids.push(row.user);
                    part.client_types.push(u32::from(row.client_type));
                    part.states.push(state.into());
                    part.logins.push(u32::from(logins));
                }
            }
        }
        if let Some(part) = parts.last_mut() {
            part.last = true;
        }
        parts
    }

    /// How many sessions, hidden ones included.
    pub fn sessions(&self) -> usize {
        self.rows.len()
    }

    fn list(&mut self, list: &SessionList) {
        self.link.reported = true;
        let first_list = !self.link.listed;
        let rows = list.user_ids.iter().zip(&list.client_types);
        for ((user, client_type), status) in rows.zip(&list.statuses) {
            let status = ReportedStatus::try_from(*status).unwrap_or_default();
            self.change(*user, *client_type, |row| match status {
                ReportedStatus::Offline if first_list => row.hidden = row.hidden.saturating_add(1),
                ReportedStatus::Offline => row.log_out(),
                ReportedStatus::Away => row.away = row.away.saturating_add(1),
                ReportedStatus::Online | ReportedStatus::Unspecified => {
                    row.online = row.online.saturating_add(1);
                }
            });
        }
        if list.last {
            self.link.listed = true;
            self.link.opaque = self.overflows;
        }
    }

    fn update(&mut self, update: &SessionUpdate) {
        self.link.reported = true;
        self.change(update.user_id, update.client_type, |row| {
            match update.status() {
                ReportedStatus::Offline => row.log_out(),
                ReportedStatus::Away => row.leave(),
                ReportedStatus::Online | ReportedStatus::Unspecified => row.come(),
            }
        });
    }

    fn change(&mut self, user: u32, client_type: u32, change: impl FnOnce(&mut Row)) {
        // Wider client types do not come out of the translation.
        let client_type = client_type as u8;
        let hash = |row: &Row| self.hasher.hash_one((row.user, row.client_type));
        let new = Row {
            user,
            online: 0,
            away: 0,
            hidden: 0,
            client_type,
            left: 0,
        };
        let same = |row: &Row| row.user == user && row.client_type == client_type;
        let is_full = self.rows.len() >= MOST;
        let entry = self.rows.entry(hash(&new), same, hash);
        if is_full && matches!(entry, hash_table::Entry::Vacant(_)) {
            (self.overflows, self.link.opaque) = (true, true);
            return;
        }
        let mut entry = entry.or_insert(new);
        change(entry.get_mut());
        if entry.get().is_empty() {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use route_proto::attach::v1::{RoleReport, Unreadable};

    use super::*;

    const ONLINE: i32 = ReportedStatus::Online as i32;
    const AWAY: i32 = ReportedStatus::Away as i32;

    #[test]
    fn offline_in_the_first_list_is_a_hidden_login() {
        let mut table = Table::default();

        table.apply(&list(&[(7, 1, 2), (8, 1, 1)], true));
        assert_eq!(sessions(&table), [(7, 1, 3, 1), (8, 1, 1, 1)]);

        table.apply(&list(&[(7, 1, 2), (8, 1, 2)], true));
        assert_eq!(sessions(&table), []);
    }

    #[test]
    fn away_marks_a_login_and_online_brings_it_back() {
        let mut table = Table::default();
        table.apply(&update(7, 1, ONLINE));

        table.apply(&update(7, 1, AWAY));
        assert_eq!(sessions(&table), [(7, 1, 2, 1)]);

        table.apply(&update(7, 1, ONLINE));
        assert_eq!(sessions(&table), [(7, 1, 1, 1)]);
    }

    #[test]
    fn flags_follow_what_the_link_did() {
        let mut table = Table::default();
        table.apply(&Entry::Role(RoleReport { claimed: true }));
        table.apply(&Entry::Unreadable(Unreadable {}));
        assert!(
            table.link.claimed && table.link.opaque && !table.link.reported && !table.link.listed
        );

        table.apply(&list(&[], false));
        assert!(table.link.reported && table.link.opaque && !table.link.listed);

        table.apply(&list(&[], true));
        assert!(table.link.claimed && table.link.listed && !table.link.opaque);
    }

    #[test]
    fn a_long_table_is_replayed_in_parts() {
        let mut table = Table::default();
        for user in 0..=LIST_PART as u32 {
            table.apply(&update(user, 1, ONLINE));
        }

        let parts = table.replay();

        let lengths: Vec<_> = parts.iter().map(|part| part.user_ids.len()).collect();
        assert_eq!(lengths, [LIST_PART, 1]);
        assert!(parts[1].last && !parts[0].last);
    }

    #[test]
    fn of_more_sessions_than_are_kept_it_is_said_that_there_are_more() {
        let mut table = Table::default();
        table.apply(&list(&[], true));
        for user in 0..=MOST as u32 {
            assert!(!table.link.opaque);
            table.apply(&update(user, 1, ONLINE));
        }
        assert_eq!(table.sessions(), MOST);
        assert!(table.link.opaque);
        // Those that are kept still change.
        table.apply(&update(7, 1, ReportedStatus::Offline as i32));
        table.apply(&list(&[], true));
        assert_eq!(table.sessions(), MOST - 1);
        assert!(table.link.opaque, "some are missing");
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_map(
            steps in proptest::collection::vec((any::<bool>(), 0..4_u32, 1..3_u32, 1..=3_i32), 0..60),
        ) {
            let mut table = Table::default();
            // (user, client type) -> online, away, hidden, left
            let mut model: BTreeMap<(u32, u32), [u32; 4]> = BTreeMap::new();
            let mut listed = false;
            for (in_list, user, client_type, status) in steps {
                table.apply(&if in_list {
                    list(&[(user, client_type, status)], true)
                } else {
                    update(user, client_type, status)
                });
                let row = model.entry((user, client_type)).or_default();
                match (in_list, status) {
                    (true, ONLINE) => row[0] += 1,
                    (true, AWAY) => row[1] += 1,
                    (true, _) if !listed => row[2] += 1,
                    (false, ONLINE) => {
                        let back = if row[3] > 0 { 3 } else { 1 };
                        row[back] = row[back].saturating_sub(1);
                        row[0] += 1;
                    }
                    (false, AWAY) if row[0] > 0 => {
                        row[0] -= 1;
                        row[3] += 1;
                    }
                    (false, AWAY) => *row = [row[3], row[1] + row[3] + 1, row[2], 0],
                    _ => {
                        let kind = [3, 1, 0, 2].into_iter().find(|kind| row[*kind] > 0);
                        if let Some(kind) = kind {
                            row[kind] -= 1;
                        }
                    }
                }
                listed |= in_list;
            }

            let expected: Vec<_> = model
                .iter()
                .flat_map(|((user, client_type), row)| {
                    [(1, row[0]), (2, row[1] + row[3]), (3, row[2])]
                        .map(|(state, logins)| (*user, *client_type, state, logins))
                })
                .filter(|(.., logins)| *logins > 0)
                .collect();
            prop_assert_eq!(sessions(&table), expected);
        }
    }

    /// (user, client type, state, logins), sorted.
    fn sessions(table: &Table) -> Vec<(u32, u32, i32, u32)> {
        let mut sessions = Vec::new();
        for part in table.replay() {
            for at in 0..part.user_ids.len() {
                sessions.push((
                    part.user_ids[at],
                    part.client_types[at],
                    part.states[at],
                    part.logins[at],
                ));
            }
        }
        sessions.sort_unstable();
        sessions
    }

    fn list(entries: &[(u32, u32, i32)], last: bool) -> Entry {
        Entry::List(SessionList {
            user_ids: entries.iter().map(|entry| entry.0).collect(),
            client_types: entries.iter().map(|entry| entry.1).collect(),
            statuses: entries.iter().map(|entry| entry.2).collect(),
            last,
        })
    }

    fn update(user_id: u32, client_type: u32, status: i32) -> Entry {
        Entry::Update(SessionUpdate {
            user_id,
            client_type,
            status,
        })
    }
}
