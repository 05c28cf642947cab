//! What happens to the links of MsgServers, in the log and in metrics: so many lines a minute and
//! identity, the rest is counted.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use route_core::{Transition, TransitionKind};
use tracing::{info, warn};

use crate::metrics::Metrics;

/// Lines a minute and identity.
const LINES: u32 = 10;
const MINUTE: Duration = Duration::from_secs(60);
/// Identities that are told apart; beyond, all begin anew.
const IDENTITIES: usize = 4096;

/// What has been said of each identity.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    said: Mutex<HashMap<String, Said>>,
}

#[derive(Debug, Default)]
struct Said {
    since: Duration,
    lines: u32,
    left_out: u64,
}

impl Transitions {
    /// This has happened.
    pub(super) fn happened(&self, now: Duration, metrics: &Metrics, it: &Transition) {
        metrics.transition(it.kind);
        let Some(left_out) = self.is_said(now, &it.identity) else {
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

    /// `Some` if there is a line for it, with how many were left out before.
    fn is_said(&self, now: Duration, identity: &str) -> Option<u64> {
        let mut said = self.said.lock();
        if said.len() >= IDENTITIES && !said.contains_key(identity) {
            said.clear();
        }
        let said = said.entry_ref(identity).or_default();
        if now.saturating_sub(said.since) >= MINUTE {
            (said.since, said.lines) = (now, 0);
        }
        if said.lines == LINES {
            said.left_out += 1;
            return None;
        }
        said.lines += 1;
        Some(std::mem::take(&mut said.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_are_said_of_each_identity() {
        let transitions = Transitions::default();
        let at = Duration::from_secs;

        for _ in 0..LINES {
            assert_eq!(transitions.is_said(at(5), "m1"), Some(0));
        }
        assert_eq!(transitions.is_said(at(6), "m1"), None);
        assert_eq!(transitions.is_said(at(7), "m1"), None);
        assert_eq!(transitions.is_said(at(7), "10.0.0.1"), Some(0));
        assert_eq!(transitions.is_said(at(65), "m1"), Some(2));
    }
}
