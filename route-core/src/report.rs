//! What can be said of one link, for people who look at links.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ids::LinkId;
use crate::links::{Link, Links, Part, Phase};
use crate::presence::Presence;
use crate::standing::{PartReason, Standing};
use crate::succession::Successions;

/// Which part a link plays for its MsgServer, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LinkPart {
    /// It receives.
    Active,
    /// Another link stands for its MsgServer.
    Shadow,
    /// It waits for the end of its stand-in.
    Waiting,
    /// It has closed, and what it leaves is held for its successor.
    Seat,
}

/// One link, open or a seat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkReport {
    /// Which one.
    pub id: LinkId,
    /// Its address.
    pub peer: SocketAddr,
    /// What tells its MsgServer apart: its name, else its IP.
    pub msg_server: String,
    /// That is a name.
    pub is_named: bool,
    /// Its part.
    pub part: LinkPart,
    /// Why it plays it.
    pub reason: PartReason,
    /// The other link that comes into that.
    pub other: Option<LinkId>,
    /// It has claimed.
    pub is_claimed: bool,
    /// Its first list is complete.
    pub is_listed: bool,
    /// Its table cannot be trusted, so it gets everything.
    pub is_opaque: bool,
    /// Nothing is heard of it.
    pub is_silent: bool,
    /// Its gateway is away.
    pub is_detached: bool,
    /// How many sessions it holds, hidden ones included.
    pub sessions: u32,
    /// Highest number of its entries that was applied.
    pub sequence: u64,
    /// When it was opened, unless it is restored.
    pub opened: Option<Duration>,
    /// When it was opened: microseconds since the node started, negative if that was before.
    pub opened_at: i64,
    /// When it has done something last.
    pub acted: Duration,
}

/// A link that is, or may be, of the same MsgServer as another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relation {
    /// Which one.
    pub id: LinkId,
    /// Its part.
    pub part: LinkPart,
    /// How many sessions both hold.
    pub shared: u32,
    /// How many sessions it holds.
    pub sessions: u32,
}

/// What reports are made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reporter<'a> {
    pub(crate) presence: &'a Presence,
    pub(crate) successions: &'a Successions,
    /// Of the last thing that was routed.
    pub(crate) position: u64,
}

impl<'a> Reporter<'a> {
    /// The link in this slot; none if it has ended.
    pub(crate) fn report(self, slot: u32) -> Option<LinkReport> {
        let links = self.links();
        let link = links.get(slot)?;
        let standing = Standing::new(self.presence, self.position);
        let (reason, other) = standing.why(slot, self.successions)?;
        Some(LinkReport {
            id: link.id,
            peer: link.peer,
            msg_server: link.identity().to_string(),
            is_named: link.msg_server.is_some(),
            part: part(link)?,
            reason,
            other: other.and_then(|other| Some(links.get(other)?.id)),
            is_claimed: link.is_claimed(),
            is_listed: link.is_listed(),
            is_opaque: link.is_opaque(),
            is_silent: link.silent,
            is_detached: links.is_detached(slot),
            sessions: self.presence.sessions.held_by(slot),
            sequence: link.sequence,
            opened: link.opened(),
            opened_at: link.opened_at(),
            acted: link.acted,
        })
    }

    /// Links that are, or may be, of the same MsgServer as the one in this slot.
    pub(crate) fn relations(self, slot: u32) -> impl Iterator<Item = Relation> + use<'a> {
        let links = self.links();
        links.kin(slot).filter_map(move |other| {
            Some(Relation {
                id: links.get(other)?.id,
                part: part(&links[other])?,
                shared: links.shared(slot, other),
                sessions: self.presence.sessions.held_by(other),
            })
        })
    }

    /// The slot of a link that is open, or whose seat is held.
    pub(crate) fn slot(self, id: LinkId) -> Option<u32> {
        let links = self.links();
        let seat = || self.successions.seat_of(id);
        links.slot(id).or_else(seat)
    }

    fn links(self) -> &'a Links {
        &self.presence.links
    }
}

fn part(link: &Link) -> Option<LinkPart> {
    match link.phase {
        Phase::Open(Part::Active) => Some(LinkPart::Active),
        Phase::Open(Part::Shadow) => Some(LinkPart::Shadow),
        Phase::Open(Part::Waiting { .. }) => Some(LinkPart::Waiting),
        Phase::Seat(_) => Some(LinkPart::Seat),
        Phase::Ended(_) => None,
    }
}
