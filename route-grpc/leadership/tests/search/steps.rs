//! What may happen next in a world, and what it leads to.

use route_leadership::{Admission, Asked, Beginning, Found, Record, Roster, State, Stored};

use crate::rules::{Broken, Member, NOW, Rules};
use crate::world::{At, Attempt, Call, Fate, Node, Peer, Place, Term, World, Write};

/// One thing that happens. Numbers are those of nodes and gateways, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A second goes by everywhere, but by the clock of the node that lags.
    Second { lags: Option<usize> },
    /// A standby reads the record.
    Read(usize),
    /// A standby writes a term of its own.
    TakeOver(usize),
    /// A leader writes its record anew, with those at its door.
    Renew(usize),
    /// A leader that begins writes that it serves.
    Serve(usize),
    /// The node is asked to stop, and starts again.
    Release(usize),
    /// The node crashes, and starts again.
    Crash(usize),
    /// The engine gets a write: the first, or the second that is on its way.
    Arrives(usize, usize),
    /// The node gets the answer to its write.
    Answer(usize),
    /// The node waits no longer for the answer, and reads the record.
    Unanswered(usize),
    /// The node gives up a gateway.
    GiveUp(usize, usize),
    /// A gateway leaves where it is, and calls.
    Call(usize, usize),
    /// Its call arrives.
    Called(usize, usize),
    /// The welcome arrives at the gateway.
    Welcomed(usize, usize),
    /// A beat arrives at the gateway; its acknowledgement is on its way.
    Beat(usize, usize),
    /// The acknowledgement arrives.
    Acknowledged(usize, usize),
    /// A gateway starts again.
    Restart(usize),
    /// The record is what it was before, or gone, and all connections to the engine begin anew.
    Back { gone: bool },
}

