//! What moves when one link takes another one's place: deliveries that the old one could not be
//! sent, and the knowledge of what was written to it.
//!
//! A closed link may leave a **seat**, where that waits for an heir. So that order holds, an heir
//! gets nothing newer before all that its predecessors could not be sent has come back: it is
//! **settling**.

mod departed;
mod estate;
mod heirs;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::delivery::{Course, ReturnedRun, Taken};
use crate::ids::LinkId;
use crate::links::Links;
use crate::output::Outputs;
use crate::presence::Presence;
use crate::receipt::Receipt;
use crate::transition::{Loss, LossReason, Whose};
use crate::work::Work;
use departed::Departed;
use estate::Estate;
use heirs::Heirs;

/// A gateway that is asked to close a link, or told of its end, gives back what could not be
/// written within a round trip; one that is away, when it is back or, by the node, when it is lost.
/// If neither comes within this time, there is something wrong with it, and its MsgServer's new
/// link waits no longer.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

/// All seats and settling links, and who inherited from whom.
#[derive(Debug)]
pub(crate) struct Successions {
    seat_bytes: usize,
    /// By slot.
    estates: BTreeMap<u32, Estate>,
    /// Those of them that are seats: whose, and their slots.
    seats: BTreeMap<LinkId, u32>,
    /// Slots of links that are being given what waited for them.
    complete: VecDeque<u32>,
    heirs: Heirs,
    departed: Departed,
    /// Deliveries dropped because a seat was full, or ended without a successor.
    pub(crate) seat_dropped: u64,
    /// Returned deliveries without a successor to get them.
    pub(crate) returned_dropped: u64,
    pub(crate) work: Work,
}

/// The heir of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heir {
    pub(crate) slot: u32,
    pub(crate) id: LinkId,
    /// The first position that was routed to it by itself.
    pub(crate) from: u64,
    /// It was active before, so what is older comes late.
    pub(crate) has_served: bool,
}

impl Successions {
    /// None yet. A seat holds so many bytes.
    pub(crate) fn new(seat_bytes: usize) -> Self {
        Successions {
            seat_bytes,
            estates: BTreeMap::new(),
            seats: BTreeMap::new(),
            complete: VecDeque::new(),
            heirs: Heirs::default(),
            departed: Departed::default(),
            seat_dropped: 0,
            returned_dropped: 0,
            work: Work::default(),
        }
    }

