//! The life of a gateway: it takes connections until it drains; then it closes its links, waits until the node knows what
//! they did, and ends.

use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::CloseReason;
use route_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::links::admission::Admission;
use crate::links::gateway::Gateway;
use crate::links::listener::{Door, Listener};
use crate::links::network::Reserved;
use crate::links::peer::Name;
use crate::links::tick;
use crate::node::attachment::{Attachment, Lost};
use crate::node::embedded::EmbeddedNode;
use crate::unconfirmed::ledger::{Owed, Summary};
use crate::unconfirmed::uplink::Uplink;

/// Of the shutdown deadline, what is left for the end of the stream and of an embedded node.
pub(super) const LAST_STEPS: Duration = Duration::from_secs(4);

/// When there is nothing more to wait for: until links have counted what they did not read.
const LAST_READS: Duration = Duration::from_secs(1);

/// Links that are named in the log when something of them is lost at the end.
const LOST_LINES: usize = 10;

/// From start to end.
pub(super) struct Lifetime {
    pub(super) gateway: Arc<Gateway>,
    pub(super) admission: Arc<Admission>,
    pub(super) door: watch::Receiver<Door>,
    pub(super) sockets: Vec<(Reserved, Option<Name>)>,
    pub(super) node: Option<EmbeddedNode>,
    pub(super) finished: CancellationToken,
    pub(super) shutdown: Shutdown,
    pub(super) close_window: Duration,
    pub(super) drain_wait: Duration,
    pub(super) query_timeout: Duration,
}

impl Lifetime {
    /// Takes connections, keeps attached, and drains at the end.
    pub(super) async fn live(self, attachment: Attachment) -> Result<(), Lost> {
        let ticking = tokio::spawn(tick::run(Arc::clone(&self.gateway), self.query_timeout));
        let listeners: Vec<_> = self
            .sockets
            .into_iter()
            .map(|(reserved, name)| {
                let listener = Listener {
                    gateway: Arc::clone(&self.gateway),
                    name,
                    admission: Arc::clone(&self.admission),
                    doors: self.door.clone(),
                    tracker: self.shutdown.tracker().clone(),
                };
                tokio::spawn(listener.run(reserved))
            })
            .collect();
        let mut attached = tokio::spawn(attachment.run());
        let draining = self.shutdown.draining();
        let lost = tokio::select! {
            biased;
            () = draining.cancelled() => None,
            ended = &mut attached => ended.ok(),
        };
        for listener in listeners {
            listener.abort();
        }
        let end = match lost {
            None => {
                let remaining = self.shutdown.remaining();
                let window = self.close_window.min(remaining / 2);
                if let Some(node) = &self.node {
                    node.stops();
                }
                close_links(&self.gateway, window).await;
                let remaining = self.shutdown.remaining();
                drain(&self.gateway, self.door, remaining, self.drain_wait).await;
                self.finished.cancel();
                attached.await.unwrap_or(Ok(()))
            }
            Some(end) => {
                self.gateway.links.end_all(CloseReason::Requested);
                end
            }
        };
        ticking.abort();
        if let Some(node) = self.node {
            node.end().await;
        }
        end
    }
}

/// Ends all links, one after the other, so that their MsgServers turn elsewhere one after the other.
async fn close_links(gateway: &Gateway, window: Duration) {
    let links = gateway.links.close();
    // What they say from now on is waited for, also of those that have said nothing yet.
    links.iter().for_each(|link| link.tell(&gateway.uplink));
    info!(links = links.len(), ?window, "closing all links");
    let pause = window / u32::try_from(links.len()).unwrap_or(u32::MAX).max(1);
    let mut at = Instant::now();
    for link in links {
        // A pause may be shorter than a timer can be: by the moment, not by the pause, or the window would grow.
        sleep_until(at).await;
        link.end(CloseReason::Drain);
        at += pause;
    }
}

/// Waits until the node knows everything that links did, if there is a node, or one may come back in time and there is
/// something to tell it: one that was away for so long will hardly be back before our deadline, and what we hold for it is
/// lost, as if we had crashed.
async fn drain(
    gateway: &Gateway,
    mut door: watch::Receiver<Door>,
    remaining: Duration,
    wait: Duration,
) {
    let uplink = &gateway.uplink;
    let time = remaining.saturating_sub(LAST_STEPS);
    let problem = tokio::select! {
        () = uplink.all_finished() => return,
        () = no_use_in_waiting(uplink, &mut door, wait) => "no node is there",
        () = sleep(time) => "the node has not confirmed everything in time",
    };
    gateway.given_up.cancel();
    let _ = timeout(LAST_READS, uplink.all_closed()).await;
    let owed = uplink.owed();
    for Owed {
        link,
        opened,
        was,
        entries,
    } in owed.iter().take(LOST_LINES)
    {
        let msg_server = (!opened.msg_server.is_empty()).then_some(&opened.msg_server);
        let Summary { claimed, sessions } = was;
        warn!(
            link,
            peer = opened.peer,
            msg_server,
            claimed,
            sessions,
            entries,
            "what a MsgServer did last is lost"
        );
    }
    let lost: usize = owed.iter().map(|owed| owed.entries).sum();
    gateway.counters.unconfirmed_lost.add(lost as u64);
    if lost > 0 {
        warn!(
            entries = lost,
            links = owed.len(),
            "{problem}; what MsgServers did last is lost"
        );
    } else {
        info!("{problem}, nor anything to be confirmed but the end of links");
    }
}

/// Returns when there is no node, and either nothing to tell it or no hope that it comes back.
async fn no_use_in_waiting(uplink: &Uplink, door: &mut watch::Receiver<Door>, wait: Duration) {
    loop {
        let state = *door.borrow_and_update();
        let changed = match state {
            Door::Shut => return,
            Door::Open => door.changed().await,
            Door::Held => tokio::select! {
                changed = door.changed() => changed,
                () = uplink.nothing_owed() => return,
                () = sleep(wait) => return,
            },
        };
        if changed.is_err() {
            return;
        }
    }
}
