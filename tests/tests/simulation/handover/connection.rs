//! A MsgServer's TCP connection to a gateway: the kernel's buffers, and what the gateway's
//! connection task does with them, a random number of bytes at a time.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pdu_gateway::links::gateway::Gateway;
use pdu_gateway::links::link::{Link, Next};
use pdu_gateway::links::output::Batch;
use pdu_gateway::pdu::deed::Deed;
use pdu_gateway::pdu::input::{Session, Tally};
use pdu_gateway::unconfirmed::windows::Room;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{CloseReason, LinkOpened};
use system_tests::cast::judge::questions::Questions;
use system_tests::player::pdu::{Pdu, Splitter};

use crate::handover::doubts::Reports;

/// Bytes of one read.
pub(crate) const MOST_READ: usize = 256;

/// How a MsgServer's end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// What it sent before is still read.
    Finished,
    /// What was not read yet is lost.
    Reset,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) gateway: usize,
    pub(crate) server: usize,
    pub(crate) link: Arc<Link>,
    pub(crate) opened: Duration,
    /// The node has heard of it.
    pub(crate) known: bool,
    session: Session,
    batch: Batch,
    room: Room,
    /// Written by the MsgServer, not read by the gateway.
    inbox: VecDeque<u8>,
    written: u64,
    read: u64,
    /// Messages in the inbox, with the offset of their end.
    unread: VecDeque<(u64, u32)>,
    /// It reads nothing until then.
    pub(crate) slow_until: Duration,
    /// It has not read everything since it read nothing for a while.
    pub(crate) is_behind: bool,
    pub(crate) gone: Option<(Gone, Duration)>,
    splitter: Splitter,
    /// With the answer of each user, where there is only one that is right.
    pub(crate) asked: Questions<Vec<Option<bool>>>,
    pub(crate) reports: Reports,
}

/// What reading did.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) moved: bool,
    /// Messages that the gateway has accepted by it.
    pub(crate) accepted: Vec<u32>,
    /// The link is over.
    pub(crate) over: bool,
}

/// What writing did.
#[derive(Debug)]
pub(crate) enum Written {
    Nothing,
    /// The MsgServer has these.
    Pdus(Vec<Pdu>),
    /// The gateway ends the link.
    Ends(CloseReason),
}

impl Connection {
    pub(crate) fn open(
        gateway: &Gateway,
        at: usize,
        server: usize,
        (peer, name): (SocketAddr, &str),
        opened_at: Duration,
    ) -> Self {
        let now = gateway.clock.now();
        let link = gateway.links.open(peer.into(), &gateway.link_settings, now);
        gateway.counters.opened();
        let opened = LinkOpened {
            peer: peer.to_string(),
            msg_server: name.to_owned(),
            ..LinkOpened::default()
        };
        gateway.uplink.open(link.number(), opened);
        let reports = Reports::of_link(link.number());
        let lines = gateway.lines_of(link.peer());
        Self {
            gateway: at,
            server,
            link,
            opened: opened_at,
            known: false,
            session: Session::new(Arc::clone(&gateway.dialect), gateway.pdu_limit(), lines),
            batch: Batch::default(),
            room: Room::Left,
            inbox: VecDeque::new(),
            written: 0,
            read: 0,
            unread: VecDeque::new(),
            slow_until: Duration::ZERO,
            is_behind: false,
            gone: None,
            splitter: Splitter::default(),
            asked: Questions::default(),
            reports,
        }
    }

    /// The MsgServer writes. `message`: its number, if it is one.
    pub(crate) fn say(&mut self, pdu: &Pdu, message: Option<u32>) {
        let bytes = pdu.encode();
        self.written += bytes.len() as u64;
        self.inbox.extend(bytes);
        if let Some(message) = message {
            self.unread.push_back((self.written, message));
        }
    }

    /// The user comes or goes. A query that waits for its answer may see that or not: what counts
    /// is that it sees what was reported before it.
    pub(crate) fn may_change(&mut self, user: u32) {
        for (users, expected) in self.asked.open() {
            let answers = users.iter().zip(expected).filter(|(of, _)| **of == user);
            answers.for_each(|(_, answer)| *answer = None);
        }
    }

    /// Nothing waits to be read or written.
    pub(crate) fn is_quiet(&self) -> bool {
        self.gone.is_none()
            && self.inbox.is_empty()
            && self.batch.is_done()
            && self.asked.is_empty()
    }

