//! Who leads the site, as this process sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::node::Node;
use crate::standby;
use crate::tenure::Member;

/// Who leads.
#[derive(Debug, Clone)]
pub(crate) enum Leads {
    /// This process.
    This(Arc<Node>),
    /// Another one.
    Other(Arc<Leader>),
    /// Nobody, or one that may be gone; this process may be the next.
    Unknown,
}

/// A node that leads, as its record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    /// Its name, for people.
    pub(crate) node_id: String,
    /// Its term.
    pub(crate) term: u64,
    /// Where its public port is.
    pub(crate) api_url: String,
    /// Where gateways reach it.
    pub(crate) attach_url: String,
    /// Of its program.
    pub(crate) version: String,
    /// It applies what gateways send.
    pub(crate) serves: bool,
}

/// What is known of the site, for those who are asked for its leader, and who comes, for those who may lead. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Site(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    leads: watch::Sender<Leads>,
    /// To whom calls are passed on.
    other: watch::Sender<Option<standby::Leader>>,
    /// The gateways of the roster that have come since the record last changed.
    came: Mutex<Came>,
    comes: Notify,
}

#[derive(Debug, Default)]
struct Came {
    roster: BTreeSet<Member>,
    came: bool,
}

impl Site {
    /// Nothing is known yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            leads: watch::Sender::new(Leads::Unknown),
            other: watch::Sender::new(None),
            came: Mutex::default(),
            comes: Notify::new(),
        }))
    }

    /// Who leads, now and from now on.
    pub(crate) fn leads(&self) -> watch::Receiver<Leads> {
        self.0.leads.subscribe()
    }

    /// To whom calls are passed on, now and from now on.
    pub(crate) fn other(&self) -> watch::Receiver<Option<standby::Leader>> {
        self.0.other.subscribe()
    }

    /// Nobody leads, for certain: calls wait for the next one.
    pub(crate) fn nobody_leads(&self) {
        self.pass_on_to(None);
        self.is_led(Leads::Unknown);
    }

    /// This is so from now on. Calls go on to the one that was known last if that is unknown: it may lead still, and knows
    /// better.
    pub(crate) fn is_led(&self, leads: Leads) {
        match &leads {
            Leads::Other(leader) => self.pass_on_to(Some(standby::Leader {
                api_url: leader.api_url.clone(),
                term: leader.term,
            })),
            Leads::This(_) => self.pass_on_to(None),
            Leads::Unknown => {}
        }
        self.0.leads.send_if_modified(|before| {
            let is_same = match (&*before, &leads) {
                (Leads::Unknown, Leads::Unknown) => true,
                (Leads::Other(before), Leads::Other(now)) => before == now,
                (Leads::This(before), Leads::This(now)) => Arc::ptr_eq(before, now),
                (Leads::This(_) | Leads::Other(_) | Leads::Unknown, _) => false,
            };
            if !is_same {
                *before = leads;
            }
            !is_same
        });
    }

    fn pass_on_to(&self, other: Option<standby::Leader>) {
        self.0.other.send_if_modified(|before| {
            let is_new = *before != other;
            *before = other;
            is_new
        });
    }

    /// The record has changed, and names these gateways.
    pub(crate) fn expects(&self, roster: BTreeSet<Member>) {
        *self.0.came.lock() = Came {
            roster,
            came: false,
        };
    }

    /// This gateway has come to a process that does not lead.
    pub(crate) fn came(&self, gateway: &Member) {
        let mut came = self.0.came.lock();
        if came.roster.contains(gateway) && !came.came {
            came.came = true;
            self.0.comes.notify_one();
        }
    }

    /// Some gateway that the record names has come here since it last changed.
    pub(crate) fn gateways_come(&self) -> bool {
        self.0.came.lock().came
    }

    /// Returns when the first of them comes.
    pub(crate) async fn a_gateway_comes(&self) {
        self.0.comes.notified().await;
    }
}
