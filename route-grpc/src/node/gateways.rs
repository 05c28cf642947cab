//! The node's gateways, as operators see them.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use route_core::LinkId;
use route_dialect::Dialect;
use tokio::time::{Instant, sleep};

use super::Node;
use super::closed::Asked;
use crate::gateways::GatewayReport;

/// How often it is looked whether a link has closed.
const CLOSE_LOOK: Duration = Duration::from_millis(20);

/// What of a gateway belongs to each of its links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Named {
    pub(crate) gateway_id: String,
    /// A name.
    pub(crate) dialect: String,
}

/// That of all gateways, by incarnation.
#[derive(Debug)]
pub(crate) struct Names(HashMap<u64, Named>);

impl Names {
    /// Empty if the node does not have this gateway.
    pub(crate) fn of(&self, incarnation: u64) -> Named {
        self.0.get(&incarnation).cloned().unwrap_or_default()
    }

    /// Which life of the gateway with this id the node has.
    pub(crate) fn incarnation(&self, id: &str) -> Option<u64> {
        let mut all = self.0.iter();
        all.find_map(|(incarnation, it)| (it.gateway_id == id).then_some(*incarnation))
    }
}

impl Node {
    /// What links of all gateways are called by.
    pub(crate) fn gateway_names(&self) -> Names {
        let routing = self.routing.lock();
        let named = routing.gateways.all().map(|gateway| {
            let gateway_id = gateway.id().to_owned();
            let dialect = gateway.spoken().dialect.name().to_owned();
            (
                gateway.incarnation(),
                Named {
                    gateway_id,
                    dialect,
                },
            )
        });
        Names(named.collect())
    }

    /// What the MsgServers of a gateway speak.
    pub(crate) fn dialect_of(&self, incarnation: u64) -> Option<Arc<Dialect>> {
        let mut routing = self.routing.lock();
        let gateway = routing.gateways.get_mut(incarnation)?;
        Some(Arc::clone(&gateway.spoken().dialect))
    }

    /// All gateways, each as it is when it is looked at: a gateway has many links.
    pub(crate) fn gateway_reports(&self) -> impl Iterator<Item = GatewayReport> {
        let incarnations: Vec<_> = {
            let routing = self.routing.lock();
            routing.gateways.all().map(|it| it.incarnation()).collect()
        };
        incarnations.into_iter().filter_map(|incarnation| {
            let mut routing = self.routing.lock();
            Some(routing.gateways.get_mut(incarnation)?.report())
        })
    }

    /// Has the gateway of this link close it, as when the gateway stops: nothing is lost. False: no such link is open.
    pub(crate) fn close_link(&self, link: LinkId, asked: Asked) -> bool {
        self.transact(|transaction, _| {
            let is_open = transaction.gateways.has_open(link);
            if let Some(queue) = transaction
                .gateways
                .queue_of(link.gateway)
                .filter(|_| is_open)
            {
                queue.close_link(link.number, asked.why(), true);
                self.closed.is_asked(link, asked);
            }
            is_open
        })
    }

    /// Waits until a link has closed, for so long at most. False: it is still open.
    pub(crate) async fn link_closes(&self, link: LinkId, within: Duration) -> bool {
        let until = Instant::now() + within;
        while self.look(|core, _| core.is_open(link)) {
            if Instant::now() >= until {
                return false;
            }
            sleep(CLOSE_LOOK).await;
        }
        true
    }

    /// For whom a node waits that does not know all links, and for how long at most, in words. None: it knows them.
    pub fn waits_for(&self) -> Option<String> {
        let now = self.now();
        let routing = self.routing.lock();
        let cold_start = routing.cold_start.as_ref()?;
        let reach = |id: &str| routing.gateways.reach(id);
        let mut missing: Vec<_> = cold_start.missing(reach).map(str::to_owned).collect();
        missing.sort_unstable();
        let left = cold_start
            .until(reach)
            .saturating_sub(now)
            .as_secs_f64()
            .ceil();
        let whom = match (cold_start.knows_any(), missing.is_empty()) {
            (false, _) => "a first gateway".to_owned(),
            (true, true) => "gateways that may have had another node before".to_owned(),
            (true, false) => format!("gateways {}", missing.join(", ")),
        };
        Some(format!("{whom}, for {left} s more at most"))
    }

    /// Time since the node started.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }
}
