//! Whom a leader lets in, and what its next write says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use route_leadership::{Admission, Beginning, Roster, State, TakeOver};

use super::{Member, Tenure};

/// A leader's door. It stands behind the node's lock.
#[derive(Debug)]
pub(crate) struct Door {
    tenure: Arc<Tenure>,
    state: State,
    /// What the last write says.
    asked: State,
    roster: Roster<Member>,
    beginning: Beginning<Member>,
    /// Those that are let in and not given up.
    inside: BTreeSet<Member>,
    /// Those that are given up: the next write leaves them out.
    given_up: BTreeSet<Member>,
    /// Those that wait, and how many streams of each.
    waiting: BTreeMap<Member, usize>,
    /// Writes that were sent.
    sent: u64,
    /// The last of them that has succeeded.
    succeeded: u64,
}

/// How a gateway stands at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It may come in.
    In,
    /// It waits for the success of a write after this one.
    After(u64),
}

impl Door {
    /// Of a term that begins.
    pub(super) fn new(tenure: Arc<Tenure>, roster: BTreeSet<Member>, take_over: TakeOver) -> Self {
        Self {
            tenure,
            state: State::Beginning,
            asked: State::Beginning,
            beginning: Beginning::new(roster.clone(), take_over),
            roster: Roster::new(roster),
            inside: BTreeSet::new(),
            given_up: BTreeSet::new(),
            waiting: BTreeMap::new(),
            sent: 0,
            succeeded: 0,
        }
    }

    /// It is written that the leader serves.
    pub(crate) fn serves(&self) -> bool {
        self.state == State::Serving
    }

    /// What the last write that has succeeded says.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Those that are in the record for certain.
    pub(crate) fn certain(&self) -> &BTreeSet<Member> {
        &self.roster.certain
    }

    /// A gateway comes that this term was the newest to welcome, by its own word. If it has to wait, it
    /// [leaves](Self::leaves) in the end.
    pub(crate) fn comes(&mut self, member: &Member, welcomed_by: u64) -> Arrival {
        match self.roster.admission(member, welcomed_by, self.tenure.term) {
            Admission::Now => Arrival::In,
            Admission::AfterWrite => {
                *self.waiting.entry(member.clone()).or_default() += 1;
                Arrival::After(self.sent)
            }
        }
    }

    /// It has arrived so, and is let in now: what it claims does not matter any more, for the write has shown that there is no
    /// later term.
    pub(crate) fn lets_in(&self, member: &Member, arrival: Arrival) -> bool {
        match arrival {
            Arrival::In => self.roster.certain.contains(member),
            Arrival::After(write) => self.succeeded > write && self.roster.certain.contains(member),
        }
    }

    /// It is one of the node's gateways.
    pub(crate) fn has_inside(&self, member: &Member) -> bool {
        self.inside.contains(member)
    }

    /// How many are inside or wait.
    pub(crate) fn len(&self) -> usize {
        self.inside.len() + self.waiting.len()
    }

    /// It waits no longer: it is let in, or goes.
    pub(crate) fn leaves(&mut self, member: &Member) {
        if let Some(streams) = self.waiting.get_mut(member) {
            *streams -= 1;
            if *streams == 0 {
                self.waiting.remove(member);
                if !self.inside.contains(member) {
                    self.given_up.insert(member.clone());
                }
            }
        }
    }

    /// It is one of the node's gateways from now on.
    pub(crate) fn entered(&mut self, member: &Member) {
        self.given_up.remove(member);
        self.inside.insert(member.clone());
    }

    /// It has acknowledged a beat that was sent after it was let in.
    pub(crate) fn acknowledged(&mut self, member: &Member) {
        self.beginning.acknowledged(member);
        if !self.serves() && self.beginning.missing.is_empty() {
            self.tenure.write_is_wanted.notify_one();
        }
    }

    /// The node has it no longer.
    pub(crate) fn gives_up(&mut self, member: Member) {
        self.inside.remove(&member);
        self.given_up.insert(member);
    }

    /// Whether another write changes something.
    pub(crate) fn wants_write(&self, now: Duration) -> bool {
        let may_serve = self.state == State::Beginning && self.beginning.may_serve(now);
        let of_others = self.serves() && !(self.waiting.is_empty() && self.given_up.is_empty());
        may_serve || of_others
    }

