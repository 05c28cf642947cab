//! What the gRPC port refuses or ends because of its peer, in the log: one line of a reason a
//! minute, and how many were left out. Metrics count all.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use route_runtime::seldom::Seldom;
use tracing::{info, warn};

/// What is refused, and why: both of small closed sets.
type Kind = (&'static str, &'static str);

/// What has been said of each kind.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<Kind, Seldom>>);

impl Refusals {
    /// `what` has happened to this peer for this reason, and more closely because of that.
    pub(crate) fn log(
        &self,
        now: Duration,
        (what, reason): Kind,
        peer: Option<SocketAddr>,
        why: &dyn fmt::Display,
    ) {
        if let Some(left_out) = self.happened(now, (what, reason)) {
            let peer = peer.map(tracing::field::display);
            warn!(reason, peer, %why, left_out, "{what}");
        }
    }

    /// The same, where it is in order.
    pub(crate) fn note(&self, now: Duration, (what, reason): Kind, peer: Option<SocketAddr>) {
        if let Some(left_out) = self.happened(now, (what, reason)) {
            let peer = peer.map(tracing::field::display);
            info!(reason, peer, left_out, "{what}");
        }
    }

    fn happened(&self, now: Duration, kind: Kind) -> Option<u64> {
        self.0.lock().entry(kind).or_default().happened(now)
    }

    /// Says how many were left out, when it is time; about once a second.
    pub(crate) fn tick(&self, now: Duration) {
        for ((what, reason), seldom) in self.0.lock().iter_mut() {
            if let Some(left_out) = seldom.left_out(now) {
                warn!(reason, left_out, "{what}, again and again");
            }
        }
    }
}