    /// Everything that it wrote has been read.
    pub(crate) fn is_read(&self) -> bool {
        self.inbox.is_empty()
    }

    /// As the gateway's reader: at most `most` bytes. `world`: the schedule's time, which is not
    /// the gateway's.
    pub(crate) fn read(&mut self, gateway: &Gateway, world: Duration, most: usize) -> Read {
        let now = gateway.clock.now();
        let mut result = Read::default();
        if let Some((gone, at)) = self.gone
            && world >= at
            && (gone == Gone::Reset || self.inbox.is_empty())
        {
            result.over = true;
            return result;
        }
        if !self.is_allowed(gateway) {
            self.link.hold_up();
            return result;
        }
        self.link.release(|| now);
        let count = most.min(self.inbox.len());
        if count == 0 {
            if self.gone.is_none() {
                // Heartbeats: that they are heard is all that matters of them.
                self.link.heard(now, self.session.unfinished());
            }
            return result;
        }
        let bytes: Vec<u8> = self.inbox.drain(..count).collect();
        let mut deeds = Vec::new();
        let mut tally = Tally::default();
        let received = self.session.receive(now, &bytes, &mut deeds, &mut tally);
        assert!(received.is_ok(), "MsgServers here send whole frames");
        self.link.heard(now, self.session.unfinished());
        for deed in &deeds {
            self.reports.read(match deed {
                Deed::Entry(Entry::Update(update)) => Some(update.user_id),
                Deed::Entry(_) | Deed::Query(_) => None,
            });
        }
        self.room = gateway.uplink.submit(self.link.number(), &mut deeds);
        self.read += count as u64;
        while let Some((_, message)) = self.unread.pop_front_if(|(end, _)| *end <= self.read) {
            result.accepted.push(message);
        }
        result.moved = true;
        result
    }

    fn is_allowed(&mut self, gateway: &Gateway) -> bool {
        let cx = Context::from_waker(Waker::noop());
        if self.link.brake().poll_off(&cx).is_pending() {
            return false;
        }
        if self.room == Room::Full {
            if gateway
                .uplink
                .poll_room(&cx, self.link.number())
                .is_pending()
            {
                return false;
            }
            self.room = Room::Left;
        }
        true
    }

    /// As the gateway's task, which is woken at once: whether the link is to end.
    pub(crate) fn ends(&self) -> Option<CloseReason> {
        match self.link.poll_urgent(&Context::from_waker(Waker::noop())) {
            Poll::Ready(Next::End(reason)) => Some(reason),
            // Looking whether its host is there is for the kernel.
            Poll::Ready(Next::Look | Next::Write) | Poll::Pending => None,
        }
    }

    /// As the gateway's writer: at most `most` bytes.
    pub(crate) fn write(&mut self, gateway: &Gateway, world: Duration, most: usize) -> Written {
        let now = gateway.clock.now();
        let cx = Context::from_waker(Waker::noop());
        if let Some(reason) = self.ends() {
            return Written::Ends(reason);
        }
        if world < self.slow_until || self.gone.is_some() {
            return Written::Nothing;
        }
        if self.batch.is_done() {
            match self.link.poll_next(&cx, &mut self.batch) {
                Poll::Pending => {
                    self.is_behind = false;
                    return Written::Nothing;
                }
                Poll::Ready(Next::End(reason)) => return Written::Ends(reason),
                Poll::Ready(Next::Look) => return Written::Nothing,
                Poll::Ready(Next::Write) => {}
            }
        }
        let mut bytes = Vec::new();
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = self.batch.slices(&mut slices);
        for slice in &slices[..filled] {
            let left = most - bytes.len();
            bytes.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        let written = self.batch.advance(bytes.len());
        if let Some(turn) = self.link.wrote(now, written) {
            gateway.turn(turn);
        }
        let mut pdus = Vec::new();
        self.splitter.feed(&bytes, |raw| {
            pdus.push(Pdu::parse(&bytes::Bytes::copy_from_slice(raw)));
        });
        Written::Pdus(pdus)
    }

    /// As the gateway's task when it is over.
    pub(crate) fn end(&mut self, gateway: &Gateway, reason: CloseReason) {
        let shut = self
            .link
            .shut(&mut self.batch, Some(reason), &gateway.uplink);
        gateway.counters.closed(reason);
        if let Some(relief) = shut.relief {
            gateway.turn(relief);
        }
    }
}
