//! Links that the node has lost and a gateway is restoring: what has come of each, until its table
//! is complete.
//!
//! Pure. A link appears in the core when its table is whole, so a stream that breaks before leaves
//! nothing behind.
//!
//! Bounded by what the gateway sends: a table is as long as that link's sessions, and parts of it
//! are in memory once.

use std::collections::VecDeque;
use std::net::SocketAddr;

use hashbrown::HashMap;
use route_core::{LinkId, Peer, Restored};
use route_proto::attach::v1::SessionTable;

/// What has come of one link.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Its MsgServer's address.
    pub(crate) peer: SocketAddr,
    /// Its MsgServer's name, if it has one.
    pub(crate) msg_server: Option<String>,
    /// What it was.
    pub(crate) restored: Restored,
    /// Whose place it had taken, the last one first.
    pub(crate) predecessors: Vec<LinkId>,
    /// The parts of its table so far.
    pub(crate) parts: VecDeque<SessionTable>,
}

/// Links of one gateway that are being restored.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    links: HashMap<u64, Replay>,
}

impl Replays {
    /// A link comes back.
    pub(crate) fn begin(
        &mut self,
        link: u64,
        peer: Peer<'_>,
        restored: Restored,
        predecessors: Vec<LinkId>,
    ) {
        let replay = Replay {
            peer: peer.address,
            msg_server: peer.msg_server.map(str::to_owned),
            restored,
            predecessors,
            parts: VecDeque::new(),
        };
        self.links.insert(link, replay);
    }

    /// A part of its table came. Returns everything when it is the last one.
    pub(crate) fn add(&mut self, link: u64, part: SessionTable) -> Option<Replay> {
        let last = part.last;
        self.links.get_mut(&link)?.parts.push_back(part);
        if last { self.links.remove(&link) } else { None }
    }
}
