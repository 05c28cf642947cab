//! Which links may be of one MsgServer: links of one name are, links of two names are not, and of
//! all others that share an address it is not known.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Link;

/// With more links at one address, their tables are not compared.
const MOST_COMPARED: usize = 16;

/// Of more links of one name, only so many are looked at beside those that stand: the oldest.
const LOOKED_AT: usize = 4;

/// Far more than a site has MsgServers with several connections; those beyond count as having one.
const MOST_SHARED: usize = 65_536;

/// What tells MsgServers apart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Identity {
    /// By the operator's word. One MsgServer.
    Name(Arc<str>),
    /// For want of better. Several MsgServers may share it.
    Address(IpAddr),
}

impl Link {
    pub(crate) fn identity(&self) -> Identity {
        match &self.msg_server {
            Some(name) => Identity::Name(name.clone()),
            None => self.address(),
        }
    }

    fn address(&self) -> Identity {
        Identity::Address(self.peer.ip())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Name(name) => name.fmt(f),
            Identity::Address(ip) => ip.fmt(f),
        }
    }
}

/// Open links and seats, by name and by address.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<Identity, Group, RandomState>,
    /// Identities that have had several links at a time, up to [`MOST_SHARED`].
    shared: HashSet<Identity, RandomState>,
}

#[derive(Debug, Default)]
struct Group {
    /// Slots by number, so that the oldest is the first.
    members: BTreeMap<u64, u32>,
    /// Those of them that are no shadows, if they have this name.
    standing: BTreeMap<u64, u32>,
    /// Number of the link with which there were more than are compared. It stays so until all are
    /// gone.
    crowded_by: Option<u64>,
    /// Some link of it has claimed. That stays so, too.
    has_claimed: bool,
}

impl Groups {
    /// Adds a link. Returns the links of its address, and those of its name, if they have just become
    /// too many.
    pub(super) fn join(&mut self, slot: u32, link: &Link) -> Vec<u32> {
        let mut crowd = self.add(slot, link, link.address());
        if link.msg_server.is_some() {
            crowd.extend(self.add(slot, link, link.identity()));
        }
        crowd
    }

    /// Returns all links of this identity if they have just become too many.
    fn add(&mut self, slot: u32, link: &Link, identity: Identity) -> Vec<u32> {
        let group = self.groups.entry(identity.clone()).or_default();
        group.members.insert(link.number, slot);
        group.has_claimed |= link.is_claimed();
        if group.members.len() > 1 && self.shared.len() < MOST_SHARED {
            self.shared.insert(identity);
        }
        if group.members.len() > MOST_COMPARED && group.crowded_by.is_none() {
            group.crowded_by = Some(link.number);
            return group.members.values().copied().collect();
        }
        Vec::new()
    }

    /// A link has claimed.
    pub(super) fn claims(&mut self, link: &Link) {
        if let Some(group) = self.groups.get_mut(&link.address()) {
            group.has_claimed = true;
        }
    }

    /// A link stands, or waits, or has left a seat; or not any more.
    pub(super) fn stands(&mut self, slot: u32, link: &Link, stands: bool) {
        let name = link.msg_server.as_ref();
        let group = name.and_then(|_| self.groups.get_mut(&link.identity()));
        match group {
            Some(group) if stands => group.standing.insert(link.number, slot),
            Some(group) => group.standing.remove(&link.number),
            None => None,
        };
    }

    pub(super) fn leave(&mut self, link: &Link) {
        for identity in [link.identity(), link.address()] {
            if let Some(group) = self.groups.get_mut(&identity) {
                group.members.remove(&link.number);
                group.standing.remove(&link.number);
                if group.members.is_empty() {
                    self.groups.remove(&identity);
                }
            }
        }
    }

    /// Links of its name, the oldest first. Of too many, not all.
    pub(super) fn of_name(&self, link: &Link) -> impl Iterator<Item = u32> + use<'_> {
        let name = link.msg_server.as_ref();
        let group = name.and_then(|name| self.groups.get(&Identity::Name(name.clone())));
        let is_crowd = group.is_some_and(|group| group.crowded_by.is_some());
        let oldest = members(group).take(if is_crowd { LOOKED_AT } else { usize::MAX });
        let others = group.into_iter().flat_map(move |group| {
            let last = group.members.keys().nth(LOOKED_AT - 1);
            let from = last.filter(|_| is_crowd).map_or(u64::MAX, |last| last + 1);
            group.standing.range(from..).map(|(_, slot)| *slot)
        });
        oldest.chain(others)
    }

    /// Links of its address, unless they are a crowd.
    pub(super) fn compared(&self, link: &Link) -> impl Iterator<Item = u32> + use<'_> {
        let group = self.groups.get(&link.address());
        members(group.filter(|group| group.crowded_by.is_none()))
    }

    /// There are several links of its address, but not too many.
    pub(super) fn compares(&self, link: &Link) -> bool {
        self.is_compared(&link.address())
    }

    /// The same of its name.
    pub(super) fn compares_name(&self, link: &Link) -> bool {
        link.msg_server.is_some() && self.is_compared(&link.identity())
    }

    fn is_compared(&self, identity: &Identity) -> bool {
        let group = self.groups.get(identity);
        group.is_some_and(|group| group.members.len() > 1 && group.crowded_by.is_none())
    }

    /// The links of its address, if it is the one with which there were too many.
    pub(super) fn crowd_made_by(&self, link: &Link) -> impl Iterator<Item = u32> + use<'_> {
        let group = self.groups.get(&link.address());
        members(group.filter(|group| group.crowded_by == Some(link.number)))
    }

    /// Open links and seats of this identity, the newest first.
    pub(super) fn newest(&self, identity: &Identity) -> impl Iterator<Item = u32> + use<'_> {
        let group = self.groups.get(identity).into_iter();
        group.flat_map(|group| group.members.values().rev().copied())
    }

    /// Several links have had this identity at a time.
    pub(super) fn had_several(&self, link: &Link) -> bool {
        self.shared.contains(&link.identity())
    }

    /// There are, or were, too many links of its address, and some have claimed.
    pub(super) fn is_claiming_crowd(&self, link: &Link) -> bool {
        let group = self.groups.get(&link.address());
        group.is_some_and(|group| group.crowded_by.is_some() && group.has_claimed)
    }
}

fn members(group: Option<&Group>) -> impl Iterator<Item = u32> + use<'_> {
    let members = group.into_iter().flat_map(|group| group.members.values());
    members.copied()
}
