//! Promise 8: every queue has a bound, and keeps it.

use crate::connection::MOST_READ;
use crate::world::World;

/// What is kept of one read, at most: a short PDU costs several times its length.
const COST_OF_READ: usize = 6 * MOST_READ;

impl World {
    /// What a gateway keeps for the node to confirm has a limit, which one read of each link may exceed.
    pub(crate) fn check_bounds(&mut self) {
        for number in 0..self.gateways.len() {
            let Some(host) = &self.gateways[number] else {
                continue;
            };
            let links = self.connections.values().filter(|c| c.gateway == number);
            let limit = host.windows.total + links.count() * COST_OF_READ;
            let bytes = host.gateway.uplink.backlog().bytes;
            if bytes > limit {
                self.violate(format!(
                    "gateway {number} keeps {bytes} bytes, {limit} are allowed"
                ));
            }
        }
    }
}
