//! Gateways that an operator drains: they take no connections.
//!
//! That is a property of one life of a gateway, and of this node: the gateway's next life takes connections, and so does the
//! gateway when it finds another node.

use super::Gateways;
use crate::refusal::Refusal;

impl Gateways {
    /// A gateway takes no connections from now on. Returns which life of it. Refused if none of the others does, either.
    pub(crate) fn drain(&mut self, id: &str) -> Result<u64, Refusal> {
        let incarnation = self.incarnation(id)?;
        let takes = |(other, it): (&u64, &super::Gateway)| {
            *other != incarnation && it.reach().is_attached() && !it.draining
        };
        if !self.by_incarnation.iter().any(takes) {
            return Err(Refusal::NoOtherGateway {
                gateway: id.to_owned(),
            });
        }
        self.set_draining(incarnation, true);
        Ok(incarnation)
    }

    /// It takes them again. Returns which life of it.
    pub(crate) fn undo_drain(&mut self, id: &str) -> Result<u64, Refusal> {
        let incarnation = self.incarnation(id)?;
        self.set_draining(incarnation, false);
        Ok(incarnation)
    }

    fn set_draining(&mut self, incarnation: u64, on: bool) {
        if let Some(gateway) = self.by_incarnation.get_mut(&incarnation) {
            gateway.draining = on;
        }
        if let Some(queue) = self.queue_of(incarnation) {
            queue.drain(on);
        }
    }

    fn incarnation(&self, id: &str) -> Result<u64, Refusal> {
        let unknown = || Refusal::NotFound {
            what: format!("gateway {id:?}"),
        };
        self.by_id.get(id).copied().ok_or_else(unknown)
    }
}