impl<const N: usize, const G: usize> World<N, G> {
    /// Everything that may happen; some of it changes nothing.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Second { lags: None }];
        for node in 0..N {
            steps.extend([
                Step::Read(node),
                Step::Answer(node),
                Step::Serve(node),
                Step::Renew(node),
            ]);
            steps.extend([
                Step::TakeOver(node),
                Step::Unanswered(node),
                Step::Crash(node),
                Step::Release(node),
            ]);
            steps
                .extend((0..self.nodes[node].writes.len()).map(|write| Step::Arrives(node, write)));
            steps.push(Step::Second { lags: Some(node) });
            for gateway in 0..G {
                steps.extend([Step::Call(node, gateway), Step::Called(node, gateway)]);
                steps.extend([Step::Welcomed(node, gateway), Step::Beat(node, gateway)]);
                steps.extend([
                    Step::Acknowledged(node, gateway),
                    Step::GiveUp(node, gateway),
                ]);
            }
        }
        steps.extend((0..G).map(Step::Restart));
        steps.extend([Step::Back { gone: false }, Step::Back { gone: true }]);
        steps
    }

    /// The worlds that may come next, and by which steps.
    pub(crate) fn next(&self, rules: Rules, mut with: impl FnMut(Step, Self)) {
        let mut world = self.clone();
        for step in self.steps() {
            if world.take(step, rules).is_some() {
                with(step, std::mem::replace(&mut world, self.clone()));
            }
        }
    }

    /// Takes a step. If it cannot happen, or would change nothing, that is `None`, and nothing is changed.
    pub(crate) fn take(&mut self, step: Step, rules: Rules) -> Option<()> {
        match step {
            Step::Second { lags } => self.second(lags, rules),
            Step::Read(node) => self.read(node, rules),
            Step::TakeOver(node) => self.take_over(node, rules),
            Step::Renew(node) => self.renew(node, rules),
            Step::Serve(node) => self.serve(node, rules),
            Step::Release(node) => self.release(node, rules),
            Step::Crash(node) => self.crash(node),
            Step::Arrives(node, write) => self.arrives(node, write, rules),
            Step::Answer(node) => self.answer(node, rules),
            Step::Unanswered(node) => self.unanswered(node, rules),
            Step::GiveUp(node, gateway) => self.give_up(node, gateway),
            Step::Call(node, gateway) => self.call(node, gateway),
            Step::Called(node, gateway) => self.called(node, gateway, rules),
            Step::Welcomed(node, gateway) => self.welcomed(node, gateway),
            Step::Beat(node, gateway) => self.beat(node, gateway),
            Step::Acknowledged(node, gateway) => self.acknowledged(node, gateway),
            Step::Restart(gateway) => self.restart(gateway),
            Step::Back { gone } => self.back(gone, rules),
        }?;
        self.rename();
        Some(())
    }

    fn second(&mut self, lags: Option<usize>, rules: Rules) -> Option<()> {
        if lags.is_some() {
            spend(&mut self.budget.lags)?;
        }
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if lags != Some(number) {
                node.age();
            }
            if node
                .term
                .as_ref()
                .is_some_and(|term| !rules.holds(&term.lease))
            {
                node.abdicate();
            }
        }
        Some(())
    }

    // The record

    fn read(&mut self, node: usize, rules: Rules) -> Option<()> {
        let found = self.stored.as_ref();
        let reader = &mut self.nodes[node];
        if reader.term.is_some()
            || reader
                .sight
                .seen
                .as_ref()
                .is_some_and(|seen| seen.stored.as_ref() == found)
        {
            return None;
        }
        reader.sight.see(NOW, found);
        reader.recognise(found, rules);
        Some(())
    }

    fn take_over(&mut self, node: usize, rules: Rules) -> Option<()> {
        let standby = &mut self.nodes[node];
        if standby.term.is_some() || standby.waits() {
            return None;
        }
        let take_over = rules.may_take_over(&standby.sight)?;
        spend(&mut self.budget.take_overs)?;
        standby.counter += 1;
        let record = rules.successor(&standby.sight, standby.life, standby.counter);
        let asked = Asked {
            counter: standby.counter,
            sent: NOW,
        };
        standby.attempt = Some(Attempt {
            asked,
            record: record.clone(),
            take_over,
        });
        let replaces = standby.sight.revision();
        standby.send(replaces, record);
        Some(())
    }

    fn renew(&mut self, node: usize, rules: Rules) -> Option<()> {
        let leader = &mut self.nodes[node];
        let term = leader.term.as_ref()?;
        let mut named = term.roster.certain.clone();
        if leader.waits() {
            return None;
        }
        if term.state == State::Serving {
            named.retain(|member| !term.given_up.contains(member));
            named.extend(leader.at_the_door());
        }
        leader.write(term.state, named, rules)
    }

    fn serve(&mut self, node: usize, rules: Rules) -> Option<()> {
        let leader = &mut self.nodes[node];
        let term = leader.term.as_ref()?;
        if term.state != State::Beginning || !rules.may_serve(&term.beginning, term.waited_for) {
            return None;
        }
        let named = leader
            .peers
            .iter()
            .flatten()
            .map(|peer| peer.call.member)
            .collect();
        leader.write(State::Serving, named, rules)
    }

    fn release(&mut self, node: usize, rules: Rules) -> Option<()> {
        let leader = &mut self.nodes[node];
        let term = leader.term.as_ref()?;
        if !rules.may_release(term.state) || leader.waits() {
            return None;
        }
        spend(&mut self.budget.releases)?;
        let roster = term.roster.certain.clone();
        let (number, replaces) = (term.number, term.lease.revision);
        leader.counter += 1;
        let record = Record {
            term: number,
            node: leader.life,
            counter: leader.counter,
            state: State::Released,
            roster,
        };
        leader.send(Some(replaces), record);
        leader.wait_no_longer();
        if !rules.is(Broken::ReleasedBeforeStreamsEnd) {
            leader.start_again(N as u64);
        }
        Some(())
    }

    fn crash(&mut self, node: usize) -> Option<()> {
        spend(&mut self.budget.crashes)?;
        self.nodes[node].start_again(N as u64);
        Some(())
    }

    fn arrives(&mut self, node: usize, number: usize, rules: Rules) -> Option<()> {
        let write = self.nodes[node].writes.get_mut(number)?;
        if write.fate != Fate::OnItsWay {
            return None;
        }
        let before = self.stored.as_ref().map(|stored| stored.revision);
        if write.replaces == before || rules.is(Broken::NoComparison) {
            let revision = before.unwrap_or(0) + 1;
            write.fate = Fate::Accepted(revision);
            let stored = Stored {
                revision,
                record: write.record.clone(),
            };
            let replaced = self.stored.replace(stored);
            // What it may go back to: how it was before the last change that matters.
            if self.budget.back > 0 && differs(replaced.as_ref(), self.stored.as_ref()) {
                self.earlier = replaced;
            }
        } else {
            write.fate = Fate::Refused;
        }
        self.nodes[node]
            .writes
            .retain(|write| write.waited_for || write.fate == Fate::OnItsWay);
        Some(())
    }

    fn answer(&mut self, node: usize, rules: Rules) -> Option<()> {
        let sender = &mut self.nodes[node];
        let place = sender.writes.iter().position(|write| write.waited_for)?;
        match sender.writes[place].fate {
            Fate::OnItsWay => return None,
            Fate::Accepted(revision) => {
                let write = sender.writes.remove(place);
                sender.accepted(&write.record, revision, rules);
            }
            Fate::Refused => {
                sender.writes.remove(place);
                if sender.term.is_none() {
                    sender.attempt = None;
                } else if let Some(term) = &mut sender.term
                    && rules.is(Broken::RefusedAndGoesOn)
                {
                    term.lease.asked = None;
                    sender.open_the_door(rules);
                } else {
                    sender.abdicate();
                }
            }
        }
        Some(())
    }

    fn unanswered(&mut self, node: usize, rules: Rules) -> Option<()> {
        let sender = &mut self.nodes[node];
        let place = sender.writes.iter().position(|write| write.waited_for)?;
        spend(&mut self.budget.unanswered)?;
        let record = sender.writes[place].record.clone();
        let replaces = sender.writes[place].replaces;
        sender.wait_no_longer();
        if rules.is(Broken::UnansweredIsSuccess) {
            sender.accepted(&record, replaces.unwrap_or(0) + 1, rules);
            return Some(());
        }
        let found = self.stored.as_ref();
        let Some(term) = &mut sender.term else {
            sender.sight.see(NOW, found);
            sender.recognise(found, rules);
            return Some(());
        };
        match rules.found(&mut term.lease, sender.life, found) {
            Found::Written => sender.written(rules),
            Found::Lost => sender.abdicate(),
            Found::Unchanged => {
                term.asked_state = term.state;
                if rules.is(Broken::UnansweredIsForgotten)
                    && let Some(stored) = found
                {
                    term.roster = Roster::new(stored.record.roster.clone());
                }
                sender.nobody_is_before_a_write();
            }
        }
        Some(())
    }

    fn back(&mut self, gone: bool, rules: Rules) -> Option<()> {
        if !gone && self.earlier.is_none() {
            return None;
        }
        spend(&mut self.budget.back)?;
        self.stored = if gone { None } else { self.earlier.take() };
        self.earlier = None;
        if !rules.is(Broken::InterruptionsIgnored) {
            for node in &mut self.nodes {
                node.interrupted();
            }
        }
        Some(())
    }

    // Gateways

    fn call(&mut self, node: usize, gateway: usize) -> Option<()> {
        spend(&mut self.budget.calls)?;
        self.leave(gateway);
        let caller = &mut self.gateways[gateway];
        caller.at = At::Calling(node as u8);
        self.calls[node][gateway] = Some(Call {
            member: caller.member,
            claim: caller.newest,
            held: true,
        });
        Some(())
    }

    fn leave(&mut self, gateway: usize) {
        for node in 0..N {
            if let Some(peer) = &mut self.nodes[node].peers[gateway] {
                peer.call.held = false;
            }
            if let Some(call) = &mut self.calls[node][gateway] {
                call.held = false;
            }
        }
    }

    fn called(&mut self, node: usize, gateway: usize, rules: Rules) -> Option<()> {
        let call = self.calls[node][gateway].take()?;
        let host = &mut self.nodes[node];
        let Some(term) = &mut host.term else {
            if call.held {
                self.gateways[gateway].at = At::Nowhere;
            }
            return Some(());
        };
        term.given_up.retain(|member| *member != call.member);
        let place = match rules.admission(&term.roster, call.member, call.claim, term.number) {
            Admission::Now => Place::In { told: false },
            Admission::AfterWrite => Place::Door {
                before_write: rules.is(Broken::ClaimsByAnyWrite),
            },
        };
        host.peers[gateway] = Some(Peer {
            call,
            place,
            acknowledging: false,
        });
        host.in_without_acknowledgement(gateway, rules);
        Some(())
    }

    fn welcomed(&mut self, node: usize, gateway: usize) -> Option<()> {
        let term = self.nodes[node].term.as_ref()?.number;
        let peer = self.nodes[node].peers[gateway].as_mut()?;
        if !peer.call.held || peer.place != (Place::In { told: false }) {
            return None;
        }
        peer.place = Place::In { told: true };
        let guest = &mut self.gateways[gateway];
        guest.newest = guest.newest.max(term);
        guest.at = At::In(node as u8);
        Some(())
    }

    fn beat(&mut self, node: usize, gateway: usize) -> Option<()> {
        let term = self.nodes[node].term.as_ref()?;
        let peer = self.nodes[node].peers[gateway].as_mut()?;
        let matters =
            peer.call.held && peer.place == (Place::In { told: true }) && !peer.acknowledging;
        if !matters || !term.beginning.missing.contains(&peer.call.member) {
            return None;
        }
        peer.acknowledging = true;
        Some(())
    }

    fn acknowledged(&mut self, node: usize, gateway: usize) -> Option<()> {
        let host = &mut self.nodes[node];
        let peer = host.peers[gateway]
            .as_mut()
            .filter(|peer| peer.acknowledging)?;
        peer.acknowledging = false;
        host.term
            .as_mut()?
            .beginning
            .acknowledged(&peer.call.member);
        Some(())
    }

    fn give_up(&mut self, node: usize, gateway: usize) -> Option<()> {
        let host = &mut self.nodes[node];
        let term = host.term.as_mut()?;
        let member = self.gateways[gateway].member;
        if term.state != State::Serving
            || !term.roster.certain.contains(&member)
            || term.given_up.contains(&member)
        {
            return None;
        }
        spend(&mut self.budget.given_up)?;
        term.given_up.push(member);
        host.peers[gateway] = None;
        Some(())
    }

    fn restart(&mut self, gateway: usize) -> Option<()> {
        spend(&mut self.budget.restarts)?;
        self.leave(gateway);
        let restarted = &mut self.gateways[gateway];
        restarted.member += 1;
        restarted.newest = 0;
        restarted.at = At::Nowhere;
        Some(())
    }
}

