//! Deliveries that nobody gets, in the log: one line of a reason a minute, and how many were left out.
//! Metrics read them from the core.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use route_core::Loss;
use route_runtime::seldom::Seldom;
use tracing::warn;

/// What has been said of each reason.
#[derive(Debug, Default)]
pub(super) struct Losses(Mutex<BTreeMap<&'static str, Seldom>>);

impl Losses {
    /// This has happened.
    pub(super) fn happened(&self, now: Duration, loss: &Loss) {
        let reason = loss.reason.as_str();
        let mut said = self.0.lock();
        let of_reason = said.entry(reason).or_default();
        let Some(left_out) = of_reason.many_happened(now, loss.deliveries) else {
            return;
        };
        let whose = loss.whose.as_ref();
        warn!(
            msg_server = whose.map(|whose| whose.identity.as_str()),
            link = %loss.link,
            peer = whose.map(|whose| tracing::field::display(whose.peer)),
            sessions = whose.map(|whose| whose.sessions),
            deliveries = loss.deliveries,
            reason,
            left_out,
            "deliveries lost"
        );
    }

    /// Says how many deliveries were left out, when it is time; about once a second.
    pub(super) fn tick(&self, now: Duration) {
        for (reason, seldom) in self.0.lock().iter_mut() {
            if let Some(deliveries) = seldom.left_out(now) {
                warn!(deliveries, reason, "more deliveries lost");
            }
        }
    }
}
