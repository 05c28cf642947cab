//! What is read from the node when metrics are collected, with unit and description.

use std::fmt;
use std::sync::{Arc, Weak};

use opentelemetry::metrics::Meter;
use parking_lot::Mutex;

use super::Node;
use super::load::Load;

/// One number of the node's load.
struct Instrument {
    name: &'static str,
    unit: &'static str,
    text: &'static str,
    read: fn(&Load) -> u64,
}

/// What is so at the moment.
const LEVELS: [Instrument; 24] = [
    Instrument {
        name: "teamtalk.route.longest_hold",
        unit: "{step}",
        text: "Steps of the longest hold of the node's lock in the last 10 s, or 20 s: sessions, links, deliveries, 16 bytes each",
        read: |load| load.longest_hold,
    },
    Instrument {
        name: "teamtalk.route.gateways.attached",
        unit: "{gateway}",
        text: "Gateways with an Attach stream",
        read: |load| load.gateways.attached,
    },
    Instrument {
        name: "teamtalk.route.gateways.detached",
        unit: "{gateway}",
        text: "Gateways whose stream broke and that may come back",
        read: |load| load.gateways.detached,
    },
    Instrument {
        name: "teamtalk.route.gateways.silent",
        unit: "{gateway}",
        text: "Gateways with an Attach stream that take nothing although something waits",
        read: |load| load.gateways.silent,
    },
    Instrument {
        name: "teamtalk.route.gateways.queued",
        unit: "By",
        text: "Memory for what waits for gateways",
        read: |load| load.gateways.queued_bytes,
    },
    Instrument {
        name: "teamtalk.route.unconfirmed",
        unit: "By",
        text: "What gateways sent and is not confirmed, because other gateways have not taken what it caused",
        read: |load| load.unconfirmed as u64,
    },
    Instrument {
        name: "teamtalk.route.confirmations",
        unit: "By",
        text: "Memory for batches that are not confirmed",
        read: |load| load.confirmation_bytes as u64,
    },
    Instrument {
        name: "teamtalk.route.log",
        unit: "By",
        text: "Memory for events that are kept for subscribers",
        read: |load| load.log_bytes as u64,
    },
    Instrument {
        name: "teamtalk.route.routed",
        unit: "By",
        text: "Memory for where PDUs went that were routed lately",
        read: |load| load.routed_bytes as u64,
    },
    Instrument {
        name: "teamtalk.route.cold_start.memory",
        unit: "By",
        text: "Memory for what waits until the node knows all links",
        read: |load| load.cold_start_bytes as u64,
    },
    Instrument {
        name: "teamtalk.route.cold_start.held",
        unit: "{entry}",
        text: "Entries and queries that wait until the node knows all links",
        read: |load| load.cold_start_held as u64,
    },
    Instrument {
        name: "teamtalk.route.held",
        unit: "By",
        text: "Memory for deliveries held at seats and for successors",
        read: |load| load.core.held_bytes as u64,
    },
    Instrument {
        name: "teamtalk.route.links",
        unit: "{link}",
        text: "Open MsgServer connections",
        read: |load| load.core.links as u64,
    },
    Instrument {
        name: "teamtalk.route.links.claimed",
        unit: "{link}",
        text: "Open MsgServer connections that have claimed",
        read: |load| load.core.claimed as u64,
    },
    Instrument {
        name: "teamtalk.route.links.shadows",
        unit: "{link}",
        text: "Open MsgServer connections for which another one stands",
        read: |load| load.core.shadows as u64,
    },
    Instrument {
        name: "teamtalk.route.links.detached",
        unit: "{link}",
        text: "Open MsgServer connections whose gateway may come back",
        read: |load| load.core.detached as u64,
    },
    Instrument {
        name: "teamtalk.route.seats",
        unit: "{seat}",
        text: "Closed claimed connections that wait for a successor",
        read: |load| load.core.seats as u64,
    },
    Instrument {
        name: "teamtalk.route.users",
        unit: "{user}",
        text: "Users with a login, hidden ones included",
        read: |load| load.core.users as u64,
    },
    Instrument {
        name: "teamtalk.route.users.order",
        unit: "By",
        text: "Memory for the order of the users that are not offline",
        read: |load| load.core.roll_bytes as u64,
    },
    Instrument {
        name: "teamtalk.route.sessions",
        unit: "{session}",
        text: "Logins by connection, user and client type, hidden ones included",
        read: |load| load.core.sessions as u64,
    },
    Instrument {
        name: "teamtalk.route.connections",
        unit: "{connection}",
        text: "Open gRPC connections",
        read: |load| load.connections as u64,
    },
    Instrument {
        name: "teamtalk.route.streams.pending",
        unit: "By",
        text: "Memory for snapshots and events that readers of streams have not taken",
        read: |load| load.pending as u64,
    },
    Instrument {
        name: "teamtalk.route.requests.unfinished",
        unit: "By",
        text: "Requests over gRPC that have come in part",
        read: |load| load.unfinished as u64,
    },
    Instrument {
        name: "teamtalk.route.streams.open",
        unit: "{stream}",
        text: "Open watch and subscribe streams",
        read: |load| load.streams as u64,
    },
];

