//! What all tasks of one gateway share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use route_dialect::Dialect;
use route_proto::attach::v1::LinkId;
use route_runtime::budget::Budget;
use route_runtime::life::new_life;
use route_runtime::quota::{Lines, Quota};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::links::link::LinkSettings;
use crate::links::peer::Peer;
use crate::links::ports::Ports;
use crate::links::pressure::Turn;
use crate::links::refusals::Refusals;
use crate::links::registry::Links;
use crate::links::strangers::Strangers;
use crate::metrics::Counters;
use crate::unconfirmed::uplink::Uplink;

/// Log lines about the links of one MsgServer, a minute.
const LINES: u32 = 10;

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    /// Names this life of the process.
    pub incarnation: u64,
    /// Its time.
    pub clock: Clock,
    /// What its MsgServers speak.
    pub dialect: Arc<Dialect>,
    /// Limits and periods of its links.
    pub link_settings: LinkSettings,
    /// All links.
    pub links: Arc<Links>,
    /// What goes up.
    pub uplink: Arc<Uplink>,
    /// Links that are congested.
    congested: AtomicUsize,
    /// One became congested.
    pub pressed: Notify,
    /// We end, and there is no node that will know.
    pub given_up: CancellationToken,
    /// An operator drains it, as the node says: no connections are taken.
    pub drains: watch::Sender<bool>,
    /// What this process may hold.
    pub budget: Arc<Budget>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Where MsgServers can connect.
    pub ports: Ports,
    /// Connections that did not become links.
    pub refusals: Refusals,
    /// Connections that are not a MsgServer's.
    pub strangers: Strangers,
    lines: Arc<Quota>,
    /// Longest PDU that is taken from MsgServers, bytes.
    pdu_limit: AtomicU32,
    /// The same as this gateway's own flag has it.
    pub own_pdu_limit: u32,
}

impl Gateway {
    /// A gateway without links.
    pub fn new(
        dialect: Arc<Dialect>,
        link_settings: LinkSettings,
        links: Arc<Links>,
        uplink: Arc<Uplink>,
        pdu_limit: u32,
        budget: Arc<Budget>,
    ) -> Arc<Self> {
        Arc::new(Gateway {
            incarnation: new_life(),
            clock: uplink.clock(),
            dialect,
            link_settings,
            links,
            uplink,
            congested: AtomicUsize::new(0),
            pressed: Notify::new(),
            given_up: CancellationToken::new(),
            drains: watch::Sender::new(false),
            budget,
            counters: Arc::default(),
            ports: Ports::default(),
            refusals: Refusals::default(),
            strangers: Strangers::default(),
            lines: Arc::new(Quota::new(LINES)),
            pdu_limit: AtomicU32::new(pdu_limit),
            own_pdu_limit: pdu_limit,
        })
    }

    /// Longest PDU that new links may send, bytes.
    pub fn pdu_limit(&self) -> u32 {
        self.pdu_limit.load(Ordering::Relaxed)
    }

    /// A node takes no longer PDUs than this.
    pub fn limit_pdus(&self, node_limit: u32) {
        let before = self.pdu_limit.fetch_min(node_limit, Ordering::Relaxed);
        if node_limit < before {
            warn!(
                limit = node_limit,
                configured = before,
                "the node takes shorter PDUs than this gateway; new links get its limit"
            );
        }
    }

    /// The log lines about links of this peer's MsgServer.
    pub fn lines_of(&self, peer: &Peer) -> Lines {
        self.lines.of(peer.identity())
    }

    /// Says how many of those lines were left out, when the minute is over; about once a second.
    pub fn tell_left_out(&self, now: Duration) {
        self.lines.tick(now, |msg_server, left_out| {
            info!(
                msg_server,
                left_out, "more happened to connections of this MsgServer"
            );
        });
    }

    /// What a link wants of those who feed it.
    pub fn turn(&self, turn: Turn) {
        match turn {
            Turn::Congested => {
                self.counters.congestions.add(1);
                self.congested.fetch_add(1, Ordering::Relaxed);
                self.pressed.notify_one();
            }
            Turn::Fed(by) if by.gateway == self.incarnation => {
                if let Some(link) = self.links.get(by.number) {
                    link.brake().hold(self.clock.now());
                }
            }
            Turn::Fed(by) => self.uplink.pause(by, true),
            Turn::Relieved(feeders) => {
                self.congested.fetch_sub(1, Ordering::Relaxed);
                for by in feeders {
                    self.let_go(by);
                }
            }
        }
    }

    fn let_go(&self, feeder: LinkId) {
        if feeder.gateway != self.incarnation {
            self.uplink.pause(feeder, false);
        } else if let Some(link) = self.links.get(feeder.number) {
            link.brake().let_go();
        }
    }

    /// Some link takes less than it is sent.
    pub fn is_pressed(&self) -> bool {
        self.congested.load(Ordering::Relaxed) > 0
    }
}
