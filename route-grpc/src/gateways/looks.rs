//! What gateways are asked about their links, for operators who look, and what they answer.
//!
//! Bounded: a gateway has at most [`MOST_AT_ONCE`] questions, each of at most [`MOST_LINKS`] links. A question that goes with a
//! broken stream is not asked again: whoever looks waits for a moment only.

use std::time::Duration;

use hashbrown::HashMap;
use route_core::LinkId;
use route_proto::attach::v1::{LinkFigures, LookAtLinks, LookedAt, Uplink};
use tokio::sync::oneshot;

use super::{Gateways, check};
use crate::refusal::Refusal;

/// Links in one question.
pub(crate) const MOST_LINKS: usize = 1000;

/// Questions that one gateway has at a time.
pub(crate) const MOST_AT_ONCE: usize = 16;

/// One link as its gateway sees it. Counts are those since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// What waits to be written to the MsgServer, bytes.
    pub queued_bytes: u64,
    /// For how long the MsgServer has taken nothing of that.
    pub stalled: Duration,
    /// What was read and the node has not confirmed, bytes.
    pub unconfirmed_bytes: u64,
    /// Whole PDUs, heartbeats too.
    pub received_pdus: u64,
    /// Bytes.
    pub received_bytes: u64,
    /// PDUs of which everything was written, heartbeats too.
    pub sent_pdus: u64,
    /// Bytes.
    pub sent_bytes: u64,
    /// Since something was read from it; while it is not read, since that ended.
    pub idle: Duration,
    /// It is not read at present.
    pub paused: bool,
}

/// What one gateway answers.
pub(crate) type Rows = Vec<(LinkId, Figures)>;

/// Questions that are open.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// Number of the last one.
    last: u64,
    open: HashMap<u64, Look>,
}

#[derive(Debug)]
struct Look {
    gateway: u64,
    reply: oneshot::Sender<Rows>,
}

impl Gateways {
    /// Asks an attached gateway about these of its links. The answer may never come.
    pub(crate) fn look_at(
        &mut self,
        incarnation: u64,
        links: Vec<u64>,
    ) -> Option<oneshot::Receiver<Rows>> {
        let gateway = self.by_incarnation.get_mut(&incarnation)?;
        if !gateway.reach().is_attached() {
            return None;
        }
        // Nobody waits any more for the others.
        self.looks.open.retain(|_, look| !look.reply.is_closed());
        self.looks.last += 1;
        let number = self.looks.last;
        gateway.asked = number;
        let (reply, answer) = oneshot::channel();
        let gateway = incarnation;
        self.looks.open.insert(number, Look { gateway, reply });
        let queue = self.queue_of(incarnation)?;
        queue.look_at(LookAtLinks { number, links });
        Some(answer)
    }

    /// A gateway has answered. If that took too long, nobody waits for it.
    pub(crate) fn looked_at(&mut self, incarnation: u64, answers: Vec<LookedAt>) {
        for LookedAt { number, rows } in answers {
            let of_gateway = |look: &Look| look.gateway == incarnation;
            if !self.looks.open.get(&number).is_some_and(of_gateway) {
                continue;
            }
            if let Some(look) = self.looks.open.remove(&number) {
                let rows = rows.iter().map(|row| read(incarnation, row));
                let _ = look.reply.send(rows.collect());
            }
        }
    }
}

/// Refuses what cannot be in answers of a gateway whose last question has this number.
pub(super) fn check(uplink: &Uplink, asked: u64) -> Result<(), Refusal> {
    for LookedAt { number, rows } in &uplink.looked_at {
        check::count("uplink.looked_at.number", *number)?;
        if *number > asked {
            let problem = format!("{number} was not asked");
            return Err(Refusal::field("uplink.looked_at.number", problem));
        }
        check::length("uplink.looked_at.rows", rows.len(), MOST_LINKS)?;
        rows.iter().try_for_each(check_row)?;
    }
    Ok(())
}

fn check_row(row: &LinkFigures) -> Result<(), Refusal> {
    check::count("uplink.looked_at.rows.link", row.link)?;
    for (field, figure) in [
        ("uplink.looked_at.rows.queued_bytes", row.queued_bytes),
        ("uplink.looked_at.rows.stalled_micros", row.stalled_micros),
        (
            "uplink.looked_at.rows.unconfirmed_bytes",
            row.unconfirmed_bytes,
        ),
        ("uplink.looked_at.rows.received_pdus", row.received_pdus),
        ("uplink.looked_at.rows.received_bytes", row.received_bytes),
        ("uplink.looked_at.rows.sent_pdus", row.sent_pdus),
        ("uplink.looked_at.rows.sent_bytes", row.sent_bytes),
        ("uplink.looked_at.rows.idle_micros", row.idle_micros),
    ] {
        check::number(field, figure)?;
    }
    Ok(())
}

fn read(incarnation: u64, row: &LinkFigures) -> (LinkId, Figures) {
    let figures = Figures {
        queued_bytes: row.queued_bytes,
        stalled: Duration::from_micros(row.stalled_micros),
        unconfirmed_bytes: row.unconfirmed_bytes,
        received_pdus: row.received_pdus,
        received_bytes: row.received_bytes,
        sent_pdus: row.sent_pdus,
        sent_bytes: row.sent_bytes,
        idle: Duration::from_micros(row.idle_micros),
        paused: row.paused,
    };
    (LinkId::new(incarnation, row.link), figures)
}
