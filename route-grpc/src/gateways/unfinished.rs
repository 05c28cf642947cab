//! An entry that is applied piece by piece, because it is long.
//!
//! Nothing newer of its gateway is applied before its end, whatever becomes of the stream that has
//! brought it. A link that ends with its gateway takes it along.

use std::collections::VecDeque;

use route_core::{Change, Effect, LinkError, LinkId, Receipt, Transaction};
use route_dialect::Dialect;
use route_proto::attach::v1::{SessionList, SessionTable};

use super::rows::Rows;
use crate::refusal::Refusal;

/// Sessions that are applied between two looks at what has been done.
const AT_ONCE: usize = 256;

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Unfinished {
    link: LinkId,
    sequence: u64,
    effect: Effect,
    content: Content,
    /// So many rows have been applied.
    done: usize,
    /// Until it is applied, its batch is not confirmed.
    receipt: Receipt,
}

/// What it consists of.
#[derive(Debug)]
pub(super) enum Content {
    /// A list, or a part of one.
    List(SessionList),
    /// All parts of a table that is restored.
    Table(VecDeque<SessionTable>),
}

impl Unfinished {
    /// Nothing of it is applied.
    pub(super) fn new(
        (link, sequence): (LinkId, u64),
        effect: Effect,
        content: Content,
        receipt: Receipt,
    ) -> Self {
        Self {
            link,
            sequence,
            effect,
            content,
            done: 0,
            receipt,
        }
    }

    /// Applies more of it, until so much has been done. True while there is more.
    pub(super) fn proceed(
        &mut self,
        core: &mut Transaction<'_>,
        dialect: &Dialect,
        until: u64,
    ) -> Result<bool, Refusal> {
        core.under(Some(self.receipt.clone()));
        while self.apply_piece(core, dialect)? {
            if core.view().work() >= until {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True while there are more.
    fn apply_piece(
        &mut self,
        core: &mut Transaction<'_>,
        dialect: &Dialect,
    ) -> Result<bool, Refusal> {
        let (link, sequence, effect) = (self.link, self.sequence, self.effect);
        match &mut self.content {
            Content::List(list) => {
                let (entries, is_last) = piece(list, link, dialect, &mut self.done)?;
                let change = Change::List {
                    entries: &entries,
                    last: list.last && is_last,
                };
                core.apply(link, sequence, change, effect)
                    .map_err(unlike_sequences)?;
                Ok(!is_last)
            }
            Content::Table(parts) => {
                let mut entries = Vec::new();
                if let Some(part) = parts.front() {
                    let is_last;
                    (entries, is_last) = piece(part, link, dialect, &mut self.done)?;
                    if is_last {
                        parts.pop_front();
                        self.done = 0;
                    }
                }
                let change = Change::Table {
                    entries: &entries,
                    last: parts.is_empty(),
                };
                core.apply(link, sequence, change, effect)
                    .map_err(unlike_sequences)?;
                Ok(!parts.is_empty())
            }
        }
    }
}

/// The gateway's sequences and the core agree about which links are open.
pub(super) fn unlike_sequences(error: LinkError) -> Refusal {
    debug_assert!(false, "{error}");
    Refusal::protocol(error.to_string())
}

/// Some rows after those that are done, and whether they are the last ones.
fn piece<R: Rows>(
    rows: &R,
    link: LinkId,
    dialect: &Dialect,
    done: &mut usize,
) -> Result<(Vec<R::Row>, bool), Refusal> {
    let count = rows.count(link)?;
    let from = *done;
    *done = count.min(from + AT_ONCE);
    let piece = (from..*done).map(|row| rows.row(link, dialect, row));
    Ok((piece.collect::<Result<_, _>>()?, *done == count))
}
