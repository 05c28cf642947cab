//! The gateway's end of Attach: finds a node, says hello, resumes, and works off what comes down until the stream
//! breaks; then begins anew.
//!
//! Listeners and readiness follow it: connections are taken while a node is attached, and while it is away for a
//! moment; they are refused when it has never been there or stays away; then links are ended too, so that their
//! MsgServers turn to another RouteServer. Without a node, ready is who holds MsgServers, for to end it would cost them
//! what it holds; but not just before it sends them away, so that nobody is sent here who would be refused. One that an
//! operator drains takes nobody and is not ready, whatever the node does, until the node, or the next one, says otherwise. One
//! that nodes do not let in, as who it is, is not ready either: nothing but a change of files or of a policy helps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use route_proto::attach::v1::{
    AttachHello, AttachWelcome, CloseReason, Downlink as Message, attach_response,
    downlink_entry::Entry,
};
use route_runtime::life::new_secret;
use route_runtime::readiness::Readiness;
use route_runtime::seldom::Seldom;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::links::gateway::Gateway;
use crate::links::listener::Door;
use crate::node::downlink::Downlink;
use crate::node::upstream::{AttachError, Upstream};

/// Before the second attempt, at most; it doubles up to [`Patience::back_off`], with full jitter.
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);

/// After messages of so many PDU bytes, other tasks come first.
const TURN: usize = 256 << 10;

/// A node that is replaced is back in less.
const RESTART: Duration = Duration::from_secs(5);

/// What to do about a node that does not know this protocol.
const OLDER_NODE: &str =
    "the node is older than this gateway; upgrade nodes first (docs/upgrade.md)";

/// Before links are ended: until an attempt that hangs has ended (4 s), and two probes have failed (4 s).
const NOTICE: Duration = Duration::from_secs(8);

/// For the stream to end after we have ended our side.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Attaching has ended for good.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The node is in this process; it cannot come back.
    #[error("the embedded node ended the stream: {0}")]
    Embedded(AttachError),
}

/// How the gateway presents itself to nodes.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Stable name.
    pub gateway_id: String,
    /// Version and host, for operators.
    pub description: String,
}

/// How long is waited for nodes.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To be welcomed, from the connecting on. A node may keep a restarted gateway waiting until its old stream breaks.
    pub welcome: Duration,
    /// Longest pause between two attempts; also after a refusal that another attempt will hardly change.
    pub back_off: Duration,
    /// Links are ended when the node has been away for so long.
    pub lost: Duration,
}

/// Keeps the gateway attached.
#[derive(Debug)]
pub struct Attachment {
    /// Whose links.
    pub gateway: Arc<Gateway>,
    /// Tried in turn; at least one.
    pub upstreams: Vec<Box<dyn Upstream>>,
    /// The node is in this process: there is no second attempt.
    pub embedded: bool,
    /// Who we are.
    pub identity: Identity,
    /// How long it waits.
    pub patience: Patience,
    /// For the listeners.
    pub doors: watch::Sender<Door>,
    /// For probes.
    pub readiness: Readiness,
    /// Everything has been sent: end the stream and return.
    pub finished: CancellationToken,
}

/// What is known of nodes, from one attempt to the next.
#[derive(Debug, Default)]
struct Known {
    attempt: u64,
    /// What shows nodes that an attempt is of this life.
    secret: Bytes,
    roster: Vec<String>,
    epoch: u64,
    /// The highest of all nodes that have welcomed us.
    term: u64,
    /// Number of the last Downlink taken from that node since its last welcome: an earlier one it has been told of.
    taken: u64,
    /// Of the newest delivery of all nodes so far.
    position: u64,
    failures: u32,
    /// So many of the last ones were because the node does not take what we show.
    not_let_in: u32,
    /// Since when there is no node, if there has been one.
    away_since: Option<Duration>,
    /// Failures since the last welcome that somebody may look at.
    worrying: Seldom,
}

impl Known {
    /// Whether a failure is worth a line that somebody may look at: a refusal is, for it will not go away by itself, and
    /// everything while there has been no node, or while it is away for longer than a restart takes; one a minute. Returns how
    /// many were left out.
    fn is_worrying(&mut self, now: Duration, is_refusal: bool) -> Option<u64> {
        let is_restart = |since| now.saturating_sub(since) < RESTART;
        let passes = !is_refusal && self.away_since.is_some_and(is_restart);
        (!passes).then(|| self.worrying.happened(now)).flatten()
    }
}

impl Attachment {
    /// Attaches, and attaches again, until it is finished. Fails when there is no use in trying again.
    pub async fn run(self) -> Result<(), Lost> {
        let mut known = Known {
            secret: Bytes::copy_from_slice(&new_secret()),
            ..Known::default()
        };
        for upstream in self.upstreams.iter().cycle() {
            let Err(error) = self.attach(upstream.as_ref(), &mut known).await else {
                return Ok(());
            };
            let error = self.detached(upstream.name(), error, &mut known)?;
            tokio::select! {
                () = self.wait(&error, &known) => {}
                () = self.finished.cancelled() => return Ok(()),
            }
        }
        Ok(())
    }

