//! A process of a site with several: it stands by, leads for a term, and stands by again, until it drains.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use route_runtime::readiness::Readiness;
use route_runtime::tls::client::ClientTls;
use tokio::time::timeout;
use tracing::info;

use super::candidate::Candidate;
use super::lead::lead;
use super::stand_by::stand_by;
use crate::engine::Engine;
use crate::engine::record::Author;
use crate::leads::{Leads, Site};
use crate::process::Process;
use crate::server::role::Role;
use crate::standby::Dial;
use crate::tenure::LeaseClock;

/// A process that knows of no leader for so long is not ready any more. Shorter absences are in order: calls wait.
const MISSED: Duration = Duration::from_secs(15);

/// What makes a process the node of its site, for a term at a time.
#[derive(Debug)]
pub struct Leadership(Candidate);

impl Leadership {
    /// Of a process that stands by, and connects to other nodes by `peers`. Nothing is read or written before it
    /// [runs](Self::run).
    ///
    /// # Errors
    ///
    /// For people: the node's name cannot be shown to others.
    pub fn new(
        process: &Arc<Process>,
        engine: Arc<dyn Engine>,
        author: Author,
        meter: &Meter,
        clock: LeaseClock,
        peers: ClientTls,
    ) -> Result<Self, String> {
        let dial: Dial = |endpoint| Box::pin(endpoint.connect());
        Self::dialling(process, engine, author, meter, clock, (peers, dial))
    }

    /// The same over another network, where one is simulated.
    ///
    /// # Errors
    ///
    /// As in [`new`](Self::new).
    pub fn dialling(
        process: &Arc<Process>,
        engine: Arc<dyn Engine>,
        author: Author,
        meter: &Meter,
        clock: LeaseClock,
        peers: (ClientTls, Dial),
    ) -> Result<Self, String> {
        Candidate::new(process, engine, author, meter, clock, peers).map(Self)
    }

    /// What the ports of this process serve.
    pub fn role(&self) -> Role {
        self.0.roles.role()
    }

    /// Follows who leads, until the process drains: ready is a process that leads and knows all links, or knows another one
    /// that serves.
    pub fn follow(&self, readiness: Readiness) -> impl Future<Output = ()> + use<> {
        let (site, draining) = (self.0.site.clone(), self.0.process.draining());
        async move {
            readiness.set(false, "waiting for a leader");
            draining
                .run_until_cancelled_owned(become_ready(site, readiness))
                .await;
        }
    }

    /// Runs until the process drains, and has given up its term if it had one.
    pub async fn run(self) {
        let Self(mut candidate) = self;
        while !candidate.process.draining().is_cancelled() {
            let Some(taken) = stand_by(&mut candidate).await else {
                break;
            };
            lead(&mut candidate, taken).await;
            candidate.site.is_led(Leads::Unknown);
            candidate.roles.stands_by();
        }
        info!("this process stands by no longer");
    }
}

async fn become_ready(site: Site, readiness: Readiness) {
    let mut leads = site.leads();
    loop {
        let now = leads.borrow_and_update().clone();
        match now {
            Leads::This(node) => {
                // One that was ready stays so: calls wait.
                readiness.set(readiness.is_ready(), "waiting for gateways");
                tokio::select! {
                    () = node.synced() => readiness.set(true, "serving"),
                    changed = leads.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                }
            }
            Leads::Other(leader) if leader.serves => readiness.set(true, "standing by"),
            Leads::Other(_) => {}
            Leads::Unknown => {
                let why = match readiness.is_ready() {
                    true => "no node leads at the moment",
                    false => "waiting for a leader",
                };
                readiness.set(readiness.is_ready(), why);
                match timeout(MISSED, leads.changed()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(_)) => return,
                    Err(_) => readiness.set(false, "no node leads"),
                }
            }
        }
        if leads.changed().await.is_err() {
            return;
        }
    }
}
