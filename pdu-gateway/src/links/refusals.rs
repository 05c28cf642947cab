//! Connections that are refused: each is counted, one of a reason is logged a minute.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use route_runtime::seldom::Seldom;
use tracing::warn;

use crate::metrics::{REFUSALS, Refused};

/// What is to be logged of them.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<[Seldom; REFUSALS.len()]>);

impl Refusals {
    /// One was refused, for this reason and more closely that.
    pub fn log(&self, now: Duration, peer: SocketAddr, reason: Refused, why: &dyn fmt::Display) {
        let happened = self.0.lock()[reason as usize].happened(now);
        if let Some(left_out) = happened {
            let reason = REFUSALS[reason as usize];
            warn!(%peer, reason, %why, left_out, "connection refused");
        }
    }

    /// Says how many were left out, when it is time; about once a second.
    pub fn tick(&self, now: Duration) {
        for (reason, seldom) in REFUSALS.iter().zip(&mut *self.0.lock()) {
            if let Some(left_out) = seldom.left_out(now) {
                warn!(reason, left_out, "more connections were refused");
            }
        }
    }
}
