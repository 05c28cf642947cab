//! Gateways that an operator drains: they take no connections.
//!
//! That is a property of one life of a gateway, and of this node: the gateway's next life takes connections, and so does the
//! gateway when it finds another node.

use super::Gateways;
use crate::refusal::Refusal;

impl Gateways {
    /// Another gateway than this one takes connections.
    pub(crate) fn another_takes(&self, incarnation: u64) -> bool {
        let mut others = self.by_incarnation.iter();
        others.any(|(other, it)| *other != incarnation && it.reach().is_attached() && !it.draining)
    }

    /// A gateway takes no connections from now on. Returns which life of it. Refused if none of the others does, either,
    /// unless that is so already.
    pub(crate) fn drain(&mut self, id: &str) -> Result<u64, Refusal> {
        let incarnation = self.incarnation(id)?;
        let drains = self.by_incarnation.get(&incarnation);
        let drains = drains.is_some_and(|gateway| gateway.draining);
        if !drains && !self.another_takes(incarnation) {
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
            what: "gateway with this id".to_owned(),
        };
        self.by_id.get(id).copied().ok_or_else(unknown)
    }
}
