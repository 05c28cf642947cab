//! What comes down: puts each delivery into the queues of its target links, answers queries, confirms.
//!
//! One message is worked off without waiting for anybody: a link whose queue is full is ended, not waited for. So a
//! slow MsgServer never stops the stream, and with it the others.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use route_dialect::{AnswerTo, Command};
use route_proto::attach::v1::{
    CloseReason, DeliveryRun, Downlink as Message, LinkFigures, LookAtLinks, LookedAt,
    ReportedStatus, StatusAnswer, downlink_entry::Entry,
};
use tracing::{debug, info};

use crate::clock::micros;
use crate::links::gateway::Gateway;
use crate::links::link::{Delivered, Query};
use crate::links::run::Run;
use crate::once::old_kicks::{self, CLOCKS_ERR, OldKick};
use crate::trace::Arriving;

/// Links that are looked at for one question, at most.
const MAX_LOOKED_AT: usize = 1000;

/// Distributes messages of one gateway's stream.
#[derive(Debug)]
pub struct Downlink {
    gateway: Arc<Gateway>,
    /// Writers to be woken when the message is worked off; empty between messages.
    wake: Vec<Waker>,
}

impl Downlink {
    /// For the links of this gateway.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Downlink {
            gateway,
            wake: Vec::new(),
        }
    }

    /// Works off one message. Returns PDU bytes that it brought, as a measure of the work.
    pub fn take(&mut self, message: Message) -> usize {
        let now = self.gateway.clock.now();
        let mut bytes = 0;
        for entry in message.entries {
            match entry.entry {
                Some(Entry::Run(run)) => bytes += self.deliver(now, run),
                Some(Entry::Answer(answer)) => self.answer(now, answer),
                Some(Entry::Close(close)) => {
                    let (link, reason) = (close.link, &close.reason);
                    match close.planned {
                        // An operator wants it.
                        true => info!(link, reason, "the node ends a link"),
                        false => debug!(link, reason, "the node ends a link"),
                    }
                    if let Some(link) = self.gateway.links.get(close.link) {
                        link.end(match close.planned {
                            true => CloseReason::Drain,
                            false => CloseReason::Requested,
                        });
                    }
                }
                Some(Entry::Ended(ended)) => self.end_is_known(ended.link),
                Some(Entry::TakenOver(taken)) => {
                    if let Some(link) = self.gateway.links.get(taken.link) {
                        link.take_over(&taken.marks);
                    }
                    if !taken.predecessors.is_empty() {
                        self.gateway.uplink.succeeds(taken.link, taken.predecessors);
                    }
                }
                // From a newer node; what it means here is not known.
                None => debug!("skipping an unknown entry"),
            }
        }
        for writer in self.wake.drain(..) {
            writer.wake();
        }
        // After the entries: what is confirmed here has caused nothing that is still to come.
        let confirmed = self.gateway.uplink.confirm(&message.confirmations);
        for link in confirmed.finished {
            self.gateway.links.forget(link);
        }
        for timing in confirmed.timings {
            let command = u16::try_from(timing.command).unwrap_or_default();
            let command = self.gateway.dialect.command(command);
            let time = now.saturating_sub(timing.read_at);
            self.gateway.counters.taken_over(command, time);
        }
        for pause in message.pauses {
            if let Some(link) = self.gateway.links.get(pause.link) {
                link.brake().node(now, pause.on);
            }
        }
        for look in message.looks {
            self.look_at(now, &look);
        }
        self.gateway.uplink.took_over(now, message.number);
        bytes
    }

    /// Says what these links are in figures.
    fn look_at(&self, now: Duration, look: &LookAtLinks) {
        let gateway = &self.gateway;
        let mut rows = Vec::new();
        let of_links = &look.links[..look.links.len().min(MAX_LOOKED_AT)];
        gateway.links.visit(of_links, |link| {
            rows.extend(link.figures(now).map(|figures| LinkFigures {
                unconfirmed_bytes: gateway.uplink.unconfirmed_bytes(link.number()) as u64,
                ..figures
            }));
        });
        gateway.uplink.looked_at(LookedAt {
            number: look.number,
            rows,
        });
    }

    fn deliver(&mut self, now: Duration, run: DeliveryRun) -> usize {
        let gateway = &self.gateway;
        let moment = micros(now).saturating_sub(CLOCKS_ERR);
        if !old_kicks::is_any_old(&run, moment) {
            return self.deliver_run(now, run, None);
        }
        let parts = old_kicks::cut(&gateway.dialect, run, moment).into_iter();
        parts
            .map(|(part, old_kick)| self.deliver_run(now, part, old_kick))
            .sum()
    }

    fn deliver_run(
        &mut self,
        now: Duration,
        mut run: DeliveryRun,
        old_kick: Option<OldKick>,
    ) -> usize {
        let targets = std::mem::take(&mut run.targets);
        let Some(run) = Run::prepare(run, &self.gateway.dialect) else {
            return 0;
        };
        let run = Arc::new(run.of_old_kick(old_kick));
        let deliveries = run.deliveries();
        let unspoken = run.unspoken();
        let gateway = &self.gateway;
        let (mut delivered, mut given_back, mut repeated, mut lost) = (0, 0, 0, 0);
        let mut spared = 0;
        let mut turns = Vec::new();
        let unknown = gateway.links.visit(&targets, |link| {
            let (outcome, turn) = link.deliver(&run, now, &gateway.uplink, &mut self.wake);
            turns.extend(turn);
            match outcome {
                Delivered::Queued { repeated: again } => {
                    delivered += deliveries - again;
                    repeated += again;
                }
                Delivered::Spared => spared += deliveries,
                Delivered::GivenBack { dropped } => {
                    given_back += deliveries - dropped;
                    lost += dropped;
                }
            }
        });
        for turn in turns {
            gateway.turn(turn);
        }
        // Its end was confirmed, so it should not have been named any more.
        lost += unknown * deliveries;
        let counters = &gateway.counters;
        counters.delivered.add(delivered as u64);
        for (counter, count) in [
            (&counters.repeated, repeated),
            (&counters.given_back, given_back),
            (&counters.lost, lost),
            (&counters.kicks_dropped, spared),
            (&counters.unspoken, unspoken * targets.len()),
        ] {
            if count > 0 {
                counter.add(count as u64);
            }
        }
        run.bytes()
    }

    fn answer(&mut self, now: Duration, answer: StatusAnswer) {
        let Some(query) = self.gateway.uplink.answer(answer.link, answer.sequence) else {
            debug!(link = answer.link, "an answer to no open query");
            return;
        };
        let Some(link) = self.gateway.links.get(answer.link) else {
            return;
        };
        let answer_to = AnswerTo {
            sequence: query.header_sequence,
            requester: query.requester,
            user_ids: &query.user_ids,
            attach_data: &query.attach_data,
        };
        let traced = Arriving::now(answer.traceparent);
        let asked = Query {
            gateway: self.gateway.incarnation,
            sequence: answer.sequence,
        };
        let turn = link.answer(now, &mut self.wake, asked, traced, |out| {
            let statuses = answer.statuses.iter().map(|status| i32::from(*status));
            let online = statuses.map(|it| it == ReportedStatus::Online as i32);
            // Nobody is online of whom nothing is said.
            let online = online.chain(std::iter::repeat(false));
            self.gateway
                .dialect
                .write_status_answer(out, answer_to, online);
        });
        if let Some(turn) = turn {
            self.gateway.turn(turn);
        }
        let counters = &self.gateway.counters;
        counters.answered.add(1);
        let time = now.saturating_sub(query.asked_at);
        counters.taken_over(Some(Command::UsersStatusQuery), time);
    }

    fn end_is_known(&self, number: u64) {
        let Some(link) = self.gateway.links.get(number) else {
            return;
        };
        link.end_is_confirmed(&self.gateway.uplink);
    }
}