    /// One stream, from hello to its end. Ok when we have finished.
    async fn attach(&self, upstream: &dyn Upstream, known: &mut Known) -> Result<(), AttachError> {
        known.attempt += 1;
        let hello = AttachHello {
            gateway_id: self.identity.gateway_id.clone(),
            incarnation: self.gateway.incarnation,
            attempt: known.attempt,
            roster: known.roster.clone(),
            description: self.identity.description.clone(),
            epoch: known.epoch,
            taken: known.taken,
            position: known.position,
            dialect: self.gateway.dialect.definition(),
            secret: known.secret.clone(),
            term: known.term,
            // When it is sent.
            clock_micros: 0,
        };
        let requests = self.gateway.uplink.stream(hello);
        let open = async {
            let mut responses = upstream.attach(requests).await?;
            let first = responses.next().await.ok_or(AttachError::Closed)??;
            match first.frame {
                Some(attach_response::Frame::Welcome(welcome)) => Ok((responses, welcome)),
                Some(attach_response::Frame::Downlink(_)) | None => Err(AttachError::Protocol),
            }
        };
        let opened = tokio::select! {
            opened = timeout(self.patience.welcome, open) => opened.map_err(|_| AttachError::Slow)?,
            () = self.away_for_too_long(known) => Err(AttachError::Slow),
            () = self.finished.cancelled() => return Ok(()),
        };
        let (mut responses, welcome) = opened?;
        self.welcomed(upstream.name(), welcome, known);
        self.serve().await;

        let mut downlink = Downlink::new(Arc::clone(&self.gateway));
        loop {
            let message = tokio::select! {
                biased;
                message = responses.next() => message,
                () = self.finished.cancelled() => {
                    self.gateway.uplink.end_stream();
                    let _ = timeout(LAST_WORDS, async { while responses.next().await.is_some() {} }).await;
                    return Ok(());
                }
            };
            let message = message.ok_or(AttachError::Closed)??;
            let Some(attach_response::Frame::Downlink(message)) = message.frame else {
                return Err(AttachError::Protocol);
            };
            let is_undone = message.draining == Some(false);
            if self.take(&mut downlink, message, known) >= TURN {
                tokio::task::yield_now().await;
            }
            if is_undone {
                self.serve().await;
            }
        }
    }

    /// There is a node: connections are taken, unless an operator drains us.
    async fn serve(&self) {
        if !self.is_drained() {
            self.gateway.ports.all_open().await;
        }
        self.set_readiness(true, "attached to a node");
    }

    fn is_drained(&self) -> bool {
        *self.gateway.drains.borrow()
    }

    /// An operator drains us, or does so no longer.
    fn drains(&self, on: bool) {
        if self.gateway.drains.send_replace(on) == on {
            return;
        }
        info!(on, "an operator drains this gateway, or no longer does");
        // Ready again is who listens again.
        if on {
            self.set_readiness(true, "attached to a node");
        }
    }

    /// For probes: as it would be, if no operator drained us.
    fn set_readiness(&self, ready: bool, reason: &'static str) {
        match self.is_drained() {
            true => self.readiness.set(false, "drained by an operator"),
            false => self.readiness.set(ready, reason),
        }
    }

    fn welcomed(&self, name: &str, welcome: AttachWelcome, known: &mut Known) {
        info!(
            node = name,
            epoch = format_args!("{:x}", welcome.epoch),
            attempt = known.attempt,
            known_links = welcome.applied.len(),
            gateways = welcome.roster.len(),
            "attached"
        );
        if welcome.epoch != known.epoch {
            for link in self.gateway.links.all() {
                link.new_node();
            }
        }
        if let Some(problem) = self.gateway.uplink.windows().misfit(&welcome) {
            warn!(node = name, "{problem}");
        }
        if welcome.max_pdu_bytes > 0 {
            self.gateway.limit_pdus(welcome.max_pdu_bytes);
        }
        for link in self.gateway.uplink.resume(&welcome.applied) {
            if let Some(link) = self.gateway.links.get(link) {
                link.reopen_end();
            }
        }
        if !welcome.roster.is_empty() {
            known.roster = welcome.roster;
        }
        (known.epoch, known.taken) = (welcome.epoch, 0);
        known.term = known.term.max(welcome.term);
        (known.failures, known.not_let_in, known.away_since) = (0, 0, None);
        known.worrying = Seldom::default();
        self.gateway.counters.attached.add(1);
        self.gateway.drains.send_replace(welcome.draining);
        self.doors.send_replace(Door::Open);
    }

