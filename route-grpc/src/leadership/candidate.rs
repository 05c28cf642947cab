//! A process of a site with several, and what it needs to lead.

use std::sync::Arc;

use opentelemetry::metrics::Meter;
use route_leadership::Timing;
use route_runtime::life::new_life;
use route_runtime::tls::client::ClientTls;

use super::counts::Counts;
use crate::engine::Engine;
use crate::engine::record::Author;
use crate::leads::Site;
use crate::node::Observed;
use crate::process::Process;
use crate::server::role::Roles;
use crate::standby::{Dial, Standby};
use crate::tenure::LeaseClock;

/// What may become the node of its site.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) process: Arc<Process>,
    pub(super) engine: Arc<dyn Engine>,
    /// Who writes records.
    pub(super) author: Author,
    /// Names this process in records.
    pub(super) life: u64,
    /// Counts its writes.
    counter: u64,
    pub(super) clock: LeaseClock,
    pub(super) timing: Timing,
    pub(super) site: Site,
    pub(super) roles: Roles,
    pub(super) observed: Observed,
    pub(super) counts: Counts,
}

impl Candidate {
    /// One that stands by.
    pub(super) fn new(
        process: &Arc<Process>,
        engine: Arc<dyn Engine>,
        author: Author,
        meter: &Meter,
        clock: LeaseClock,
        (peers, dial): (ClientTls, Dial),
    ) -> Result<Self, String> {
        let site = Site::new();
        let standby = Standby::dialling(process, &author.node_id, peers, site.other(), dial)?;
        Ok(Self {
            process: Arc::clone(process),
            engine,
            life: new_life(),
            counter: 0,
            clock,
            timing: Timing::default(),
            roles: Roles::standby(&author, &site, standby),
            author,
            site,
            observed: Observed::new(meter),
            counts: Counts::new(meter, clock),
        })
    }

    /// Number of the next write.
    pub(super) fn next_counter(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }
}