    /// Slots of all seats.
    pub(crate) fn seats(&self) -> impl Iterator<Item = u32> + '_ {
        self.seats.values().map(|slot| {
            self.work.step();
            *slot
        })
    }

    /// How many links are settling.
    pub(crate) fn settling(&self) -> usize {
        self.estates.len() - self.seats.len()
    }

    /// Slots of seats and settling links, and when they end.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = (Duration, u32)> + '_ {
        let estates = self.estates.iter();
        estates.map(|(slot, estate)| {
            self.work.step();
            (estate.until, *slot)
        })
    }

    /// What is routed to this slot is held.
    pub(crate) fn holds(&self, slot: u32) -> bool {
        self.estates.contains_key(&slot)
    }

    /// Does anything hold?
    pub(crate) fn any(&self) -> bool {
        !self.estates.is_empty()
    }

    /// Bytes of deliveries that are held.
    pub(crate) fn held_bytes(&self) -> usize {
        self.work.steps(self.estates.len());
        self.estates.values().map(|estate| estate.bytes).sum()
    }

    /// Closed or succeeded links of a gateway that may still give something back.
    pub(crate) fn awaited_of(&self, gateway: u64) -> Vec<LinkId> {
        let awaited = self.estates.values().flat_map(|estate| &estate.awaited);
        let awaited = awaited.inspect(|_| self.work.step());
        let of_gateway = |link: &LinkId| link.gateway == gateway;
        awaited.copied().filter(of_gateway).collect()
    }

    /// The link has closed, and is succeeded later. `causes`: receipts of the close.
    pub(crate) fn leave_seat(
        &mut self,
        slot: u32,
        id: LinkId,
        until: Duration,
        causes: &[Receipt],
    ) {
        self.work.steps(1 + causes.len());
        let mut estate = self.leave(slot, id);
        estate.is_seat = true;
        estate.until = until;
        estate.caused_by(causes);
        self.estates.insert(slot, estate);
        self.seats.insert(id, slot);
    }

    /// A seat waits longer.
    pub(crate) fn prolong_seat(&mut self, slot: u32, until: Duration) {
        if let Some(seat) = self.estates.get_mut(&slot) {
            seat.until = until;
        }
    }

    /// This link has ended, and nobody succeeds it.
    pub(crate) fn forget(&mut self, slot: u32, presence: &Presence, out: &mut Outputs) {
        let (link, whose) = whose(presence, slot);
        if let Some(estate) = self.take(slot) {
            let deliveries = estate.items();
            self.seat_dropped += deliveries;
            let reason = match estate.is_seat {
                true => LossReason::SeatEnds,
                false => LossReason::NoSuccessor,
            };
            out.lost(Loss {
                link,
                whose: Some(whose.clone()),
                deliveries,
                from: estate.from(),
                reason,
            });
        }
        self.departed.add(link, whose);
    }

    /// What comes for the one link is the other one's from this position on.
    pub(crate) fn record(&mut self, closed: LinkId, heir: LinkId, from: u64) {
        self.heirs.record(closed, heir, from);
    }

    /// Receipts of what made this seat, or of what this link is settling for.
    pub(crate) fn causes(&self, slot: u32) -> Vec<Receipt> {
        self.estates
            .get(&slot)
            .map_or_else(Vec::new, Estate::causes)
    }

    /// A link, or its seat, is succeeded: the heir gets what is there, and waits for the rest. What
    /// made the seat is among the causes of this. `predecessors`: all of the heir, this link first.
    pub(crate) fn inherit(
        &mut self,
        now: Duration,
        slot: u32,
        predecessors: Vec<LinkId>,
        heir: Heir,
        out: &mut Outputs,
    ) {
        let id = predecessors[0];
        self.heirs.record(id, heir.id, heir.from);
        let mut estate = self.leave(slot, id);
        if let Some(own) = self.take(heir.slot) {
            estate.absorb(own);
        }
        self.work.steps(out.causes().len());
        estate.caused_by(out.causes());
        let taken = std::mem::take(&mut estate.taken);
        out.take_over(heir.id, predecessors, taken);
        estate.holder = heir.id;
        estate.is_seat = false;
        estate.until = now + SETTLED_AFTER;
        estate.late_before = if heir.has_served { heir.from } else { 0 };
        let complete = estate.awaited.is_empty();
        self.estates.insert(heir.slot, estate);
        if complete {
            self.settle(heir.slot);
        }
    }

    /// The heir gets what waited for its predecessors' returns, by [`Successions::pass_on`]. Until all
    /// of that is passed on, what is newer waits behind it.
    pub(crate) fn settle(&mut self, slot: u32) {
        let Some(estate) = self.estates.get_mut(&slot) else {
            return;
        };
        // Its deadline is over, too.
        estate.until = Duration::MAX;
        estate.completes();
        self.complete.push_back(slot);
    }

    /// Something waits to be passed on.
    pub(crate) fn any_complete(&self) -> bool {
        !self.complete.is_empty()
    }

    /// Passes on what is complete, until so much has been delivered. True while there is more.
    pub(crate) fn pass_on(&mut self, until: u64, out: &mut Outputs) -> bool {
        while let Some(slot) = self.complete.front().copied() {
            // Else its holder has been succeeded, or has ended.
            if let Some(estate) = self.estates.get_mut(&slot).filter(|it| it.is_complete) {
                let before = out.also_caused_by(&estate.causes());
                while out.work.done() < until
                    && let Some(run) = estate.take_next()
                {
                    pass_on(estate, run, out);
                }
                out.no_more(before);
                if estate.waits() {
                    return true;
                }
                self.take(slot);
            }
            self.complete.pop_front();
        }
        false
    }

    /// Holds a run if it waits here, or gives it back.
    pub(crate) fn hold(
        &mut self,
        slot: u32,
        run: ReturnedRun,
        presence: &Presence,
        out: &mut Outputs,
    ) -> Option<ReturnedRun> {
        let Some(estate) = self.estates.get_mut(&slot) else {
            return Some(run);
        };
        self.work.steps(run.items.len() + run.receipts.len());
        let from = run.position;
        let deliveries = estate.add(self.seat_bytes, run);
        if deliveries > 0 {
            self.seat_dropped += deliveries;
            let (link, whose) = whose(presence, slot);
            out.lost(Loss {
                link,
                whose: Some(whose),
                deliveries,
                from,
                reason: LossReason::Full,
            });
        }
        None
    }

    /// Takes back deliveries that could not be written to a link that is now closed: its seat holds
    /// them, or its successor gets what it has not got by itself.
    pub(crate) fn returned(
        &mut self,
        link: LinkId,
        mut run: ReturnedRun,
        presence: &Presence,
        out: &mut Outputs,
    ) {
        run.receipts.extend_from_slice(out.causes());
        let mut closed = link;
        for _ in 0..Heirs::MOST {
            if let Some(seat) = self.seat_of(closed) {
                let _ = self.hold(seat, run, presence, out);
                return;
            }
            let Some((heir, from)) = self.heirs.get(closed) else {
                break;
            };
            let known = from
                .saturating_sub(run.position)
                .min(run.items.len() as u64);
            run.items.truncate(known as usize);
            if let Some(slot) = standing(heir, &presence.links) {
                let waits = self.estates.get(&slot).is_some_and(|it| !it.is_complete);
                let run = match waits {
                    true => self.hold(slot, run, presence, out),
                    false => Some(run),
                };
                if let Some(run) = run {
                    // Too late for its turn.
                    out.pass_on(heir, run, Course::Late);
                }
                return;
            }
            closed = heir;
        }
        let deliveries = run.items.len() as u64;
        self.returned_dropped += deliveries;
        out.lost(Loss {
            link,
            whose: self.departed.whose(link).cloned(),
            deliveries,
            from: run.position,
            reason: LossReason::NoSuccessor,
        });
    }

    /// Nobody gets what this link's gateway was handed for it, from this position on: that was lost.
    pub(crate) fn lost_with_gateway(
        &self,
        link: LinkId,
        from: u64,
        deliveries: u64,
        out: &mut Outputs,
    ) {
        out.lost(Loss {
            link,
            whose: self.departed.whose(link).cloned(),
            deliveries,
            from,
            reason: LossReason::GatewayLost,
        });
    }

    /// Everything that could not be written to this closed link has come back, and this is what was
    /// written to it: its successor is told, and gets what waited for that.
    pub(crate) fn all_returned(
        &mut self,
        link: LinkId,
        taken: Vec<Taken>,
        links: &Links,
        out: &mut Outputs,
    ) {
        let Some(slot) = self.stands_for(link, links) else {
            return;
        };
        let Some(estate) = self.estates.get_mut(&slot) else {
            out.take_over(links[slot].id, Vec::new(), taken);
            return;
        };
        self.work.steps(out.causes().len());
        estate.awaited.remove(&link);
        if estate.is_seat {
            estate.taken.extend(taken);
            estate.caused_by(out.causes());
            return;
        }
        out.take_over(estate.holder, Vec::new(), taken);
        if estate.awaited.is_empty() && !estate.is_complete {
            self.settle(slot);
        }
    }

    /// The seat, or the open link, that stands where this closed or succeeded link stood.
    pub(crate) fn stands_for(&self, link: LinkId, links: &Links) -> Option<u32> {
        if let Some(seat) = self.seat_of(link) {
            return Some(seat);
        }
        let mut heirs = self.heirs.of(link);
        heirs.find_map(|heir| standing(heir, links).or_else(|| self.seat_of(heir)))
    }

    /// The seat that this link has left.
    pub(crate) fn seat_of(&self, link: LinkId) -> Option<u32> {
        self.work.step();
        self.seats.get(&link).copied()
    }

    /// What a link leaves: its seat, or what it was settling for and what it may give back itself.
    fn leave(&mut self, slot: u32, id: LinkId) -> Estate {
        let estate = self.take(slot);
        let mut estate = estate.unwrap_or_else(|| Estate::of(id));
        // What it has not been given is its successor's.
        estate.is_complete = false;
        if !estate.is_seat {
            estate.awaited.insert(id);
        }
        estate
    }

    fn take(&mut self, slot: u32) -> Option<Estate> {
        let estate = self.estates.remove(&slot)?;
        if estate.is_seat {
            self.seats.remove(&estate.holder);
        }
        Some(estate)
    }
}

fn pass_on(estate: &mut Estate, run: ReturnedRun, out: &mut Outputs) {
    let to = estate.holder;
    if run.position >= estate.late_before {
        out.pass_on(to, run, Course::Moved);
        return;
    }
    let (origin, positions) = (run.origin, run.position..);
    for (position, item) in positions.zip(run.items) {
        if estate.is_news(origin, &item) {
            let one = ReturnedRun {
                origin,
                position,
                items: vec![item],
                receipts: run.receipts.clone(),
            };
            out.pass_on(to, one, Course::Late);
        }
    }
}

fn whose(presence: &Presence, slot: u32) -> (LinkId, Whose) {
    let link = &presence.links[slot];
    let whose = Whose {
        peer: link.peer,
        identity: link.identity().to_string(),
        sessions: presence.sessions.kept_by(slot),
    };
    (link.id, whose)
}

/// The slot of an heir, if it stands. One that was succeeded itself may still be open; one that was may
/// stand again.
fn standing(heir: LinkId, links: &Links) -> Option<u32> {
    links.slot(heir).filter(|slot| links[*slot].is_active())
}
