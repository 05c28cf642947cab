//! What gateways say of their links when somebody asks.

use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use route_core::LinkId;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Node;
use crate::gateways::{Figures, MOST_LINKS, Rows};

/// Gateways that have not answered by then are left out.
const WAIT: Duration = Duration::from_secs(1);

impl Node {
    /// What the gateways of these links, at most 1000, say of them. Takes 1 s at most: links whose gateway is away, or does
    /// not answer in time, are not in it, nor are those that have ended.
    pub async fn figures(&self, links: &[LinkId]) -> HashMap<LinkId, Figures> {
        let until = Instant::now() + WAIT;
        let links: HashSet<LinkId> = links.iter().take(MOST_LINKS).copied().collect();
        let mut figures = HashMap::new();
        // A gateway has no more questions than there are places.
        let Ok(Ok(_place)) = timeout_at(until, self.looks.acquire()).await else {
            return figures;
        };
        for answer in self.ask(&links) {
            if let Ok(Ok(rows)) = timeout_at(until, answer).await {
                figures.extend(rows.into_iter().filter(|(link, _)| links.contains(link)));
            }
        }
        figures
    }

    fn ask(&self, links: &HashSet<LinkId>) -> Vec<oneshot::Receiver<Rows>> {
        let mut numbers: HashMap<u64, Vec<u64>> = HashMap::new();
        for link in links {
            numbers.entry(link.gateway).or_default().push(link.number);
        }
        self.transact(|transaction, _| {
            let gateways = &mut transaction.gateways;
            let asked = numbers.into_iter();
            asked
                .filter_map(|(gateway, links)| gateways.look_at(gateway, links))
                .collect()
        })
    }
}
