//! A standby: it watches the record, and writes a term of its own when it may.

use std::sync::Arc;
use std::time::Duration;

use route_leadership::{Asked, Lease, Record, Sight, State, TakeOver};
use route_runtime::seldom::Seldom;
use tokio::time::sleep;
use tracing::{info, warn};

use super::candidate::Candidate;
use crate::engine::NotWritten;
use crate::engine::record::{Found, Member};
use crate::leads::{Leader, Leads};

/// How often the record is read, at least.
const LOOK: Duration = Duration::from_millis(500);

/// After a take-over that has not succeeded, at least; twice that at most.
const AGAIN: Duration = Duration::from_millis(100);

/// A term that has been taken over.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) record: Record<Member>,
    pub(super) lease: Lease,
    pub(super) take_over: TakeOver,
    /// How often the engine had been lost by then.
    pub(super) interruptions: u64,
}

/// A take-over that was sent, and of which nobody knows whether it has happened.
#[derive(Debug)]
struct Attempt {
    asked: Asked,
    record: Record<Member>,
    take_over: TakeOver,
}

struct StandBy<'a> {
    of: &'a mut Candidate,
    sight: Sight<Member>,
    attempt: Option<Attempt>,
    interruptions: u64,
    /// The last read was answered.
    is_read: bool,
    unread: Seldom,
    unanswered: Seldom,
}

/// Stands by until this process may lead; `None`: it drains.
pub(super) async fn stand_by(of: &mut Candidate) -> Option<Taken> {
    let draining = of.process.draining();
    let interruptions = of.engine.interruptions();
    let standby = StandBy {
        of,
        sight: Sight::new(),
        attempt: None,
        interruptions,
        is_read: false,
        unread: Seldom::default(),
        unanswered: Seldom::default(),
    };
    draining.run_until_cancelled(standby.run()).await
}

impl StandBy<'_> {
    async fn run(mut self) -> Taken {
        loop {
            self.of.process.turned();
            self.of.process.refusals.tick(self.of.process.clock.now());
            if let Some(taken) = self.read().await {
                return taken;
            }
            let now = (self.of.clock)();
            let come = self.of.site.gateways_come();
            let may = self.sight.may_take_over(now, &self.of.timing, come);
            let wait = match may.filter(|_| self.is_read) {
                Some(take_over) => match self.take_over(now, take_over).await {
                    Some(taken) => return taken,
                    None => AGAIN.mul_f64(1.0 + fastrand::f64()),
                },
                None => self.next_look(now),
            };
            tokio::select! {
                () = self.of.engine.changed() => {}
                () = self.of.site.a_gateway_comes() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// When something may be due by itself.
    fn next_look(&self, now: Duration) -> Duration {
        let quiet = self.sight.seen.as_ref().map_or(Duration::ZERO, |seen| {
            (seen.since + self.of.timing.quiet).saturating_sub(now)
        });
        match quiet.is_zero() {
            true => LOOK,
            false => LOOK.min(quiet),
        }
    }

    /// Reads the record. It may show that a take-over has happened.
    async fn read(&mut self) -> Option<Taken> {
        let read = self.of.engine.read().await;
        self.is_read = read.is_ok();
        self.notice_interruptions();
        let now = (self.of.clock)();
        match read {
            Ok(found) => self.sees(now, found),
            Err(error) => {
                if let Some(left_out) = self.unread.happened(self.of.process.clock.now()) {
                    warn!(%error, left_out, "the record of who leads cannot be read");
                }
                self.of.site.is_led(Leads::Unknown);
                None
            }
        }
    }

    fn sees(&mut self, now: Duration, found: Option<Found>) -> Option<Taken> {
        let (stored, author) = found.map(|found| (found.stored, found.author)).unzip();
        let before = self.sight.seen.as_ref().map(|seen| &seen.stored);
        if before != Some(&stored) {
            let roster = stored.as_ref().map(|it| it.record.roster.clone());
            self.of.site.expects(roster.unwrap_or_default());
        }
        self.sight.see(now, stored.as_ref());
        let Some((stored, author)) = stored.zip(author) else {
            self.of.site.nobody_leads();
            return None;
        };
        let leader = Leader {
            node_id: author.node_id,
            term: stored.record.term,
            api_url: author.api_url,
            attach_url: author.attach_url,
            version: author.version,
            serves: stored.record.state == State::Serving,
        };
        let own = |attempt: &mut Attempt| attempt.record == stored.record;
        if let Some(attempt) = self.attempt.take_if(own) {
            return Some(self.taken(attempt, stored.revision));
        }
        match stored.record.state {
            // The last write of a term of ours may happen when that is over.
            _ if stored.record.node == self.of.life => self.of.site.nobody_leads(),
            State::Released => self.of.site.nobody_leads(),
            State::Beginning | State::Serving => self.tell(now, leader),
        }
        None
    }

    /// Says who leads, if that was seen lately.
    fn tell(&self, now: Duration, leader: Leader) {
        let is_fresh = self.sight.seen.as_ref().is_some_and(|seen| {
            // One that was there when we came may be gone for long.
            seen.followed && now < seen.since + self.of.timing.quiet
        });
        self.of.site.is_led(match is_fresh {
            true => Leads::Other(Arc::new(leader)),
            false => Leads::Unknown,
        });
    }

    /// Writes a term of our own.
    async fn take_over(&mut self, now: Duration, take_over: TakeOver) -> Option<Taken> {
        let counter = self.of.next_counter();
        let record = self.sight.successor(self.of.life, counter);
        let attempt = Attempt {
            asked: Asked { counter, sent: now },
            record,
            take_over,
        };
        info!(term = attempt.record.term, "no node leads; taking over");
        let written = self
            .of
            .engine
            .write(&attempt.record, &self.of.author, self.sight.revision())
            .await;
        if self.notice_interruptions() {
            return None;
        }
        match written {
            Ok(revision) => Some(self.taken(attempt, revision)),
            Err(NotWritten::Refused) => {
                info!("another node was faster");
                None
            }
            Err(NotWritten::Unanswered(problem)) => {
                if let Some(left_out) = self.unanswered.happened(self.of.process.clock.now()) {
                    warn!(
                        problem,
                        left_out, "not known whether this node has taken over"
                    );
                }
                self.attempt = Some(attempt);
                None
            }
        }
    }

    fn taken(&self, attempt: Attempt, revision: u64) -> Taken {
        Taken {
            lease: Lease::new(attempt.asked, revision),
            record: attempt.record,
            take_over: attempt.take_over,
            interruptions: self.interruptions,
        }
    }

    /// What was seen before the engine was lost counts no more. True if it was.
    fn notice_interruptions(&mut self) -> bool {
        let interruptions = self.of.engine.interruptions();
        let is_new = std::mem::replace(&mut self.interruptions, interruptions) != interruptions;
        if is_new {
            self.sight.interrupted();
            self.attempt = None;
        }
        is_new
    }
}
