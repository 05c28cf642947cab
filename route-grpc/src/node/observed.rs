//! What is read from the node when metrics are collected, with unit and description.

use std::sync::Arc;

use opentelemetry::metrics::{Meter, ObservableGauge};

use super::Node;

/// Declares everything that is read from the node when metrics are collected.
pub(crate) fn observe(meter: &Meter, node: &Arc<Node>) {
    let gauge = |name: &'static str,
                 unit: &'static str,
                 text: &'static str,
                 read: fn(&Node) -> u64|
     -> ObservableGauge<u64> {
        let node = Arc::downgrade(node);
        meter
            .u64_observable_gauge(name)
            .with_unit(unit)
            .with_description(text)
            .with_callback(move |value| {
                if let Some(node) = node.upgrade() {
                    value.observe(read(&node), &[]);
                }
            })
            .build()
    };
    gauge(
        "teamtalk.route.gateways.attached",
        "{gateway}",
        "Gateways with an Attach stream",
        |node| node.transact(|routing, _| routing.gateways.census().attached),
    );
    gauge(
        "teamtalk.route.gateways.detached",
        "{gateway}",
        "Gateways whose stream broke and that may come back",
        |node| node.transact(|routing, _| routing.gateways.census().detached),
    );
    gauge(
        "teamtalk.route.gateways.queued",
        "By",
        "Bytes that wait for gateways",
        |node| node.transact(|routing, _| routing.gateways.census().queued_bytes),
    );
    gauge(
        "teamtalk.route.unconfirmed",
        "By",
        "What gateways sent and is not confirmed, because other gateways have not taken what it caused",
        |node| node.transact(|routing, _| routing.confirmations.bytes() as u64),
    );
    gauge(
        "teamtalk.route.cold_start.held",
        "{entry}",
        "Entries and queries that wait until the node knows all links",
        |node| {
            node.transact(|routing, _| {
                let cold_start = routing.cold_start.as_ref();
                cold_start.map_or(0, |start| start.entries() as u64)
            })
        },
    );
    gauge(
        "teamtalk.route.held",
        "By",
        "Deliveries held at seats and for successors",
        |node| node.look(|core, _| core.stats().held_bytes as u64),
    );
    gauge(
        "teamtalk.route.links",
        "{link}",
        "Open MsgServer connections",
        |node| node.look(|core, _| core.stats().links as u64),
    );
    gauge(
        "teamtalk.route.links.claimed",
        "{link}",
        "Open MsgServer connections that have claimed",
        |node| node.look(|core, _| core.stats().claimed as u64),
    );
    gauge(
        "teamtalk.route.links.shadows",
        "{link}",
        "Open MsgServer connections for which another one stands",
        |node| node.look(|core, _| core.stats().shadows as u64),
    );
    gauge(
        "teamtalk.route.links.detached",
        "{link}",
        "Open MsgServer connections whose gateway may come back",
        |node| node.look(|core, _| core.stats().detached as u64),
    );
    gauge(
        "teamtalk.route.seats",
        "{seat}",
        "Closed claimed connections that wait for a successor",
        |node| node.look(|core, _| core.stats().seats as u64),
    );
    gauge(
        "teamtalk.route.users",
        "{user}",
        "Users with a login, hidden ones included",
        |node| node.look(|core, _| core.stats().users as u64),
    );
    gauge(
        "teamtalk.route.sessions",
        "{session}",
        "Logins by connection, user and client type, hidden ones included",
        |node| node.look(|core, _| core.stats().sessions as u64),
    );
    gauge(
        "teamtalk.route.connections",
        "{connection}",
        "Open gRPC connections",
        |node| node.connections.in_use() as u64,
    );
    gauge(
        "teamtalk.route.streams.open",
        "{stream}",
        "Open watch and subscribe streams",
        |node| node.streams.in_use() as u64,
    );
    let counter =
        |name: &'static str, unit: &'static str, text: &'static str, read: fn(&Node) -> u64| {
            let node = Arc::downgrade(node);
            meter
                .u64_observable_counter(name)
                .with_unit(unit)
                .with_description(text)
                .with_callback(move |value| {
                    if let Some(node) = node.upgrade() {
                        value.observe(read(&node), &[]);
                    }
                })
                .build();
        };
    counter(
        "teamtalk.route.events",
        "{event}",
        "Events in the log since the start",
        |node| node.log.extent().0,
    );
    counter(
        "teamtalk.route.envelopes.without_target",
        "{envelope}",
        "Routed PDUs that no MsgServer needed",
        |node| node.look(|core, _| core.stats().without_target),
    );
    counter(
        "teamtalk.route.seats.dropped",
        "{delivery}",
        "Deliveries dropped because a seat was full, or ended without a successor",
        |node| node.look(|core, _| core.stats().seat_dropped),
    );
    counter(
        "teamtalk.route.returned.dropped",
        "{delivery}",
        "Deliveries that a closed connection could not take and no other one was there to get",
        |node| node.look(|core, _| core.stats().returned_dropped),
    );
    counter(
        "teamtalk.route.gateways.resent",
        "{entry}",
        "Entries handed out again because a stream broke before they were taken",
        |node| node.transact(|routing, _| routing.gateways.resent()),
    );
    counter(
        "teamtalk.route.gateways.dropped",
        "{delivery}",
        "Deliveries dropped because a gateway's queue was full",
        |node| node.transact(|routing, _| routing.gateways.dropped()),
    );
}
