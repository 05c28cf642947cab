//! What did not fit into queues, in one transaction.

use std::ops::Range;

use route_core::{Course, FanView};

/// Positions of what was routed, and the gateway whose queue was full; in order.
#[derive(Debug, Default)]
pub(super) struct Full(Vec<(Range<u64>, u64)>);

impl Full {
    /// There was no room for a fan at this gateway. What comes late was routed before.
    pub(super) fn note(&mut self, fan: &FanView<'_>, gateway: u64) {
        if fan.course == Course::Direct {
            let positions = fan.position..fan.position + fan.items.len() as u64;
            self.0.push((positions, gateway));
        }
    }

    /// There was no room at this gateway for what was routed at this position.
    pub(super) fn has(&self, position: u64, gateway: u64) -> bool {
        let first = self.0.partition_point(|(it, _)| it.end <= position);
        let mut of_position = self.0[first..]
            .iter()
            .take_while(|(it, _)| it.contains(&position));
        of_position.any(|(_, full)| *full == gateway)
    }

    /// The next transaction begins.
    pub(super) fn clear(&mut self) {
        // A burst's memory is not kept.
        self.0 = Vec::new();
    }
}
