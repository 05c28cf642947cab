//! The links: what is known of each, and which of them share an address.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::change::{CloseReason, Restored};
use crate::ids::LinkId;
use crate::outbox::{HeldRun, Taken};

/// Which part a link plays for its MsgServer. Only in directed mode; in broadcast mode every open link is active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// It receives, its sessions are presence, its updates cause notices.
    Active,
    /// It receives nothing, its table is kept silently: another link stands for its MsgServer.
    Shadow,
    /// It has claimed, but was away when another link of its MsgServer began to stand in for it. As long as that one is
    /// open, this one is a shadow. Only its own queries see its own table.
    Waiting {
        /// Slot of the other link.
        stand_in: u32,
    },
}

/// Where a link is in its life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its connection is open, as far as is known.
    Open(Part),
    /// Its connection is gone, its sessions stay for a while, what is routed to it is held for its successor.
    Seat(Seat),
    /// Only its sessions remain, to be removed piece by piece.
    Ended,
}

/// What a closed claimed link leaves for the next claim.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) until: Duration,
    pub(crate) held: Held,
    pub(crate) returns: Returns,
}

/// A successor gets nothing newer until everything that its predecessors could not be sent has come back.
#[derive(Debug)]
pub(crate) struct Settling {
    pub(crate) until: Duration,
    pub(crate) held: Held,
    pub(crate) returns: Returns,
    /// The link was active before it inherited, and what is older than this position comes late.
    pub(crate) late_before: u64,
}

/// What is to come back of closed links of a MsgServer.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    /// Those that may still give something back.
    pub(crate) awaited: Vec<LinkId>,
    /// What was written to those that have given back everything.
    pub(crate) taken: Vec<Taken>,
}

/// Deliveries that wait, in order of position.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) runs: Vec<HeldRun>,
    pub(crate) bytes: usize,
}

impl Held {
    /// Keeps the run, or returns how many items are dropped because there is no room.
    pub(crate) fn add(&mut self, limit: usize, run: HeldRun) -> u64 {
        let size: usize = run.items.iter().map(|item| item.payload.size()).sum();
        if self.bytes + size > limit {
            return run.items.len() as u64;
        }
        self.bytes += size;
        let place = self
            .runs
            .partition_point(|held| held.position <= run.position);
        self.runs.insert(place, run);
        0
    }

    pub(crate) fn items(&self) -> u64 {
        self.runs.iter().map(|run| run.items.len() as u64).sum()
    }
}

/// What a claiming link may still inherit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation {
    /// The first position that was routed to it by itself.
    pub(crate) from: u64,
    /// Not after this.
    pub(crate) until: Duration,
}

/// One MsgServer connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) peer: SocketAddr,
    pub(crate) phase: Phase,
    /// When it claimed, as in [`Restored`].
    pub(crate) claimed_at: i64,
    /// Highest sequence applied.
    pub(crate) sequence: u64,
    /// It has sent `IMRoleSet` with a master other than 0.
    pub(crate) claimed: bool,
    /// It has not claimed, but stands for its MsgServer since the link that had is gone or was away.
    pub(crate) stands_in: bool,
    /// It has ever sent a list or an update.
    pub(crate) reported: bool,
    /// Its first list is complete.
    pub(crate) listed: bool,
    /// A list is being sent in parts, and it is the first one.
    pub(crate) first_list: bool,
    /// Its table cannot be trusted, so it gets everything.
    pub(crate) opaque: bool,
    /// Its gateway's stream is broken.
    pub(crate) detached: bool,
    /// It claimed while nothing was there to inherit, so the link that it succeeds may be closed late.
    pub(crate) expects: Option<Expectation>,
    /// The first position that was routed to it since it became active.
    pub(crate) serves_from: u64,
    /// It has just inherited; what is routed to it waits.
    pub(crate) settling: Option<Settling>,
    pub(crate) opened: Duration,
    pub(crate) ended: CloseReason,
    /// How many notices were made of its end.
    pub(crate) loss_notices: u32,
}

impl Link {
    pub(crate) fn part(&self) -> Option<Part> {
        match self.phase {
            Phase::Open(part) => Some(part),
            Phase::Seat(_) | Phase::Ended => None,
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.part() == Some(Part::Active)
    }

    /// Its MsgServer has, or seems to have, no better one, and its users are known.
    pub(crate) fn leads(&self) -> bool {
        (self.claimed && self.listed) || self.stands_in
    }

    pub(crate) fn is_open(&self) -> bool {
        self.part().is_some()
    }

    /// The deliveries that wait, and what they wait for, if any may.
    pub(crate) fn holds(&self) -> Option<(&Held, &Returns)> {
        match (&self.phase, &self.settling) {
            (Phase::Seat(seat), _) => Some((&seat.held, &seat.returns)),
            (Phase::Open(_), Some(settling)) => Some((&settling.held, &settling.returns)),
            (Phase::Open(_), None) | (Phase::Ended, _) => None,
        }
    }

    /// Where deliveries wait, if they do.
    pub(crate) fn held(&mut self) -> Option<&mut Held> {
        match (&mut self.phase, &mut self.settling) {
            (Phase::Seat(seat), _) => Some(&mut seat.held),
            (Phase::Open(_), Some(settling)) => Some(&mut settling.held),
            (Phase::Open(_), None) | (Phase::Ended, _) => None,
        }
    }
}

/// All links, by slot, by id, in delivery order, by address.
///
/// A slot is a link's place in the arrays of this crate. It stays taken until the link's last session is removed.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slots: Vec<Option<Link>>,
    free: Vec<u32>,
    by_id: HashMap<LinkId, u32, RandomState>,
    /// Open links, sorted: by gateway, then number, as deliveries name them.
    order: Vec<(LinkId, u32)>,
    /// Open links and seats by IP address, oldest first.
    groups: HashMap<IpAddr, Vec<u32>, RandomState>,
    opaque: usize,
    detached: usize,
    /// Addresses that several links have had at a time, up to [`MOST_SHARED`].
    shared: HashSet<IpAddr, RandomState>,
}

