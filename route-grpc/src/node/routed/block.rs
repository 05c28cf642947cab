//! Envelopes that were routed one after the other, and the links that they name.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use route_core::memory::allocated;
use route_core::{LinkId, RoutedEnvelope, WhyNot};
use route_dialect::Command;

use super::named::Named;

/// Links that are noted of one envelope; more are counted.
pub(crate) const MOST_TARGETS: usize = 32;

/// Beside what is shared, the counts of its handles.
pub(super) const COUNTS: usize = 2 * size_of::<usize>();

/// What became of an envelope for one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Its gateway gets it.
    Queued,
    /// The same when its gateway, which was away, is back.
    WaitsForGateway,
    /// It waits for whoever takes the link's place.
    Held,
    /// Its gateway's queue was full.
    QueueFull,
    /// As much was held for it as may be.
    SeatFull,
}

impl Outcome {
    /// Nobody gets it.
    pub(crate) fn is_loss(self) -> bool {
        match self {
            Outcome::QueueFull | Outcome::SeatFull => true,
            Outcome::Queued | Outcome::WaitsForGateway | Outcome::Held => false,
        }
    }
}

/// One envelope.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    /// Where it was routed.
    pub(crate) position: u64,
    /// Microseconds since the node started.
    micros: u64,
    /// By its body; 0: nobody.
    pub(crate) sender: u32,
    pub(crate) receiver: u32,
    /// Links that were to get it, and how many of these do not for lack of room.
    pub(crate) links: u32,
    pub(crate) dropped: u32,
    /// Those for which it was held, or was to be.
    pub(crate) held: u32,
    /// Users of whom no link held anything.
    pub(crate) unknown_users: u32,
    /// Of its noted targets, the first one's place.
    first_target: u32,
    /// Its place among the links; none: a service sent it.
    origin: Option<Place>,
    /// Its id.
    pub(crate) command_id: u16,
    /// What that is, in the dialect of whoever sent it.
    pub(crate) command: Option<Command>,
    noted_targets: u8,
    /// The receiver is a group.
    pub(crate) of_group: bool,
    /// Its body could not be read.
    pub(crate) unparsed: bool,
    /// Why nobody was to get it.
    pub(crate) nobody: Option<WhyNot>,
}

/// Of a link in a block.
type Place = std::num::NonZeroU16;

impl Noted {
    /// When it was routed, since the node started.
    pub(crate) fn at(&self) -> Duration {
        Duration::from_micros(self.micros)
    }
}

/// A link that is named in a block.
#[derive(Debug, Clone)]
pub(crate) struct NamedLink {
    /// Which one.
    pub(crate) id: LinkId,
    /// What tells its MsgServer apart.
    pub(crate) msg_server: Arc<str>,
}

/// Envelopes, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Block {
    envelopes: Vec<Noted>,
    targets: Vec<(Place, Outcome)>,
    links: Vec<NamedLink>,
    /// Places of the links; only while the block is open.
    places: HashMap<LinkId, Place>,
    /// What the texts take.
    text_bytes: usize,
}

impl Block {
    /// An empty one with room for so many bytes of envelopes, at once: what grows leaves holes.
    pub(super) fn with_room_for(bytes: usize) -> Self {
        Self {
            envelopes: Vec::with_capacity(bytes / size_of::<Noted>()),
            ..Self::default()
        }
    }

