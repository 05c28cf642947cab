//! While no node is attached: what is logged and counted, who is told that he may leave us alone, how long is waited
//! before the next round, and when links are ended.

use std::time::Duration;

use route_proto::attach::v1::CloseReason;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::attachment::{Attachment, Lost};
use super::known::Known;
use super::upstream::AttachError;
use crate::links::listener::Door;

/// Before the second attempt, at most; it doubles up to `Patience::back_off`, with full jitter.
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);

/// Between two rounds while nodes answer, and none of them leads yet: so long, and up to so much more.
const ELECTION: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(200));

/// What to do about a node that does not know this protocol.
const OLDER_NODE: &str =
    "the node is older than this gateway; upgrade nodes first (docs/upgrade.md)";

/// Before links are ended: until an attempt that hangs has ended (4 s), and two probes have failed (4 s).
const NOTICE: Duration = Duration::from_secs(8);

impl Attachment {
    /// A stream has ended that a node had welcomed.
    pub(super) fn detached(
        &self,
        name: &str,
        error: AttachError,
        known: &mut Known,
    ) -> Result<AttachError, Lost> {
        let error = self.without_stream(error)?;
        known.away_since = Some(self.gateway.clock.now());
        self.doors.send_replace(Door::Held);
        let what = "detached; MsgServers stay connected";
        if error.is_drain() || error.is_unauthenticated() || error.is_not_leader() {
            info!(node = name, %error, "{what}");
        } else {
            warn!(node = name, %error, "{what}");
        }
        self.failed(&error, known);
        self.follow_up(known);
        Ok(error)
    }

    /// A node has not welcomed us, or is not there. Others are tried.
    pub(super) fn missed(
        &self,
        name: &str,
        error: AttachError,
        known: &Known,
    ) -> Result<AttachError, Lost> {
        let error = self.without_stream(error)?;
        debug!(node = name, %error, "not welcomed");
        self.follow_up(known);
        Ok(error)
    }

    /// None has, in a whole round; this is what is worst.
    pub(super) fn none_welcomed(&self, name: &str, error: &AttachError, known: &mut Known) {
        let now = self.gateway.clock.now();
        if let Some(left_out) = known.is_worrying(now, error.is_refusal()) {
            if error.is_not_leader() {
                info!(node = name, %error, left_out, "no node leads");
            } else {
                let advice = error.is_older_node().then_some(OLDER_NODE);
                warn!(node = name, %error, advice, left_out, "cannot attach");
            }
        }
        self.failed(error, known);
        self.follow_up(known);
    }

    fn without_stream(&self, error: AttachError) -> Result<AttachError, Lost> {
        let gateway = &self.gateway;
        let counters = &gateway.counters;
        let counter = match error.is_not_leader() {
            true => &counters.not_leader,
            false => &counters.attach_failures,
        };
        counter.add(1);
        if error.is_silence() {
            counters.silent.add(1);
        }
        gateway.uplink.detach();
        if self.embedded {
            return Err(Lost::Embedded(error));
        }
        let now = gateway.clock.now();
        for link in gateway.links.all() {
            link.brake().node(now, false);
        }
        Ok(error)
    }

    fn failed(&self, error: &AttachError, known: &mut Known) {
        known.failures = known.failures.saturating_add(1);
        known.not_let_in = match error.is_of_credentials() {
            true => known.not_let_in + 1,
            false => 0,
        };
    }

    /// What follows from that there is no node.
    fn follow_up(&self, known: &Known) {
        let gateway = &self.gateway;
        if self.is_away_for_too_long(known) && *self.doors.borrow() != Door::Shut {
            error!(
                links = gateway.counters.open_links(),
                "no node for too long; closing all links, so that MsgServers turn elsewhere"
            );
            self.doors.send_replace(Door::Shut);
            gateway.links.end_all(CloseReason::Requested);
        }
        self.tell_whether_it_is_needed(known);
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

    /// How long is waited before the next round. `is_led`: a node has answered that another one leads, so the site elects.
    pub(super) fn pause(&self, error: &AttachError, is_led: bool, known: &Known) -> Duration {
        if is_led {
            let (least, more) = ELECTION;
            return least + more.mul_f64(fastrand::f64());
        }
        let most = FIRST_BACK_OFF
            .saturating_mul(1 << known.failures.min(10))
            .min(self.patience.back_off);
        // What we have shown may have had its time, and the files may have newer ones: nobody waits for that.
        let is_over = known.failures == 1 && error.is_unauthenticated();
        if error.is_refusal() && !is_over {
            self.patience.back_off
        } else {
            most.mul_f64(fastrand::f64())
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
    pub(super) async fn away_for_too_long(&self, known: &Known) {
        match known.away_since {
            Some(since) if *self.doors.borrow() != Door::Shut => {
                let away = self.gateway.clock.now().saturating_sub(since);
                sleep(self.patience.lost.saturating_sub(away)).await;
            }
            _ => std::future::pending().await,
        }
    }
}
