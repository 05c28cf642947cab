//! The site as it is, again and again, for screens.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use hashbrown::HashMap;
use route_core::LinkId;
use route_proto::admin::v1alpha1::{LinkActivity, WatchTopologyRequest, WatchTopologyResponse};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::Status;

use super::stats::{self, Shows};
use super::{gateways, links};
use crate::limits::Place;
use crate::node::Node;
use crate::refusal::Refusal;

/// From one state to the next, unless the request says otherwise.
const USUAL: Duration = Duration::from_secs(2);

/// The shortest.
const SHORTEST: Duration = Duration::from_secs(1);

/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// Links of one state.
const MOST_LINKS: usize = 1000;

/// One screen.
struct Screen {
    node: Arc<Node>,
    shows: Shows,
    ticks: Interval,
    before: Option<Before>,
    _place: Place,
}

/// What rates are differences to.
struct Before {
    at: Duration,
    entries: u64,
    deliveries: u64,
    sequences: HashMap<LinkId, u64>,
}

/// What a screen gets.
pub(super) fn watch(
    node: Arc<Node>,
    shows: Shows,
    request: &WatchTopologyRequest,
) -> Result<impl Stream<Item = Result<WatchTopologyResponse, Status>> + Send + use<>, Refusal> {
    let every = match request.interval {
        None => USUAL,
        Some(interval) => {
            let interval = Duration::try_from(interval).ok();
            let wrong = || Refusal::field("interval", "has to be from 1 s to 1 m");
            interval
                .filter(|it| (SHORTEST..=LONGEST).contains(it))
                .ok_or_else(wrong)?
        }
    };
    let limit = node.process.screens.limit();
    let place = node
        .process
        .screens
        .take()
        .ok_or(Refusal::StreamLimit { limit })?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let screen = Screen {
        node,
        shows,
        ticks,
        before: None,
        _place: place,
    };
    let (draining, node) = (screen.node.draining(), Arc::clone(&screen.node));
    let states = stream::unfold(screen, |mut screen| async {
        screen.ticks.tick().await;
        Some((Ok(screen.state()), screen))
    });
    let end = stream::once(async move { Err(node.ending().into()) });
    Ok(states.take_until(draining.cancelled_owned()).chain(end))
}

impl Screen {
    /// As of now.
    fn state(&mut self) -> WatchTopologyResponse {
        let node = &self.node;
        let names = node.gateway_names();
        let (at, reports) = node.look(|core, now| (now.at, links::first(core, MOST_LINKS)));
        let stats = stats::stats(node, &self.shows);
        let before = self.before.take();
        let seconds = before.as_ref().map(|it| (at - it.at).as_secs_f64());
        let rate = |now: u64, before: Option<u64>| match (before, seconds) {
            (Some(before), Some(seconds)) if seconds > 0.0 => {
                now.saturating_sub(before) as f64 / seconds
            }
            _ => 0.0,
        };
        let of_link = |id: &LinkId| before.as_ref()?.sequences.get(id).copied();
        let sequences = reports.iter().map(|it| (it.id, it.sequence)).collect();
        let links = reports.into_iter().map(|it| LinkActivity {
            entry_rate: rate(it.sequence, of_link(&it.id)),
            link: Some(links::shown(&node.clock, &names, it)),
        });
        let response = WatchTopologyResponse {
            node_time: Some(node.clock.timestamp(at)),
            links: links.collect(),
            gateways: gateways::list(node).gateways,
            entry_rate: rate(stats.entry_count, before.as_ref().map(|it| it.entries)),
            delivery_rate: rate(
                stats.delivery_count,
                before.as_ref().map(|it| it.deliveries),
            ),
            stats: Some(stats),
        };
        self.before = Some(Before {
            at,
            entries: response.stats.as_ref().map_or(0, |it| it.entry_count),
            deliveries: response.stats.as_ref().map_or(0, |it| it.delivery_count),
            sequences,
        });
        response
    }
}
