//! A fan's items as one gateway gets them.

use route_core::{Course, FanView, LinkId};
use route_proto::attach::v1::{Delivery, DeliveryRun};

use crate::gateways::clock_offset::ClockOffset;
use crate::gateways::wire;
use crate::trace::Traced;

/// A run longer than this is not extended, so that messages can be cut between runs.
pub(super) const RUN_BYTES: usize = 128 << 10;

/// What some links of one gateway, whose clock this is, get of one fan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) fan: &'a FanView<'a>,
    pub(crate) targets: &'a [LinkId],
    pub(crate) clock: ClockOffset,
    pub(crate) traced: &'a Traced,
}

impl<'a> Part<'a> {
    /// What its items take until they are packed.
    pub(super) fn bytes(self) -> usize {
        let items = self.fan.items.iter();
        items
            .map(|item| item.payload.cost() + size_of::<Delivery>())
            .sum()
    }

    /// It goes to the same links as the run, and follows it without a hole.
    pub(super) fn follows(self, run: &DeliveryRun) -> bool {
        run.origin == Some(wire::link(self.fan.origin))
            && run.late == (self.fan.course == Course::Late)
            && run.position + run.deliveries.len() as u64 == self.fan.position
            && run.targets.len() == self.targets.len()
            && run
                .targets
                .iter()
                .zip(self.targets)
                .all(|(a, b)| *a == b.number)
    }

    /// A run of its own.
    pub(super) fn run(self) -> DeliveryRun {
        DeliveryRun {
            origin: Some(wire::link(self.fan.origin)),
            targets: self.targets.iter().map(|target| target.number).collect(),
            position: self.fan.position,
            deliveries: self.deliveries().collect(),
            late: self.fan.course == Course::Late,
        }
    }

    /// Its items.
    pub(super) fn deliveries(self) -> impl ExactSizeIterator<Item = Delivery> + 'a {
        let Self {
            fan, clock, traced, ..
        } = self;
        fan.items.iter().map(move |item| {
            let traceparent = traced.traceparent(fan.origin, item.sequence);
            wire::delivery(item, clock, traceparent)
        })
    }
}
