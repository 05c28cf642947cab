//! Deliveries that nobody gets, in the log: so many lines a minute and identity, the rest is
//! counted. Metrics read them from the core.

use std::time::Duration;

use route_core::Loss;
use route_runtime::quota::Quota;
use tracing::warn;

/// Lines a minute and identity.
const LINES: u32 = 10;

/// What has been said of each identity.
#[derive(Debug)]
pub(super) struct Losses(Quota);

impl Default for Losses {
    fn default() -> Self {
        Losses(Quota::new(LINES))
    }
}

impl Losses {
    /// This has happened.
    pub(super) fn happened(&self, now: Duration, loss: &Loss) {
        let whose = loss.whose.as_ref();
        let identity = whose.map_or("", |whose| whose.identity.as_str());
        let Some(left_out) = self.0.take(now, identity, loss.deliveries) else {
            return;
        };
        warn!(
            msg_server = whose.map(|whose| whose.identity.as_str()),
            link = %loss.link,
            peer = whose.map(|whose| tracing::field::display(whose.peer)),
            sessions = whose.map(|whose| whose.sessions),
            deliveries = loss.deliveries,
            reason = loss.reason.as_str(),
            left_out,
            "deliveries lost"
        );
    }
}