/// Far more addresses than a site has MsgServers with several connections; those beyond count as having one.
const MOST_SHARED: usize = 65_536;

impl Links {
    /// Adds an open link. The id must not be taken.
    pub(crate) fn insert(
        &mut self,
        now: Duration,
        id: LinkId,
        sequence: u64,
        peer: SocketAddr,
        restored: Option<Restored>,
    ) -> u32 {
        let restored = restored.unwrap_or(Restored {
            claimed_at: None,
            reported: false,
            listed: false,
            opaque: false,
        });
        let link = Link {
            id,
            peer,
            phase: Phase::Open(Part::Active),
            claimed_at: restored.claimed_at.unwrap_or_default(),
            sequence,
            claimed: restored.claimed_at.is_some(),
            stands_in: false,
            reported: restored.reported,
            listed: restored.listed,
            first_list: !restored.listed,
            opaque: restored.opaque,
            detached: false,
            expects: None,
            serves_from: 0,
            settling: None,
            opened: now,
            ended: CloseReason::Peer,
            loss_notices: 0,
        };
        self.opaque += usize::from(restored.opaque);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(link);
                slot
            }
            None => {
                self.slots.push(Some(link));
                self.slots.len() as u32 - 1
            }
        };
        let taken = self.by_id.insert(id, slot);
        debug_assert!(taken.is_none(), "link {id} is open already");
        if let Err(place) = self.order.binary_search_by_key(&id, |(id, _)| *id) {
            self.order.insert(place, (id, slot));
        }
        let group = self.groups.entry(peer.ip()).or_default();
        group.push(slot);
        if group.len() > 1 && self.shared.len() < MOST_SHARED {
            self.shared.insert(peer.ip());
        }
        slot
    }

    /// The connection is gone: nothing is delivered to the link any more. It still counts for its group until
    /// [`Links::leave_group`].
    pub(crate) fn end_connection(&mut self, slot: u32, reason: CloseReason) {
        self.set_opaque(slot, false);
        self.set_detached(slot, false);
        let link = &mut self[slot];
        link.ended = reason;
        let id = link.id;
        self.by_id.remove(&id);
        if let Ok(place) = self.order.binary_search_by_key(&id, |(id, _)| *id) {
            self.order.remove(place);
        }
    }

    /// Several links have had this address at a time.
    pub(crate) fn had_several(&self, ip: IpAddr) -> bool {
        self.shared.contains(&ip)
    }

    pub(crate) fn leave_group(&mut self, slot: u32) {
        let ip = self[slot].peer.ip();
        if let Some(group) = self.groups.get_mut(&ip) {
            group.retain(|member| *member != slot);
            if group.is_empty() {
                self.groups.remove(&ip);
            }
        }
    }

    /// Frees the slot of a link whose last session is gone.
    pub(crate) fn free(&mut self, slot: u32) {
        debug_assert!(matches!(self[slot].phase, Phase::Ended));
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }

    pub(crate) fn set_opaque(&mut self, slot: u32, opaque: bool) {
        let link = &mut self[slot];
        if link.opaque != opaque {
            link.opaque = opaque;
            if opaque {
                self.opaque += 1;
            } else {
                self.opaque -= 1;
            }
        }
    }

    pub(crate) fn set_detached(&mut self, slot: u32, detached: bool) {
        let link = &mut self[slot];
        if link.detached != detached {
            link.detached = detached;
            if detached {
                self.detached += 1;
            } else {
                self.detached -= 1;
            }
        }
    }

    /// Is any open link's gateway away?
    pub(crate) fn any_detached(&self) -> bool {
        self.detached > 0
    }

    /// Is any open link opaque?
    pub(crate) fn any_opaque(&self) -> bool {
        self.opaque > 0
    }

    pub(crate) fn slot(&self, id: LinkId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    /// Open links by gateway and number.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.order.iter().map(|(_, slot)| (*slot, &self[*slot]))
    }

    /// Open links of one gateway.
    pub(crate) fn of_gateway(&self, gateway: u64) -> impl Iterator<Item = (u32, &Link)> {
        let first = self.order.partition_point(|(id, _)| id.gateway < gateway);
        self.order[first..]
            .iter()
            .take_while(move |(id, _)| id.gateway == gateway)
            .map(|(_, slot)| (*slot, &self[*slot]))
    }

    /// Open links and seats that share this address.
    pub(crate) fn group(&self, ip: IpAddr) -> &[u32] {
        self.groups.get(&ip).map_or(&[], Vec::as_slice)
    }

    /// Every link that still has a slot.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Link)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(slot, link)| Some((slot as u32, link.as_ref()?)))
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }
}

impl std::ops::Index<u32> for Links {
    type Output = Link;

    fn index(&self, slot: u32) -> &Link {
        self.slots[slot as usize]
            .as_ref()
            .expect("a slot in use holds a link")
    }
}

impl std::ops::IndexMut<u32> for Links {
    fn index_mut(&mut self, slot: u32) -> &mut Link {
        self.slots[slot as usize]
            .as_mut()
            .expect("a slot in use holds a link")
    }
}