    /// A write is sent that says this. `now` is by the clock of the lease.
    pub(crate) fn ask(&mut self, now: Duration) -> (State, BTreeSet<Member>) {
        let mut named = self.roster.certain.clone();
        if self.serves() {
            named.retain(|member| !self.given_up.contains(member));
            named.extend(self.waiting.keys().cloned());
            self.asked = State::Serving;
        } else if self.beginning.may_serve(now) {
            named = self.inside.clone();
            named.extend(self.waiting.keys().cloned());
            self.asked = State::Serving;
        }
        self.given_up.retain(|member| named.contains(member));
        self.roster.ask(named.clone());
        self.sent += 1;
        (self.asked, named)
    }

    /// The write has succeeded. True if the leader serves by that.
    pub(crate) fn written(&mut self) -> bool {
        let served = self.serves();
        self.roster.accepted();
        self.state = self.asked;
        self.succeeded = self.sent;
        !served && self.serves()
    }

    /// The write has not happened, as far as can be seen; it still may.
    pub(crate) fn unchanged(&mut self) {
        self.asked = self.state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn member(id: &str) -> Member {
        let incarnation = 1;
        let id = id.to_owned();
        Member { id, incarnation }
    }

    fn door(roster: &[&str]) -> Door {
        let old_lease_over = SECOND * 15;
        let roster = roster.iter().map(|id| member(id)).collect();
        let tenure = Tenure::new(7, || Duration::ZERO, SECOND * 12);
        Door::new(tenure, roster, TakeOver { old_lease_over })
    }

    #[test]
    fn a_leader_serves_when_all_of_the_roster_know_of_it() {
        let mut door = door(&["a", "b"]);
        for id in ["a", "b"] {
            assert_eq!(door.comes(&member(id), 6), Arrival::In);
            door.entered(&member(id));
        }
        door.acknowledged(&member("a"));
        assert_eq!(door.ask(SECOND).0, State::Beginning);
        assert!(!door.written());

        door.acknowledged(&member("b"));
        assert!(door.wants_write(SECOND));
        assert_eq!(door.ask(SECOND).0, State::Serving);
        assert!(!door.serves());
        assert!(door.written() && door.serves());
    }

    #[test]
    fn a_newcomer_waits_for_a_write_that_is_sent_after_it_came() {
        let mut door = door(&[]);
        door.ask(SECOND);
        door.written();
        let new = member("new");
        door.ask(SECOND);
        let arrival = door.comes(&new, 0);
        assert_eq!(arrival, Arrival::After(2));
        door.written();
        assert!(!door.lets_in(&new, arrival), "it came after that was sent");
        assert!(door.wants_write(SECOND));
        let (_, named) = door.ask(SECOND);
        assert!(named.contains(&new) && !door.lets_in(&new, arrival));
        door.written();
        assert!(door.lets_in(&new, arrival));
        door.entered(&new);
        door.leaves(&new);
        assert!(!door.wants_write(SECOND));
    }

    #[test]
    fn who_names_a_later_term_waits_although_it_is_known() {
        let mut door = door(&["a"]);
        let a = member("a");
        let arrival = door.comes(&a, 8);
        assert_eq!(arrival, Arrival::After(0));
        assert!(!door.lets_in(&a, arrival));
        door.ask(SECOND);
        door.unchanged();
        assert!(!door.lets_in(&a, arrival), "it was not answered");
        door.ask(SECOND);
        door.written();
        assert!(door.lets_in(&a, arrival));
    }

    #[test]
    fn who_is_given_up_is_a_newcomer_from_the_write_on() {
        let mut door = door(&["a"]);
        let a = member("a");
        door.comes(&a, 0);
        door.entered(&a);
        door.acknowledged(&a);
        door.ask(SECOND);
        door.written();
        door.gives_up(a.clone());
        assert_eq!(door.comes(&a, 7), Arrival::In, "no write leaves it out yet");
        door.gives_up(a.clone());
        door.ask(SECOND);
        assert!(matches!(door.comes(&a, 7), Arrival::After(_)));
    }
}
