//! Status queries that wait for their answers.

use std::collections::VecDeque;

use route_core::memory::allocated;
use route_core::{LinkId, Transaction};
use route_proto::attach::v1::StatusQuery;

use crate::trace::Traced;

/// Users that are looked up between two looks at what has been done.
const AT_ONCE: usize = 256;

/// In order.
#[derive(Debug, Default)]
pub(crate) struct OpenQueries {
    all: VecDeque<OpenQuery>,
    /// Of the first one, as far as it is answered.
    online: Vec<bool>,
    bytes: usize,
}

/// A query whose answer has to wait.
#[derive(Debug)]
pub(crate) struct OpenQuery {
    pub(super) link: LinkId,
    pub(super) sequence: u64,
    pub(super) query: StatusQuery,
}

impl OpenQuery {
    fn bytes(&self) -> usize {
        size_of::<Self>()
            + allocated(self.query.user_ids.capacity() * size_of::<u32>())
            + allocated(self.query.traceparent.capacity())
    }
}

impl OpenQueries {
    /// One more waits.
    pub(super) fn push(&mut self, open: OpenQuery) {
        self.bytes += open.bytes();
        self.all.push_back(open);
    }

    /// Those wait, too, after these.
    pub(crate) fn append(&mut self, mut others: Self) {
        self.bytes += others.bytes;
        self.all.append(&mut others.all);
    }

    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// None waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Answers them, until so much has been done. True while there are more.
    pub(crate) fn answer(
        &mut self,
        core: &mut Transaction<'_>,
        traced: &mut Traced,
        until: u64,
    ) -> bool {
        while let Some(open) = self.all.front() {
            let users = &open.query.user_ids;
            while self.online.len() < users.len() {
                if core.view().work() >= until {
                    return true;
                }
                let rest = &users[self.online.len()..];
                let some = &rest[..rest.len().min(AT_ONCE)];
                let online = core.view().legacy_online_for(open.link, some);
                self.online.extend(online);
            }
            let online = std::mem::take(&mut self.online);
            self.bytes -= open.bytes();
            let Some(open) = self.all.pop_front() else {
                return false;
            };
            traced.answer(open.link, open.sequence, open.query.traceparent);
            core.answer(open.link, open.sequence, online);
        }
        false
    }
}
