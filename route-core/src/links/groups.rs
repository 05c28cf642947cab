//! Which links may be of one MsgServer: links of one name are, links of two names are not, and of
//! all others that share an address it is not known.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Link;

/// With more links at one address, their tables are not compared.
const MOST_COMPARED: usize = 16;

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
    /// Slots, oldest first.
    members: Vec<u32>,
    /// Number of the link with which there were more than are compared. It stays so until all are
    /// gone.
    crowded_by: Option<u64>,
}

impl Groups {
    /// Adds a link. Returns the links of its address if they have just become too many.
    pub(super) fn join(&mut self, slot: u32, link: &Link) -> &[u32] {
        if link.msg_server.is_some() {
            self.add(slot, link.identity());
        }
        let group = self.add(slot, link.address());
        if group.members.len() > MOST_COMPARED && group.crowded_by.is_none() {
            group.crowded_by = Some(link.number);
            return &group.members;
        }
        &[]
    }

    fn add(&mut self, slot: u32, identity: Identity) -> &mut Group {
        let group = self.groups.entry(identity.clone()).or_default();
        group.members.push(slot);
        if group.members.len() > 1 && self.shared.len() < MOST_SHARED {
            self.shared.insert(identity);
        }
        group
    }

    pub(super) fn leave(&mut self, slot: u32, link: &Link) {
        for identity in [link.identity(), link.address()] {
            if let Some(group) = self.groups.get_mut(&identity) {
                group.members.retain(|member| *member != slot);
                if group.members.is_empty() {
                    self.groups.remove(&identity);
                }
            }
        }
    }

    pub(super) fn of_name(&self, link: &Link) -> &[u32] {
        match &link.msg_server {
            Some(name) => self.members(&Identity::Name(name.clone())),
            None => &[],
        }
    }

    pub(super) fn of_address(&self, link: &Link) -> &[u32] {
        self.members(&link.address())
    }

    /// There are several links of its address, but not too many.
    pub(super) fn compares(&self, link: &Link) -> bool {
        let group = self.groups.get(&link.address());
        group.is_some_and(|group| group.members.len() > 1 && group.crowded_by.is_none())
    }

    /// There are, or were, too many links of its address.
    pub(super) fn is_crowded(&self, link: &Link) -> bool {
        let group = self.groups.get(&link.address());
        group.is_some_and(|group| group.crowded_by.is_some())
    }

    /// It is the one with which there were too many links of its address.
    pub(super) fn makes_crowd(&self, link: &Link) -> bool {
        let group = self.groups.get(&link.address());
        group.is_some_and(|group| group.crowded_by == Some(link.number))
    }

    /// Several links have had this identity at a time.
    pub(super) fn had_several(&self, link: &Link) -> bool {
        self.shared.contains(&link.identity())
    }

    fn members(&self, identity: &Identity) -> &[u32] {
        let group = self.groups.get(identity);
        group.map_or(&[], |group| group.members.as_slice())
    }
}
