//! Connections that are refused, those of strangers, those that are cut off for what they hold: each is counted, one of a
//! reason is logged a minute.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use route_runtime::seldom::Seldom;
use tracing::warn;

use crate::metrics::{REFUSALS, Refused};

/// What is to be logged of them.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    refused: [Seldom; REFUSALS.len()],
    strangers: Seldom,
    cut_off: Seldom,
}

impl Refusals {
    /// One was refused, for this reason and more closely that.
    pub fn log(&self, now: Duration, peer: SocketAddr, reason: Refused, why: &dyn fmt::Display) {
        let happened = self.0.lock().refused[reason as usize].happened(now);
        if let Some(left_out) = happened {
            let reason = REFUSALS[reason as usize];
            warn!(%peer, reason, %why, left_out, "connection refused");
        }
    }

    /// One was closed because of what it sent, and it has never sent a PDU.
    pub fn log_stranger(&self, now: Duration, peer: SocketAddr, why: &dyn fmt::Display) {
        let happened = self.0.lock().strangers.happened(now);
        if let Some(left_out) = happened {
            warn!(%peer, %why, left_out, "closed a connection that sent no PDU");
        }
    }

    /// One was cut off although it is in order: so much waits for it.
    pub fn log_cut_off(&self, now: Duration, peer: SocketAddr, queued: usize) {
        let happened = self.0.lock().cut_off.happened(now);
        if let Some(left_out) = happened {
            warn!(
                %peer,
                queued,
                left_out,
                "cutting off a connection for what waits for it: --memory-limit is nearly reached"
            );
        }
    }

    /// Says how many were left out, when it is time; about once a second.
    pub fn tick(&self, now: Duration) {
        let mut lines = self.0.lock();
        for (reason, seldom) in REFUSALS.iter().zip(&mut lines.refused) {
            if let Some(left_out) = seldom.left_out(now) {
                warn!(reason, left_out, "more connections were refused");
            }
        }
        if let Some(left_out) = lines.strangers.left_out(now) {
            warn!(left_out, "closed more connections that sent no PDU");
        }
        if let Some(left_out) = lines.cut_off.left_out(now) {
            warn!(left_out, "cut off more connections for what waits for them");
        }
    }
}
