//! What the log says of access: lines of target `audit`, a bounded number, and how many were left out.

use std::fmt;
use std::time::Instant;

use route_access::Kind;
use route_runtime::quota::Quota;
use route_runtime::telemetry::AUDIT;
use tracing::{info, warn};

use super::Access;
use super::peer::Peer;
use crate::refusal::{OfCaller, Refusal};

/// Lines a minute about what one identity publishes.
const PUBLISHED: u32 = 6;

/// What was said lately.
#[derive(Debug)]
pub(crate) struct Said {
    began: Instant,
    /// By reason.
    refusals: Quota,
    /// By identity and method.
    told: Quota,
    /// The same.
    operated: Quota,
    /// By identity.
    published: Quota,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            refusals: Quota::new(1),
            told: Quota::new(1),
            operated: Quota::new(1),
            published: Quota::new(PUBLISHED),
        }
    }
}

/// Who called what.
pub(super) struct Called<'a> {
    pub(super) method: &'a str,
    pub(super) identity: &'a str,
    pub(super) peer: &'a Peer,
    /// By which node; none: he has come himself.
    pub(super) by: Option<&'a str>,
}

impl Access {
    /// Says and counts a refusal: one line of a reason a minute.
    pub(super) fn refused(&self, called: &Called<'_>, refusal: OfCaller) -> OfCaller {
        let reason = refusal.reason();
        self.counts.refused(reason);
        if let Some(left_out) = self.said.refusals.take(self.said.began.elapsed(), reason) {
            let Called {
                method,
                identity,
                peer,
                by,
            } = called;
            let caller = peer.address.map(tracing::field::display);
            let why = &refusal;
            warn!(target: AUDIT, method, identity, by, caller, reason, %why, left_out, "a call was refused");
        }
        refusal
    }

    /// Says and counts what a policy in audit mode would refuse: one line of an identity and a method a minute.
    pub(super) fn would_refuse(
        &self,
        called: &Called<'_>,
        counted: &'static str,
        why: &dyn fmt::Display,
    ) {
        self.counts.would_refuse(counted);
        if let Some(left_out) = self.line(&self.said.told, called) {
            let Called {
                method,
                identity,
                peer,
                by,
            } = called;
            let caller = peer.address.map(tracing::field::display);
            warn!(target: AUDIT, method, identity, by, caller, %why, left_out, "the policy would refuse a call");
        }
    }

    /// Says that an operator has called: one line of an identity and a method a minute. What changes something has a line of its
    /// own.
    pub(super) fn operated(&self, called: &Called<'_>) {
        if let Some(left_out) = self.line(&self.said.operated, called) {
            let Called {
                method,
                identity,
                peer,
                by,
            } = called;
            let caller = peer.address.map(tracing::field::display);
            info!(target: AUDIT, method, identity, by, caller, left_out, "an operator called");
        }
    }

    fn line(&self, lines: &Quota, called: &Called<'_>) -> Option<u64> {
        let whose = format!("{} {}", called.identity, called.method);
        lines.take(self.said.began.elapsed(), &whose)
    }

    /// Says that somebody has published, or why not: a few lines of an identity a minute.
    pub(super) fn published(
        &self,
        called: &Called<'_>,
        events: usize,
        kinds: &[Kind],
        why_not: Option<&Refusal>,
    ) {
        let Called {
            method,
            identity,
            peer,
            by,
        } = called;
        let now = self.said.began.elapsed();
        if let Some(left_out) = self.said.published.take(now, identity) {
            let caller = peer.address.map(tracing::field::display);
            let problem = why_not.map(tracing::field::display);
            let kinds: Vec<_> = kinds.iter().map(|it| it.name()).collect();
            let kinds = kinds.join("+");
            info!(target: AUDIT, method, identity, by, caller, events, kinds, problem, left_out, "a service published");
        }
    }
}