    fn take(&self, downlink: &mut Downlink, mut message: Message, known: &mut Known) -> usize {
        if let Some(roster) = message.roster.take() {
            known.roster = roster.gateway_ids;
        }
        if let Some(on) = message.draining {
            self.drains(on);
        }
        // A node in this process has no successor.
        if !self.embedded {
            for entry in &message.entries {
                if let Some(Entry::Run(run)) = &entry.entry {
                    let last = run.position + (run.deliveries.len() as u64).saturating_sub(1);
                    known.position = known.position.max(last);
                }
            }
        }
        let number = message.number;
        let work = downlink.take(message);
        known.taken = number;
        work
    }

    /// Notes that there is no node, and what follows from that.
    fn detached(
        &self,
        name: &str,
        error: AttachError,
        known: &mut Known,
    ) -> Result<AttachError, Lost> {
        let gateway = &self.gateway;
        gateway.counters.attach_failures.add(1);
        gateway.uplink.detach();
        if self.embedded {
            return Err(Lost::Embedded(error));
        }
        let now = gateway.clock.now();
        for link in gateway.links.all() {
            link.brake().node(now, false);
        }
        if known.epoch != 0 && known.away_since.is_none() {
            let what = "detached; MsgServers stay connected";
            if error.is_drain() || error.is_unauthenticated() {
                info!(node = name, %error, "{what}");
            } else {
                warn!(node = name, %error, "{what}");
            }
            known.away_since = Some(now);
            self.doors.send_replace(Door::Held);
        } else if let Some(left_out) = known.is_worrying(now, error.is_refusal()) {
            let advice = error.is_older_node().then_some(OLDER_NODE);
            warn!(node = name, %error, advice, left_out, "cannot attach");
        } else {
            debug!(node = name, %error, "cannot attach");
        }
        known.failures += 1;
        known.not_let_in = match error.is_of_credentials() {
            true => known.not_let_in + 1,
            false => 0,
        };
        if self.is_away_for_too_long(known) && *self.doors.borrow() != Door::Shut {
            error!(
                links = gateway.counters.open_links(),
                "no node for too long; closing all links, so that MsgServers turn elsewhere"
            );
            self.doors.send_replace(Door::Shut);
            gateway.links.end_all(CloseReason::Requested);
        }
        self.tell_whether_it_is_needed(known);
        Ok(error)
    }

    /// Whether somebody should leave us alone though there is no node.
    fn tell_whether_it_is_needed(&self, known: &Known) {
        // The first time may be because what we have shown had its time.
        if known.not_let_in > 1 {
            self.set_readiness(false, "the node does not let this gateway in");
            return;
        }
        let is_soon_given_up = self.is_away_for(known, self.patience.lost.saturating_sub(NOTICE));
        if known.away_since.is_some() && !is_soon_given_up && self.gateway.counters.open_links() > 0
        {
            self.set_readiness(true, "no node is attached, MsgServers are held");
        } else {
            self.set_readiness(false, "no node is attached");
        }
    }

    async fn wait(&self, error: &AttachError, known: &Known) {
        let most = FIRST_BACK_OFF
            .saturating_mul(1 << known.failures.min(10))
            .min(self.patience.back_off);
        // What we have shown may have had its time, and the files may have newer ones: nobody waits for that.
        let is_over = known.failures == 1 && error.is_unauthenticated();
        let time = if error.is_refusal() && !is_over {
            self.patience.back_off
        } else {
            most.mul_f64(fastrand::f64())
        };
        tokio::select! {
            () = sleep(time) => {}
            () = self.away_for_too_long(known) => {}
        }
    }

    fn is_away_for_too_long(&self, known: &Known) -> bool {
        self.is_away_for(known, self.patience.lost)
    }

    fn is_away_for(&self, known: &Known, time: Duration) -> bool {
        let now = self.gateway.clock.now();
        known
            .away_since
            .is_some_and(|since| now.saturating_sub(since) >= time)
    }

    /// Returns at the moment when links have to be ended; never if they have been, or there is nothing to end.
    async fn away_for_too_long(&self, known: &Known) {
        match known.away_since {
            Some(since) if *self.doors.borrow() != Door::Shut => {
                let away = self.gateway.clock.now().saturating_sub(since);
                sleep(self.patience.lost.saturating_sub(away)).await;
            }
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_once_a_minute_and_those_of_a_restart_are_not() {
        let mut known = Known {
            secret: Bytes::copy_from_slice(&new_secret()),
            ..Known::default()
        };
        let at = Duration::from_secs;

        assert_eq!(
            known.is_worrying(at(0), false),
            Some(0),
            "there was never a node"
        );
        assert_eq!(known.is_worrying(at(1), false), None);
        assert_eq!(known.is_worrying(at(60), false), Some(1));

        known.worrying = Seldom::default();
        known.away_since = Some(at(100));
        assert_eq!(known.is_worrying(at(104), false), None);
        assert_eq!(known.is_worrying(at(105), false), Some(0), "it stays away");
        assert_eq!(known.is_worrying(at(106), true), None);

        known.worrying = Seldom::default();
        assert_eq!(known.is_worrying(at(101), true), Some(0), "a refusal");
    }
}
