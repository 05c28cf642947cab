//! The rows of lists and tables, as they stand on the wire: in columns.

use route_core::{LinkId, ListEntry, TableEntry, UserId};
use route_dialect::Dialect;
use route_proto::attach::v1::{SessionList, SessionState, SessionTable};

use super::wire::{read_client_type, read_status};
use crate::refusal::Refusal;

/// A message with rows.
pub(super) trait Rows {
    type Row;

    /// How many there are. Refuses columns of different lengths.
    fn count(&self, link: LinkId) -> Result<usize, Refusal>;

    /// One of them.
    fn row(&self, link: LinkId, dialect: &Dialect, row: usize) -> Result<Self::Row, Refusal>;

    /// Refuses what one of them cannot be.
    fn check(&self, link: LinkId, dialect: &Dialect) -> Result<(), Refusal> {
        let mut rows = 0..self.count(link)?;
        rows.try_for_each(|row| self.row(link, dialect, row).map(|_| ()))
    }
}

impl Rows for SessionList {
    type Row = ListEntry;

    fn count(&self, link: LinkId) -> Result<usize, Refusal> {
        let (types, statuses) = (self.client_types.len(), self.statuses.len());
        check_lengths("entries.list", link, [self.user_ids.len(), types, statuses])
    }

    fn row(&self, link: LinkId, dialect: &Dialect, row: usize) -> Result<ListEntry, Refusal> {
        const TYPES: &str = "entries.list.client_types";
        Ok(ListEntry {
            user: UserId(self.user_ids[row]),
            client_type: read_client_type(TYPES, link, dialect, self.client_types[row])?,
            status: read_status("entries.list.statuses", link, self.statuses[row])?,
        })
    }
}

impl Rows for SessionTable {
    type Row = TableEntry;

    fn count(&self, link: LinkId) -> Result<usize, Refusal> {
        let (types, states) = (self.client_types.len(), self.states.len());
        let columns = [self.user_ids.len(), types, states, self.logins.len()];
        check_lengths("entries.table", link, columns)
    }

    fn row(&self, link: LinkId, dialect: &Dialect, row: usize) -> Result<TableEntry, Refusal> {
        const TYPES: &str = "entries.table.client_types";
        let logins = u16::try_from(self.logins[row]).map_err(|_| {
            let problem = format!("link {link}: more than 65535 logins");
            Refusal::field("entries.table.logins", problem)
        })?;
        let mut entry = TableEntry {
            user: UserId(self.user_ids[row]),
            client_type: read_client_type(TYPES, link, dialect, self.client_types[row])?,
            online: 0,
            away: 0,
            hidden: 0,
        };
        match SessionState::try_from(self.states[row]) {
            Ok(SessionState::Online) => entry.online = logins,
            Ok(SessionState::Away) => entry.away = logins,
            Ok(SessionState::Hidden) => entry.hidden = logins,
            Ok(SessionState::Unspecified) | Err(_) => {
                let problem = format!("link {link}: a session in an unknown state");
                return Err(Refusal::field("entries.table.states", problem));
            }
        }
        Ok(entry)
    }
}

fn check_lengths<const N: usize>(
    field: &'static str,
    link: LinkId,
    columns: [usize; N],
) -> Result<usize, Refusal> {
    if columns.iter().all(|length| *length == columns[0]) {
        return Ok(columns[0]);
    }
    let problem = format!("link {link}: columns of unequal lengths {columns:?}");
    Err(Refusal::field(field, problem))
}
