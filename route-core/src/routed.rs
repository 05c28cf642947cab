//! Where envelopes went, for those who ask later.

use std::ops::Range;

use bytes::Bytes;

use crate::event_log::Event;
use crate::ids::{Command, LinkId};
use crate::status::LinkView;

/// An envelope that was routed, and where it went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoutedEnvelope<'a> {
    /// Where it was routed; later ones have higher positions.
    pub position: u64,
    /// Who sent it; none if a service did.
    pub origin: Option<&'a LinkView>,
    /// What it is.
    pub command: Command,
    /// The whole PDU.
    pub pdu: &'a Bytes,
    /// Links that get it at once, sorted.
    pub targets: &'a [LinkId],
    /// Links and seats for which it was to be held.
    pub held: &'a [HeldFor],
    /// Users of its audience of whom no link, whatever its part, held anything; those of other audiences are
    /// not looked for.
    pub unknown_users: u32,
    /// If it went to nobody, why: none if there was no link that receives.
    pub nobody: Option<WhyNot>,
}

/// Why a link is no target.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WhyNot {
    /// It has sent it.
    Origin,
    /// It is of the MsgServer that has sent it.
    OriginMsgServer,
    /// Another link stands for its MsgServer.
    Shadow,
    /// Another link stands in for it.
    Waiting,
    /// It has none of the users.
    HasNoUsers,
    /// It has never reported a user.
    NeverReported,
    /// It has no users.
    HasNoSessions,
    /// It has no users with a desktop client.
    HasNoDesktops,
}

/// Something was to be held for a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldFor {
    /// Which one.
    pub link: LinkId,
    /// As much was held as may be: it was dropped.
    pub full: bool,
}

/// Where an envelope went, as places in the outputs.
#[derive(Debug)]
pub(crate) struct Way {
    /// Of the event that tells of it.
    pub(crate) event: usize,
    pub(crate) position: u64,
    pub(crate) targets: Range<usize>,
    pub(crate) held: Range<usize>,
    pub(crate) unknown_users: u32,
    pub(crate) nobody: Option<WhyNot>,
}

/// Those of all envelopes among the events, in order.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    ways: Vec<Way>,
    held: Vec<HeldFor>,
}

impl Ways {
    /// An item that was just routed is held for this link. `full`: it was not, for lack of room.
    pub(crate) fn hold(&mut self, link: LinkId, full: bool) {
        self.held.push(HeldFor { link, full });
    }

    /// Where the next one stands that is [held](Self::hold).
    pub(crate) fn held_end(&self) -> usize {
        self.held.len()
    }

    /// An envelope went so.
    pub(crate) fn add(&mut self, way: Way) {
        self.ways.push(way);
    }

    /// Forgets everything; keeps the memory, unless a burst made it unusually large.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 64 * 1024;
        self.ways.clear();
        self.held.clear();
        self.ways.shrink_to(KEPT);
        self.held.shrink_to(KEPT);
    }

    /// With what stands at these places.
    pub(crate) fn shown<'a>(
        &'a self,
        events: &'a [Event],
        targets: &'a [LinkId],
    ) -> impl Iterator<Item = RoutedEnvelope<'a>> {
        let shown = |way: &'a Way| {
            let Some(Event::Envelope {
                origin,
                command,
                pdu,
            }) = events.get(way.event)
            else {
                debug_assert!(false, "an envelope without its event");
                return None;
            };
            Some(RoutedEnvelope {
                position: way.position,
                origin: origin.as_deref(),
                command: *command,
                pdu,
                targets: targets.get(way.targets.clone())?,
                held: self.held.get(way.held.clone())?,
                unknown_users: way.unknown_users,
                nobody: way.nobody,
            })
        };
        self.ways.iter().filter_map(shown)
    }
}
