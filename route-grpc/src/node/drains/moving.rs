//! Moves one MsgServer off its gateway.
//!
//! Its connection is closed as in a planned stop: what it still sends is handled, what is for it is held for its successor.
//! It claims another connection then, or connects again.

use std::time::Duration;

use route_core::{LinkId, LinkPart, LinkReport, View};
use tokio::time::{Instant, sleep};

use super::LOOK;
use crate::node::Node;
use crate::node::closed::Asked;

/// How long a gateway has to close a link: a MsgServer that does not close its side has 5 s there (`--close-timeout`).
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// How long another link is waited for: a MsgServer that has no other connection connects again after 4 s.
const MOVE_WAIT: Duration = Duration::from_secs(10);

/// Links that are looked at to find where a MsgServer is now.
const MOST_ALIKE: usize = 64;

/// A MsgServer that has left a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Its name, else its address.
    pub(crate) msg_server: String,
    /// The link that was closed.
    pub(crate) link: LinkId,
    /// The link that stands for it now, and for how long none did.
    pub(crate) to: Option<(LinkId, Duration)>,
}

/// What is known of a link before it is closed.
#[derive(Debug)]
struct Leaving {
    link: LinkReport,
    /// Links of the same gateway for which it stands.
    shadows_here: Vec<LinkId>,
    /// Links of other gateways for which it stands.
    shadows_elsewhere: Vec<LinkId>,
    /// Links that were opened since then may be its MsgServer's.
    since: Duration,
}

/// Moves the MsgServer of this link: closes it, and before it those of its shadows that are at the same gateway, for they
/// would be claimed. None if it has closed, or will be moved with the link that stands for it. An error if it is still open.
pub(super) async fn move_from(node: &Node, link: LinkId) -> Option<Result<Moved, LinkId>> {
    let leaving = node.look(|core, now| Leaving::find(core, link, now.at))?;
    for shadow in &leaving.shadows_here {
        node.close_link(*shadow, Asked::Drain);
        node.link_closes(*shadow, CLOSE_WAIT).await;
    }
    node.close_link(link, Asked::Drain);
    let (mut without, mut closed) = (None, None);
    let asked = Instant::now();
    let to = loop {
        let (at, is_open, stands) = node.look(|core, now| {
            let stands = leaving.stands_now(core);
            (now.at, core.is_open(link), stands)
        });
        let now = Instant::now();
        if !is_open {
            closed.get_or_insert(now);
        }
        if let Some(stands) = stands.filter(|_| !is_open) {
            let gap = without.map_or(Duration::ZERO, |since| at.saturating_sub(since));
            break Some((stands, gap));
        }
        if stands.is_none() {
            without.get_or_insert(at);
        }
        match closed {
            Some(closed) if now - closed >= MOVE_WAIT => break None,
            None if now - asked >= CLOSE_WAIT => return Some(Err(link)),
            Some(_) | None => sleep(LOOK).await,
        }
    };
    Some(Ok(Moved {
        msg_server: leaving.link.msg_server,
        link,
        to,
    }))
}

fn is_active(core: View<'_>, link: LinkId) -> bool {
    core.link(link)
        .is_some_and(|link| link.part == LinkPart::Active)
}

impl Leaving {
    fn find(core: View<'_>, id: LinkId, now: Duration) -> Option<Self> {
        let link = core.link(id).filter(|_| core.is_open(id))?;
        // The link that stands for it comes itself, and takes it along.
        let goes_along = |other: &LinkId| other.gateway == id.gateway && is_active(core, *other);
        if link.other.is_some_and(|other| goes_along(&other)) {
            return None;
        }
        let shadows = core.relations(id).take(MOST_ALIKE);
        let shadows = shadows.map(|it| it.id).filter(|other| {
            let other = core.link(*other);
            other.is_some_and(|it| it.part == LinkPart::Shadow && it.other == Some(id))
        });
        let (shadows_here, shadows_elsewhere) =
            shadows.partition(|other| other.gateway == id.gateway);
        Some(Self {
            link,
            shadows_here,
            shadows_elsewhere,
            since: now,
        })
    }

    /// The link that stands for the MsgServer at this moment, as far as can be told.
    fn stands_now(&self, core: View<'_>) -> Option<LinkId> {
        let link = &self.link;
        let known = [Some(link.id), link.other].into_iter().flatten();
        let mut known = known.chain(self.shadows_elsewhere.iter().copied());
        let heir = || core.stands_for(link.id);
        let known = || known.find(|other| is_active(core, *other));
        heir().or_else(known).or_else(|| {
            let name = link.is_named.then_some(link.msg_server.as_str());
            let mut alike = core.newest_of(name, link.peer.ip()).take(MOST_ALIKE);
            let is_its = |it: &LinkReport| {
                let is_new = it.opened.is_some_and(|opened| opened >= self.since);
                it.part == LinkPart::Active && (is_new || link.is_named)
            };
            alike.find(is_its).map(|it| it.id)
        })
    }
}
