//! A gateway in front of a leader's door, until it is let in or goes.

use crate::gateways::hello::{Hello, Objection};
use crate::node::{Node, Transaction};
use crate::tenure::{Arrival, Member};

/// One stream's place there.
#[derive(Debug)]
pub(super) struct AtDoor<'a> {
    node: &'a Node,
    member: Member,
    welcomed_by: u64,
    /// None: it has not come yet, or is inside.
    arrival: Option<Arrival>,
}

impl<'a> AtDoor<'a> {
    /// It has not come yet.
    pub(super) fn new(node: &'a Node, hello: &Hello) -> Self {
        Self {
            node,
            member: Member {
                id: hello.id.clone(),
                incarnation: hello.incarnation,
            },
            welcomed_by: hello.term,
            arrival: None,
        }
    }

    /// Whether it may enter now. Without a door everybody may.
    pub(super) fn may_enter(
        &mut self,
        transaction: &mut Transaction<'_>,
    ) -> Result<bool, Objection> {
        let most = self.node.process.settings.max_gateways;
        let Some(door) = &mut *transaction.door else {
            return Ok(true);
        };
        if let Some(arrival) = self.arrival {
            if door.lets_in(&self.member, arrival) {
                return Ok(true);
            }
            if arrival != Arrival::In {
                return Ok(false);
            }
            // A write has left it out since.
            self.arrival = None;
        } else if door.len() >= most && !door.has_inside(&self.member) {
            return Err(Objection::TooMany);
        }
        let arrival = door.comes(&self.member, self.welcomed_by);
        self.arrival = Some(arrival);
        Ok(arrival == Arrival::In)
    }

    /// It is inside.
    pub(super) fn entered(&mut self, transaction: &mut Transaction<'_>) {
        if let Some(door) = &mut *transaction.door {
            door.entered(&self.member);
            if let Some(Arrival::After(_)) = self.arrival.take() {
                door.leaves(&self.member);
            }
        }
    }
}

impl Drop for AtDoor<'_> {
    /// It waits no longer.
    fn drop(&mut self) {
        if let Some(Arrival::After(_)) = self.arrival {
            self.node.transact(|transaction, _| {
                if let Some(door) = &mut *transaction.door {
                    door.leaves(&self.member);
                }
            });
        }
    }
}
