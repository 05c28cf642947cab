//! What happens to the links of MsgServers, in the log and in metrics: so many lines a minute and
//! identity, the rest is counted.

use std::time::Duration;

use route_core::{Transition, TransitionKind};
use route_runtime::quota::Quota;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// Lines a minute and identity.
const LINES: u32 = 10;

/// What has been said of each identity.
#[derive(Debug)]
pub(super) struct Transitions(Quota);

impl Default for Transitions {
    fn default() -> Self {
        Transitions(Quota::new(LINES))
    }
}

impl Transitions {
    /// This has happened.
    pub(super) fn happened(&self, now: Duration, metrics: &Metrics, it: &Transition) {
        metrics.transition(it.kind);
        let line = match is_warning(it.kind) {
            true => self.0.take(now, &it.identity),
            false => self.0.take_usual(now, &it.identity),
        };
        let Some(left_out) = line else {
            return;
        };
        match it.kind {
            TransitionKind::SharesName => warn!(
                msg_server = it.identity,
                peer = %it.peer,
                other = it.other.map(tracing::field::display),
                left_out,
                "two MsgServers have one name: give each its own, by pdu-gateway --listen ADDR=NAME or --msg-server NAME=IP"
            ),
            TransitionKind::SameUsers => warn!(
                msg_server = it.identity,
                link = %it.link,
                peer = %it.peer,
                other = it.other.map(tracing::field::display),
                left_out,
                "two links hold the same users, but count as two MsgServers': if they are one's, give both one name, by \
                 pdu-gateway --listen ADDR=NAME or --msg-server NAME=IP,IP"
            ),
            TransitionKind::Crowds => warn!(
                peer = %it.peer,
                left_out,
                "too many connections from one address to tell its MsgServers apart: name them, by pdu-gateway --listen \
                 ADDR=NAME or --msg-server NAME=IP"
            ),
            TransitionKind::Overflows => warn!(
                msg_server = it.identity,
                link = %it.link,
                peer = %it.peer,
                sessions = it.sessions,
                left_out,
                "more sessions than are kept, of this link, of one user or in all: it gets everything from now on"
            ),
            TransitionKind::Claims
            | TransitionKind::Succeeds
            | TransitionKind::StandsIn
            | TransitionKind::Supersedes
            | TransitionKind::LeavesSeat
            | TransitionKind::SeatEnds
            | TransitionKind::Stands
            | TransitionKind::FallsSilent
            | TransitionKind::Follows => info!(
                msg_server = it.identity,
                link = %it.link,
                peer = %it.peer,
                sessions = it.sessions,
                other = it.other.map(tracing::field::display),
                left_out,
                "link {}",
                it.kind
            ),
        }
    }

    /// Says how many lines were left out, when the minute is over; about once a second.
    pub(super) fn tick(&self, now: Duration) {
        self.0.tick(now, |msg_server, left_out| {
            warn!(
                msg_server,
                left_out, "more happened to links of this MsgServer"
            );
        });
    }
}

/// It is what somebody should mend.
fn is_warning(kind: TransitionKind) -> bool {
    matches!(
        kind,
        TransitionKind::SharesName
            | TransitionKind::SameUsers
            | TransitionKind::Crowds
            | TransitionKind::Overflows
    )
}
