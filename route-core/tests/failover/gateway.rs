//! Gateways: what is on its way between their connections and the node.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use route_core::{
    CloseReason, Course, Item, LinkId, ListEntry, Payload, ReportedStatus, ReturnedRun, Taken,
};

use crate::line::Line;
use crate::msg_server::Client;

pub(crate) const GATEWAYS: usize = 3;
/// A login within that time of a kick is not known to be later.
pub(crate) const CLOCKS_ERR: Duration = Duration::from_millis(100);

/// What a gateway tells the node, in order.
pub(crate) enum Up {
    Change(LinkId, Told),
    Returned(LinkId, ReturnedRun),
    AllReturned(LinkId, Vec<Taken>),
}

pub(crate) enum Told {
    Opened(SocketAddr, Option<String>),
    List(Vec<ListEntry>),
    Update(Client, ReportedStatus),
    Claim,
    Message(u32),
    Silent,
    Closed(CloseReason),
}

/// What the node tells a gateway, in order.
pub(crate) enum Down {
    Deliver(u64, ReturnedRun, Course),
    /// What was written to others is not to be written to this link.
    TakeOver(u64, Vec<Taken>),
    /// The close of this link is known: nothing more will be delivered to it.
    Confirmed(u64),
}

/// One life of a gateway's process.
pub(crate) struct Gateway {
    pub(crate) id: u64,
    pub(crate) up: VecDeque<(Duration, Up)>,
    pub(crate) down: VecDeque<(Duration, Down)>,
    /// By number.
    pub(crate) lines: BTreeMap<u64, Line>,
    next_number: u64,
    /// When these clients have logged in last, by link.
    began: BTreeMap<(u64, Client), Duration>,
    /// What has been written last, by link and origin: the number of the entry, and the index.
    marks: BTreeMap<(u64, LinkId), (u64, u32)>,
    /// Links that the node knows, and of which not everything has come back.
    pub(crate) unfinished: BTreeSet<u64>,
    /// Its process ends; it takes no connections.
    pub(crate) is_ending: bool,
}

/// A gateway that was killed, as the node sees it.
pub(crate) struct Lost {
    pub(crate) gateway: Gateway,
    pub(crate) killed_at: Duration,
    /// When the node notices, and when it gives it up.
    pub(crate) noticed_at: Duration,
    pub(crate) given_up_at: Duration,
    pub(crate) is_noticed: bool,
}

impl Gateway {
    pub(crate) fn new(id: u64) -> Gateway {
        Gateway {
            id,
            up: VecDeque::new(),
            down: VecDeque::new(),
            lines: BTreeMap::new(),
            next_number: 0,
            began: BTreeMap::new(),
            marks: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            is_ending: false,
        }
    }

    pub(crate) fn link(&self, number: u64) -> LinkId {
        LinkId::new(self.id, number)
    }

    pub(crate) fn accept(&mut self, now: Duration, server: usize) -> u64 {
        self.next_number += 1;
        self.lines.insert(self.next_number, Line::new(server, now));
        self.next_number
    }

    /// Something was read from a connection, or is known of it.
    pub(crate) fn tell(&mut self, now: Duration, number: u64, told: Told) {
        if let Told::Update(client, ReportedStatus::Online) = told {
            self.began.insert((number, client), now);
        }
        let link = self.link(number);
        self.up.push_back((now, Up::Change(link, told)));
    }

    /// Whether this link has not had it. Of what comes late, that is not known.
    pub(crate) fn is_news(
        &mut self,
        number: u64,
        origin: LinkId,
        item: &Item,
        how: Course,
    ) -> bool {
        if how == Course::Late || origin == LinkId::NODE {
            return true;
        }
        self.takes(number, origin, (item.sequence, item.index))
    }

    /// These were written to a link before this one.
    pub(crate) fn takes_over(&mut self, number: u64, taken: Vec<Taken>) {
        for it in taken {
            self.takes(number, it.origin, (it.sequence, it.index));
        }
    }

    fn takes(&mut self, number: u64, origin: LinkId, mark: (u64, u32)) -> bool {
        let before = self.marks.entry((number, origin)).or_default();
        let is_newer = mark > *before;
        *before = mark.max(*before);
        is_newer
    }

    /// What was written to this link.
    pub(crate) fn taken(&self, number: u64) -> Vec<Taken> {
        let of_link = self.marks.iter().filter(|((it, _), _)| *it == number);
        of_link
            .map(|((_, origin), (sequence, index))| Taken {
                origin: *origin,
                sequence: *sequence,
                index: *index,
            })
            .collect()
    }

    /// Is this an old kick for somebody who has logged in since?
    pub(crate) fn spares(&self, number: u64, item: &Item, kicked: Client) -> bool {
        let Payload::Perishable(perishable) = &item.payload else {
            return false;
        };
        let read_at = Duration::from_micros(perishable.read_at as u64);
        let began = self.began.get(&(number, kicked));
        began.is_some_and(|began| *began > read_at + CLOCKS_ERR)
    }
}
