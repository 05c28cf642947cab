//! What stands behind the node's lock.

use std::collections::VecDeque;
use std::time::Duration;

use route_core::Core;

use super::take_back::TakeBack;
use super::transaction::{HOLD_STEPS, Transaction};
use crate::cold_start::{ColdStart, Waits};
use crate::gateways::confirmations::Confirmations;
use crate::gateways::{GatewayLimits, Gateways};
use crate::settings::NodeSettings;
use crate::tenure::Door;
use crate::trace::Traced;

/// What stands behind the node's lock.
#[derive(Debug)]
pub(super) struct Routing {
    /// Presence, roles, fan-out.
    pub(super) core: Core,
    /// Who is attached.
    pub(super) gateways: Gateways,
    /// What has been applied and waits to be confirmed.
    pub(super) confirmations: Confirmations,
    /// What waits until all links are known; None: they are.
    pub(super) cold_start: Option<ColdStart>,
    /// Which gateways may come in; none: each.
    pub(super) door: Option<Door>,
    /// What lost gateways were not handed.
    pub(super) take_backs: VecDeque<TakeBack>,
}

impl Routing {
    /// Nothing yet. Positions go on where those of a predecessor ended, as far as gateways can see.
    pub(super) fn new(
        settings: &NodeSettings,
        epoch: u64,
        now: Duration,
        door: Option<Door>,
    ) -> Self {
        let waits = Waits {
            missing: settings.cold_start_wait,
            newcomers: settings.newcomer_wait,
        };
        let cold_start = || ColdStart::new(now, waits, settings.cold_start_bytes);
        let is_cold = door.is_some() || !settings.cold_start_wait.is_zero();
        Self {
            core: Core::following(settings.core(), epoch),
            gateways: Gateways::new(GatewayLimits {
                grace: settings.detach_grace,
                departed_wait: settings.departed_wait,
                silence: settings.gateway_silence,
                given_up: settings.gateway_given_up,
                replay_wait: settings.gateway_replay_wait,
                most: settings.max_gateways,
                queue_bytes: settings.gateway_queue_bytes,
                pdu_limit: settings.pdu_limit,
            }),
            confirmations: Confirmations::new(settings.patient_bytes),
            cold_start: is_cold.then(cold_start),
            door,
            take_backs: VecDeque::new(),
        }
    }

    /// Begins a change.
    pub(super) fn begin(&mut self, now: Duration) -> Transaction<'_> {
        let until = self.core.view().work() + HOLD_STEPS;
        Transaction {
            until,
            take_backs: &mut self.take_backs,
            garbage: Vec::new(),
            core: self.core.transaction(now),
            gateways: &mut self.gateways,
            confirmations: &mut self.confirmations,
            cold_start: &mut self.cold_start,
            door: &mut self.door,
            receipt: None,
            applied: Vec::new(),
            traced: Traced::default(),
            placed: None,
        }
    }
}