    /// There is no room for one more, or its links take so many bytes.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        let links = size_of_val(self.targets.as_slice())
            + size_of_val(self.links.as_slice())
            + self.text_bytes;
        self.envelopes.len() == self.envelopes.capacity() || links >= bytes
    }

    /// Adds an envelope.
    pub(super) fn push(
        &mut self,
        at: Duration,
        envelope: &RoutedEnvelope<'_>,
        named: Named,
        msg_server: impl Fn(LinkId) -> String,
        mut outcome: impl FnMut(LinkId) -> Outcome,
    ) {
        let first_target = self.targets.len();
        let mut dropped = 0;
        let held = envelope.held.iter().map(|it| match it.full {
            true => (it.link, Outcome::SeatFull),
            false => (it.link, Outcome::Held),
        });
        let queued = envelope.targets.iter();
        let queued = queued.map(|link| (*link, outcome(*link)));
        // What waits or is lost is what is asked for.
        for (number, (link, outcome)) in held.chain(queued).enumerate() {
            dropped += u32::from(outcome.is_loss());
            if number < MOST_TARGETS
                && let Some(place) = self.place(link, || msg_server(link))
            {
                self.targets.push((place, outcome));
            }
        }
        let origin = envelope.origin;
        let origin = origin.and_then(|it| self.place(it.id, || it.msg_server.clone()));
        self.envelopes.push(Noted {
            position: envelope.position,
            micros: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
            sender: named.sender,
            receiver: named.receiver,
            links: count(envelope.targets.len() + envelope.held.len()),
            dropped,
            held: count(envelope.held.len()),
            unknown_users: envelope.unknown_users,
            first_target: count(first_target),
            origin,
            command_id: envelope.command.id,
            command: named.command,
            noted_targets: (self.targets.len() - first_target) as u8,
            of_group: named.of_group,
            unparsed: named.unparsed,
            nobody: envelope.nobody,
        });
    }

    /// Where this link stands. A block is closed long before there is no place.
    fn place(&mut self, id: LinkId, msg_server: impl FnOnce() -> String) -> Option<Place> {
        if let Some(place) = self.places.get(&id) {
            return Some(*place);
        }
        let msg_server: Arc<str> = msg_server().into();
        let place = u16::try_from(self.links.len() + 1).ok();
        let place = place.and_then(Place::new)?;
        self.text_bytes += allocated(COUNTS + msg_server.len());
        self.links.push(NamedLink { id, msg_server });
        self.places.insert(id, place);
        Some(place)
    }

    /// Nothing is added any more.
    pub(super) fn closed(mut self) -> Self {
        self.places = HashMap::new();
        self.envelopes.shrink_to_fit();
        self.targets.shrink_to_fit();
        self.links.shrink_to_fit();
        self
    }

    /// A copy to be read.
    pub(super) fn copy(&self) -> Self {
        Self {
            envelopes: self.envelopes.clone(),
            targets: self.targets.clone(),
            links: self.links.clone(),
            places: HashMap::new(),
            text_bytes: self.text_bytes,
        }
    }

    /// The oldest one.
    pub(super) fn first(&self) -> Option<&Noted> {
        self.envelopes.first()
    }

    /// Those that were routed before this position, newest first.
    pub(crate) fn before(&self, position: u64) -> impl Iterator<Item = &Noted> {
        let older = self.envelopes.partition_point(|it| it.position < position);
        self.envelopes[..older].iter().rev()
    }

    /// Who has sent one of these; none: a service.
    pub(crate) fn origin(&self, noted: &Noted) -> Option<&NamedLink> {
        Some(self.link(noted.origin?))
    }

    /// Where one of these was to go, the first [`MOST_TARGETS`].
    pub(crate) fn targets(&self, noted: &Noted) -> impl Iterator<Item = (&NamedLink, Outcome)> {
        let first = noted.first_target as usize;
        let targets = self.targets[first..].iter();
        let noted = targets.take(noted.noted_targets.into());
        noted.map(|(place, outcome)| (self.link(*place), *outcome))
    }

    fn link(&self, place: Place) -> &NamedLink {
        &self.links[usize::from(place.get()) - 1]
    }

    /// What it takes beside itself.
    pub(super) fn bytes(&self) -> usize {
        let vectors = [
            self.envelopes.capacity() * size_of::<Noted>(),
            self.targets.capacity() * size_of::<(Place, Outcome)>(),
            self.links.capacity() * size_of::<NamedLink>(),
            self.places.allocation_size(),
        ];
        vectors.map(allocated).iter().sum::<usize>() + self.text_bytes
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