impl<const G: usize> Node<G> {
    fn waits(&self) -> bool {
        self.writes.iter().any(|write| write.waited_for)
    }

    fn at_the_door(&self) -> impl Iterator<Item = Member> {
        let waits = |peer: &&Peer| matches!(peer.place, Place::Door { .. });
        self.peers
            .iter()
            .flatten()
            .filter(waits)
            .map(|peer| peer.call.member)
    }

    fn start_again(&mut self, nodes: u64) {
        let mut writes = std::mem::take(&mut self.writes);
        writes.retain(|write| write.fate == Fate::OnItsWay);
        for write in &mut writes {
            write.waited_for = false;
        }
        *self = Self::started(self.life + nodes);
        self.writes = writes;
    }

    /// At most one is waited for, and at most one more may still happen.
    fn send(&mut self, replaces: Option<u64>, record: Record<Member>) {
        while self.writes.len() > 1 {
            self.writes.remove(0);
        }
        self.writes.push(Write {
            replaces,
            record,
            fate: Fate::OnItsWay,
            waited_for: true,
        });
    }

    fn write(
        &mut self,
        state: State,
        named: std::collections::BTreeSet<Member>,
        rules: Rules,
    ) -> Option<()> {
        if self.waits() {
            return None;
        }
        if !rules.is(Broken::WritesLookAlike) {
            self.counter += 1;
        }
        let term = self.term.as_mut()?;
        term.lease.ask(NOW, self.counter);
        rules.ask(&mut term.roster, named.clone());
        term.asked_state = state;
        term.given_up.retain(|member| named.contains(member));
        let record = Record {
            term: term.number,
            node: self.life,
            counter: self.counter,
            state,
            roster: named,
        };
        let replaces = term.lease.revision;
        for peer in self.peers.iter_mut().flatten() {
            if let Place::Door { before_write } = &mut peer.place {
                *before_write = true;
            }
        }
        self.send(Some(replaces), record);
        if rules.is(Broken::NewcomersWhenTheWriteIsSent) {
            self.open_the_door(rules);
        }
        Some(())
    }

