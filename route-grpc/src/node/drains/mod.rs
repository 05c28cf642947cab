//! Moves the MsgServers off a gateway, one after the other, while an operator drains it.
//!
//! The gateway only refuses connections. Which link is closed next, and when, is decided here: only a node sees whether
//! another link stands for the MsgServer now.
//!
//! Bounded: a drain for each gateway, which remembers its last 1000 moves.

mod moving;
mod progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use route_core::LinkId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::Node;
use crate::gateways::reach::Reach;
use crate::refusal::Refusal;
pub(crate) use moving::Moved;
pub(crate) use progress::{Progress, State};

/// How often it is looked whether something has come that is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// How often it is looked when there is nothing to move: whether a gateway that is away is back, or has a link again.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// All drains of a node, by the life of the gateway.
#[derive(Debug, Default)]
pub(crate) struct Drains(Mutex<HashMap<u64, Arc<Drain>>>);

/// The drain of one gateway.
#[derive(Debug)]
pub(crate) struct Drain {
    gateway: u64,
    id: String,
    slot_micros: AtomicU64,
    progress: watch::Sender<Progress>,
}

impl Node {
    /// Begins to drain this gateway, or goes on with that, at the pace of a MsgServer in each slot.
    pub(crate) fn drain_gateway(
        self: &Arc<Self>,
        id: &str,
        slot: Duration,
    ) -> Result<Arc<Drain>, Refusal> {
        // Held around the node's own lock, so that who drains and who undoes it come one after the other.
        let mut drains = self.drains.0.lock();
        let (gateway, links) = self.transact(|transaction, _| {
            let gateway = transaction.gateways.drain(id)?;
            Ok::<_, Refusal>((gateway, transaction.gateways.open_links(gateway)))
        })?;
        if let Some(drain) = drains.get(&gateway) {
            drain.set_slot(slot);
            return Ok(Arc::clone(drain));
        }
        let drain = Arc::new(Drain {
            gateway,
            id: id.to_owned(),
            slot_micros: AtomicU64::default(),
            progress: watch::Sender::new(Progress::begin(links.unwrap_or_default())),
        });
        drain.set_slot(slot);
        drains.insert(gateway, Arc::clone(&drain));
        let task = Arc::clone(&drain).run(Arc::clone(self));
        self.process.shutdown.tracker().spawn(task);
        Ok(drain)
    }

    /// The gateway takes connections again. Returns how many links it has.
    pub(crate) fn undo_drain(&self, id: &str) -> Result<usize, Refusal> {
        let mut drains = self.drains.0.lock();
        let (gateway, links) = self.transact(|transaction, _| {
            let gateway = transaction.gateways.undo_drain(id)?;
            let links = transaction.gateways.open_links(gateway);
            Ok::<_, Refusal>((gateway, links.unwrap_or_default()))
        })?;
        if let Some(drain) = drains.remove(&gateway) {
            drain.progress.send_modify(|it| it.state = State::Undone);
        }
        Ok(links)
    }
}

impl Drain {
    /// What has been done so far, and what comes.
    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn set_slot(&self, slot: Duration) {
        let micros = u64::try_from(slot.as_micros()).unwrap_or(u64::MAX);
        self.slot_micros.store(micros, Ordering::Relaxed);
    }

    fn slot(&self) -> Duration {
        Duration::from_micros(self.slot_micros.load(Ordering::Relaxed))
    }

    async fn run(self: Arc<Self>, node: Arc<Node>) {
        info!(gateway = self.id, "an operator drains a gateway");
        let draining = node.draining();
        let mut progress = self.progress();
        tokio::select! {
            () = draining.cancelled() => {}
            _ = progress.wait_for(|it| it.state == State::Undone) => {
                info!(gateway = self.id, "its drain is undone");
            }
            () = self.work(&node) => {
                self.progress.send_modify(|it| it.state = State::Gone);
                node.drains.0.lock().remove(&self.gateway);
                info!(gateway = self.id, "the gateway that was drained is gone");
            }
        }
    }

    /// Returns when the gateway is gone.
    async fn work(&self, node: &Node) {
        // A connection that was taken a moment ago may not be known yet: only the second look tells that there is none.
        let mut was_empty = false;
        loop {
            let Some(left) = self.left(node) else {
                return;
            };
            let is_empty = left.is_known && left.links.is_empty();
            self.tell(left.links.len(), is_empty && was_empty);
            was_empty = is_empty;
            let may_move = left.is_known && left.has_where_to_go;
            let has_moved = may_move && self.move_all(node, left.links).await;
            if !has_moved {
                sleep(IDLE_LOOK).await;
            }
        }
    }

    /// Moves what can be moved. False if there is nothing.
    async fn move_all(&self, node: &Node, links: Vec<LinkId>) -> bool {
        let mut has_moved = false;
        for link in links {
            if !node.routing.lock().gateways.another_takes(self.gateway) {
                break;
            }
            let began = Instant::now();
            if self.step(node, link).await {
                has_moved = true;
                sleep_until(began + self.slot()).await;
            }
        }
        has_moved
    }

    /// Moves one MsgServer. False if there was nothing to do.
    async fn step(&self, node: &Node, link: LinkId) -> bool {
        let Some(moved) = moving::move_from(node, link).await else {
            return false;
        };
        match moved {
            Ok(moved) => self.progress.send_modify(|it| it.add(moved)),
            Err(still_open) => warn!(
                gateway = self.id,
                link = %still_open,
                "a link of a gateway that is drained has not been closed; it is asked for again"
            ),
        }
        if let Some(left) = node.routing.lock().gateways.open_links(self.gateway) {
            self.tell(left, false);
        }
        true
    }

    /// Tells what is left.
    fn tell(&self, links: usize, is_done: bool) {
        let state = match is_done {
            true => State::Done,
            false => State::Moving,
        };
        self.progress.send_if_modified(|it| {
            let is_news = (it.links, it.state) != (links, state);
            // Who has undone it has the last word.
            if !is_news || it.state == State::Undone {
                return false;
            }
            if is_done {
                let moved = it.moved();
                info!(
                    gateway = self.id,
                    moved, "a gateway is drained: it can be stopped"
                );
            }
            (it.links, it.state) = (links, state);
            true
        });
    }

    /// None if the node does not have the gateway any more, or it has ended in order.
    fn left(&self, node: &Node) -> Option<Left> {
        let mut routing = node.routing.lock();
        let knows_all = routing.cold_start.is_none();
        let has_where_to_go = routing.gateways.another_takes(self.gateway);
        let gateway = routing.gateways.get_mut(self.gateway)?;
        let reach = gateway.reach();
        if let Reach::Away {
            may_return: false, ..
        } = reach
        {
            return None;
        }
        let mut numbers: Vec<u64> = gateway.sequences.open_links().collect();
        numbers.sort_unstable();
        let links = numbers.into_iter();
        Some(Left {
            links: links.map(|it| LinkId::new(self.gateway, it)).collect(),
            is_known: knows_all && reach.has_caught_up(),
            has_where_to_go,
        })
    }
}

/// What a gateway still has.
#[derive(Debug)]
struct Left {
    /// The oldest first.
    links: Vec<LinkId>,
    /// Another gateway takes its MsgServers. Else they would have none at all.
    has_where_to_go: bool,
    /// These are all: it has told everything, and nothing of that is held back by a node that does not know all links.
    is_known: bool,
}
