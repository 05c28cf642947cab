//! Traces at the node: one hop of those PDUs and queries that come with a `traceparent`.
//!
//! The core knows nothing of it. What a transaction routes and is traced is kept here, nearly
//! always nothing, until its deliveries have been queued for the gateways.

use std::time::SystemTime;

use route_core::LinkId;
use route_runtime::telemetry::{Span, SpanKind, traces};
use tracing::debug;

/// What the present transaction has routed and is traced.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    hops: Vec<Hop>,
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Hop {
    origin: LinkId,
    sequence: u64,
    traceparent: String,
    _span: Option<Span>,
}

impl Traced {
    /// This link's entry is being routed.
    pub(crate) fn route(&mut self, origin: LinkId, sequence: u64, parent: String) {
        self.begin("pdu.route", origin, sequence, parent);
    }

    /// This link's query is being answered.
    pub(crate) fn answer(&mut self, link: LinkId, sequence: u64, parent: String) {
        self.begin("pdu.answer", link, sequence, parent);
    }

    fn begin(&mut self, name: &'static str, origin: LinkId, sequence: u64, parent: String) {
        if parent.is_empty() {
            return;
        }
        let span = begin(name, &parent);
        self.hops.push(Hop {
            origin,
            sequence,
            // A node that sends no traces does not cut those of others.
            traceparent: span.as_ref().map_or(parent, Span::traceparent),
            _span: span,
        });
    }

    /// What is caused by this link's entry is told of its trace; nothing, if it has none.
    pub(crate) fn traceparent(&self, origin: LinkId, sequence: u64) -> String {
        // What the node originates is numbered by the core; there is never more than one in a
        // transaction.
        let of_node = origin == LinkId::NODE;
        let of_this = |hop: &&Hop| hop.origin == origin && (of_node || hop.sequence == sequence);
        let hop = self.hops.iter().find(of_this);
        hop.map_or_else(String::new, |hop| hop.traceparent.clone())
    }

    /// Everything is queued. To be dropped without a lock.
    pub(crate) fn take(&mut self) -> Vec<Hop> {
        std::mem::take(&mut self.hops)
    }
}

fn begin(name: &'static str, parent: &str) -> Option<Span> {
    let span = traces()?.child(parent, name, SpanKind::Consumer, SystemTime::now())?;
    span.within(|| debug!("{name}"));
    Some(span)
}
