//! What all tasks of one gateway share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use route_dialect::Dialect;
use route_runtime::life::new_life;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::links::link::LinkSettings;
use crate::links::ports::Ports;
use crate::links::pressure::Turn;
use crate::links::refusals::Refusals;
use crate::links::registry::Links;
use crate::links::superseded::Superseded;
use crate::links::throttle::Throttle;
use crate::metrics::Counters;
use crate::unconfirmed::uplink::Uplink;

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
    /// The pause of all readers.
    pub throttle: Throttle,
    /// A link became congested.
    pub pressed: Notify,
    /// We end, and there is no node that will know.
    pub given_up: CancellationToken,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Where MsgServers can connect.
    pub ports: Ports,
    /// Connections that did not become links.
    pub refusals: Refusals,
    /// Connections that had to end for others.
    pub superseded: Superseded,
    /// Longest PDU that is taken from MsgServers, bytes.
    pdu_limit: AtomicU32,
}

impl Gateway {
    /// A gateway without links.
    pub fn new(
        dialect: Arc<Dialect>,
        link_settings: LinkSettings,
        links: Arc<Links>,
        uplink: Arc<Uplink>,
        pdu_limit: u32,
    ) -> Arc<Self> {
        Arc::new(Gateway {
            incarnation: new_life(),
            clock: uplink.clock(),
            dialect,
            link_settings,
            links,
            uplink,
            throttle: Throttle::default(),
            pressed: Notify::new(),
            given_up: CancellationToken::new(),
            counters: Arc::default(),
            ports: Ports::default(),
            refusals: Refusals::default(),
            superseded: Superseded::default(),
            pdu_limit: AtomicU32::new(pdu_limit),
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

    /// A link became congested or was relieved.
    pub fn turn(&self, turn: Turn) {
        match self.throttle.turn(turn) {
            Some(true) => {
                self.counters.congestions.add(1);
                info!("pausing all readers: a link takes less than it is sent");
                self.uplink.set_congested(true);
                self.pressed.notify_one();
            }
            Some(false) => {
                info!("readers go on");
                self.uplink.set_congested(false);
            }
            None => {}
        }
    }
}
