//! What happens to the links of MsgServers, in the log and in metrics: so many lines a minute and
//! identity, the rest is counted.

use std::time::Duration;

use route_core::{Transition, TransitionKind};
use tracing::{info, warn};

use super::quota::Quota;
use crate::metrics::Metrics;

/// What has been said of each identity.
#[derive(Debug, Default)]
pub(super) struct Transitions(Quota);

impl Transitions {
    /// This has happened.
    pub(super) fn happened(&self, now: Duration, metrics: &Metrics, it: &Transition) {
        metrics.transition(it.kind);
        let Some(left_out) = self.0.take(now, &it.identity, 1) else {
            return;
        };
        if it.kind == TransitionKind::SharesName {
            warn!(
                msg_server = it.identity,
                peer = %it.peer,
                other = it.other.map(tracing::field::display),
                "two MsgServers have one name: give each its own, by pdu-gateway --listen ADDR=NAME or --msg-server NAME=IP"
            );
            return;
        }
        if it.kind == TransitionKind::SameUsers {
            warn!(
                msg_server = it.identity,
                link = %it.link,
                peer = %it.peer,
                other = it.other.map(tracing::field::display),
                "two links hold the same users, but count as two MsgServers': if they are one's, give both one name, by \
                 pdu-gateway --listen ADDR=NAME or --msg-server NAME=IP,IP"
            );
            return;
        }
        if it.kind == TransitionKind::Crowds {
            warn!(
                peer = %it.peer,
                "too many connections from one address to tell its MsgServers apart: name them, by pdu-gateway --listen \
                 ADDR=NAME or --msg-server NAME=IP"
            );
            return;
        }
        info!(
            msg_server = it.identity,
            link = %it.link,
            peer = %it.peer,
            sessions = it.sessions,
            other = it.other.map(tracing::field::display),
            left_out,
            "link {}",
            it.kind
        );
    }
}
