//! All links: by slot, by id in delivery order, by address.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::reach::Absent;
use super::{Link, Phase, Reported};
use crate::ids::LinkId;

/// All links.
///
/// A slot is a link's place in the arrays of this crate. It stays taken until the link's last
/// session is removed.
#[derive(Debug, Default)]
pub(crate) struct Links {
    slots: Vec<Option<Link>>,
    free: Vec<u32>,
    /// Open links, sorted: by gateway, then number, as deliveries name them.
    order: Vec<(LinkId, u32)>,
    /// Open links and seats by IP address, oldest first.
    groups: HashMap<IpAddr, Vec<u32>, RandomState>,
    opaque: usize,
    pub(crate) reach: Absent,
    /// Addresses that several links have had at a time, up to [`MOST_SHARED`].
    shared: HashSet<IpAddr, RandomState>,
}

/// Far more addresses than a site has MsgServers with several connections; those beyond count as
/// having one.
const MOST_SHARED: usize = 65_536;

impl Links {
    /// Adds an open link. Its id must not be taken.
    pub(crate) fn insert(&mut self, link: Link) -> u32 {
        let (id, ip) = (link.id, link.peer.ip());
        self.opaque += usize::from(link.opaque);
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
        match self.place(id) {
            Ok(_) => debug_assert!(false, "link {id} is open already"),
            Err(place) => self.order.insert(place, (id, slot)),
        }
        let group = self.groups.entry(ip).or_default();
        group.push(slot);
        if group.len() > 1 && self.shared.len() < MOST_SHARED {
            self.shared.insert(ip);
        }
        slot
    }

    /// The connection is gone: nothing is delivered to the link any more. It still counts for its
    /// group until [`Links::leave_group`].
    pub(crate) fn end_connection(&mut self, slot: u32, phase: Phase) {
        self.set_opaque(slot, false);
        self[slot].phase = phase;
        if let Ok(place) = self.place(self[slot].id) {
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
        debug_assert!(matches!(self[slot].phase, Phase::Ended(_)));
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }

    pub(crate) fn set_opaque(&mut self, slot: u32, opaque: bool) {
        let link = &mut self[slot];
        if link.opaque != opaque {
            link.opaque = opaque;
            self.opaque = self.opaque + usize::from(opaque) - usize::from(!opaque);
        }
    }

    /// The link's list is complete, so its table can be trusted. True if it is the first one.
    pub(crate) fn list_ends(&mut self, slot: u32) -> bool {
        self.set_opaque(slot, false);
        let before = std::mem::replace(&mut self[slot].reported, Reported::List);
        before != Reported::List
    }

    /// The gateway of this link is away.
    pub(crate) fn is_detached(&self, slot: u32) -> bool {
        self.reach.is_away(self[slot].id.gateway)
    }

    /// Is any open link opaque?
    pub(crate) fn any_opaque(&self) -> bool {
        self.opaque > 0
    }

    pub(crate) fn slot(&self, id: LinkId) -> Option<u32> {
        let place = self.place(id).ok()?;
        Some(self.order[place].1)
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

    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    fn place(&self, id: LinkId) -> Result<usize, usize> {
        self.order.binary_search_by_key(&id, |(id, _)| *id)
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