    fn accepted(&mut self, record: &Record<Member>, revision: u64, rules: Rules) {
        if let Some(term) = &mut self.term {
            rules.accepted(&mut term.lease, revision);
            self.written(rules);
        } else if let Some(attempt) = self.attempt.take()
            && attempt.record == *record
        {
            self.lead(attempt, revision, rules);
        }
    }

    /// A standby sees that the record is its own: its take-over has happened.
    fn recognise(&mut self, found: Option<&Stored<Member>>, rules: Rules) {
        let own =
            |attempt: &mut Attempt| found.is_some_and(|stored| stored.record == attempt.record);
        if let Some(attempt) = self.attempt.take_if(own)
            && let Some(stored) = found
        {
            self.wait_no_longer();
            self.lead(attempt, stored.revision, rules);
        }
    }

    fn lead(&mut self, attempt: Attempt, revision: u64, rules: Rules) {
        let lease = rules.first(attempt.asked, revision);
        let roster = attempt.record.roster;
        self.term = Some(Term {
            number: attempt.record.term,
            state: State::Beginning,
            asked_state: State::Beginning,
            lease,
            waited_for: roster.len(),
            beginning: Beginning::new(roster.clone(), attempt.take_over),
            roster: Roster::new(roster),
            given_up: Vec::new(),
        });
        self.sight.interrupted();
        if !rules.holds(&lease) {
            self.abdicate();
        }
    }