/// What has been counted since the start.
const COUNTERS: [Instrument; 7] = [
    Instrument {
        name: "teamtalk.route.events",
        unit: "{event}",
        text: "Events in the log since the start",
        read: |load| load.log_head,
    },
    Instrument {
        name: "teamtalk.route.envelopes.without_target",
        unit: "{envelope}",
        text: "Routed PDUs that no MsgServer needed",
        read: |load| load.core.without_target,
    },
    Instrument {
        name: "teamtalk.route.seats.dropped",
        unit: "{delivery}",
        text: "Deliveries dropped because a seat was full, or ended without a successor",
        read: |load| load.core.seat_dropped,
    },
    Instrument {
        name: "teamtalk.route.returned.dropped",
        unit: "{delivery}",
        text: "Deliveries that a closed connection could not take and no other one was there to get",
        read: |load| load.core.returned_dropped,
    },
    Instrument {
        name: "teamtalk.route.gateways.resent",
        unit: "{entry}",
        text: "Entries handed out again because a stream broke before they were taken",
        read: |load| load.gateways.resent,
    },
    Instrument {
        name: "teamtalk.route.gateways.dropped",
        unit: "{delivery}",
        text: "Deliveries dropped because a gateway's queue was full",
        read: |load| load.gateways.dropped,
    },
    Instrument {
        name: "teamtalk.route.gateways.given_up",
        unit: "{delivery}",
        text: "Deliveries that were handed to a gateway which was lost before it had taken them",
        read: |load| load.gateways.given_up,
    },
];

/// What is read from the node when metrics are collected: from one after the other, if there are several.
#[derive(Debug)]
pub(crate) struct Observed(Arc<Snapshot>);

impl Observed {
    /// Declares everything. There is no node yet, so nothing is read.
    pub(crate) fn new(meter: &Meter) -> Self {
        let snapshot = Arc::new(Snapshot::default());
        for (number, level) in LEVELS.iter().enumerate() {
            let snapshot = Arc::clone(&snapshot);
            meter
                .u64_observable_gauge(level.name)
                .with_unit(level.unit)
                .with_description(level.text)
                .with_callback(move |value| {
                    snapshot.read(number, |load| value.observe((level.read)(load), &[]));
                })
                .build();
        }
        for (number, counter) in (LEVELS.len()..).zip(&COUNTERS) {
            let snapshot = Arc::clone(&snapshot);
            meter
                .u64_observable_counter(counter.name)
                .with_unit(counter.unit)
                .with_description(counter.text)
                .with_callback(move |value| {
                    snapshot.read(number, |load| value.observe((counter.read)(load), &[]));
                })
                .build();
        }
        Self(snapshot)
    }

    /// From now on this one is read.
    pub(crate) fn shows(&self, node: &Arc<Node>) {
        *self.0.node.lock() = Arc::downgrade(node);
    }
}

/// One look at the node for all that is read in one scrape.
#[derive(Default)]
struct Snapshot {
    node: Mutex<Weak<Node>>,
    taken: Mutex<Option<Taken>>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

struct Taken {
    load: Load,
    /// By number: the instruments that have read it.
    read: [bool; LEVELS.len() + COUNTERS.len()],
}

impl Snapshot {
    /// Reads for one instrument. Nobody says when a scrape begins: one that has read already begins
    /// the next.
    fn read(&self, instrument: usize, read: impl FnOnce(&Load)) {
        let Some(node) = self.node.lock().upgrade() else {
            return;
        };
        let mut taken = self.taken.lock();
        let present = taken.take().filter(|taken| !taken.read[instrument]);
        let taken = taken.insert(present.unwrap_or_else(|| Taken {
            load: Load::of(&node),
            read: [false; _],
        }));
        taken.read[instrument] = true;
        read(&taken.load);
    }
}