    /// The last write has succeeded.
    fn written(&mut self, rules: Rules) {
        if let Some(term) = &mut self.term {
            term.roster.accepted();
            term.state = term.asked_state;
            if term.state == State::Serving {
                term.beginning.missing.clear();
                term.beginning.old_lease_over = std::time::Duration::ZERO;
                term.waited_for = 0;
            }
        }
        self.open_the_door(rules);
        self.nobody_is_before_a_write();
    }

    /// Those at the door whom the last write names are welcome, if it was sent after they came.
    fn open_the_door(&mut self, rules: Rules) {
        let Some(term) = &self.term else { return };
        for gateway in 0..G {
            let Some(peer) = &mut self.peers[gateway] else {
                continue;
            };
            // The write shows that there is no later term: what the gateway claims does not matter any more.
            let claim = if rules.is(Broken::LaterClaimsAreRefused) {
                peer.call.claim
            } else {
                0
            };
            let admission = rules.admission(&term.roster, peer.call.member, claim, term.number);
            if peer.place == (Place::Door { before_write: true }) && admission == Admission::Now {
                peer.place = Place::In { told: false };
            }
        }
        for gateway in 0..G {
            self.in_without_acknowledgement(gateway, rules);
        }
    }

    fn in_without_acknowledgement(&mut self, gateway: usize, rules: Rules) {
        if let Some(Peer {
            call,
            place: Place::In { .. },
            ..
        }) = self.peers[gateway]
            && rules.is(Broken::WelcomeIsEnough)
            && let Some(term) = &mut self.term
        {
            term.beginning.acknowledged(&call.member);
        }
    }

    fn nobody_is_before_a_write(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            if let Place::Door { before_write } = &mut peer.place {
                *before_write = false;
            }
        }
    }
}

fn differs(before: Option<&Stored<Member>>, after: Option<&Stored<Member>>) -> bool {
    let key = |stored: &Stored<Member>| {
        (
            stored.record.term,
            stored.record.state,
            stored.record.roster.clone(),
        )
    };
    before.map(key) != after.map(key)
}

fn spend(budget: &mut u8) -> Option<()> {
    *budget = budget.checked_sub(1)?;
    Some(())
}
