//! A small site: nodes, gateways, and the record; everything that may be on its way between them.

use std::time::Duration;

use route_leadership::{Asked, Beginning, Lease, Record, Roster, Sight, State, Stored, TakeOver};

use crate::rules::{Member, NOW};

/// How often each of what does not end by itself may happen in one schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Times that a gateway calls a node.
    pub(crate) calls: u8,
    /// Take-overs that are tried.
    pub(crate) take_overs: u8,
    /// Writes of which the answer is not waited for any longer.
    pub(crate) unanswered: u8,
    /// Nodes that crash and start again.
    pub(crate) crashes: u8,
    /// Nodes that are asked to stop, and start again.
    pub(crate) releases: u8,
    /// Gateways that start again.
    pub(crate) restarts: u8,
    /// Gateways that a node gives up.
    pub(crate) given_up: u8,
    /// Seconds that one node's clock loses.
    pub(crate) lags: u8,
    /// Times that the record goes back.
    pub(crate) back: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World<const N: usize, const G: usize> {
    pub(crate) stored: Option<Stored<Member>>,
    /// What the record may go back to.
    pub(crate) earlier: Option<Stored<Member>>,
    pub(crate) nodes: [Node<G>; N],
    pub(crate) gateways: [Gateway; G],
    /// By node and gateway: calls that have not arrived yet.
    pub(crate) calls: [[Option<Call>; G]; N],
    pub(crate) budget: Budget,
}

/// A node. Its clock always shows [`NOW`]: what it remembers gets older instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node<const G: usize> {
    pub(crate) life: u64,
    pub(crate) counter: u64,
    pub(crate) sight: Sight<Member>,
    pub(crate) attempt: Option<Attempt>,
    pub(crate) term: Option<Term>,
    /// Those that were sent and may still happen or be answered.
    pub(crate) writes: Vec<Write>,
    pub(crate) peers: [Option<Peer>; G],
}

/// A take-over that a standby has sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub(crate) asked: Asked,
    pub(crate) record: Record<Member>,
    pub(crate) take_over: TakeOver,
}

/// What a leader knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) number: u64,
    pub(crate) state: State,
    /// What the last write says.
    pub(crate) asked_state: State,
    pub(crate) lease: Lease,
    pub(crate) roster: Roster<Member>,
    pub(crate) beginning: Beginning<Member>,
    pub(crate) waited_for: usize,
    /// Those that are given up: the next write leaves them out.
    pub(crate) given_up: Vec<Member>,
}

/// A write that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) replaces: Option<u64>,
    pub(crate) record: Record<Member>,
    pub(crate) fate: Fate,
    /// Whether its sender waits for the answer.
    pub(crate) waited_for: bool,
}

/// What has become of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    OnItsWay,
    Accepted(u64),
    Refused,
}

/// A gateway's stream as its node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) call: Call,
    pub(crate) place: Place,
    /// An acknowledgement of a beat is on its way.
    pub(crate) acknowledging: bool,
}

/// How far a gateway has come at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// At the door; whether the write that is on its way was sent after it came.
    Door { before_write: bool },
    /// Welcomed; whether that is still on its way.
    In { told: bool },
}

/// What a gateway says when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) member: Member,
    pub(crate) claim: u64,
    /// Whether the gateway still holds this stream. Its node does not know.
    pub(crate) held: bool,
}

/// A gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Gateway {
    pub(crate) member: Member,
    /// The newest term that has welcomed it.
    pub(crate) newest: u64,
    pub(crate) at: At,
}

/// Where a gateway is, by its own view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum At {
    Nowhere,
    Calling(u8),
    In(u8),
}

impl<const N: usize, const G: usize> World<N, G> {
    /// Node 0 leads term 1 and has the first `attached` gateways. The others have seen that, but for the last of three,
    /// which has just started.
    pub(crate) fn led(attached: usize, budget: Budget) -> Self {
        let mut world = Self::new(budget);
        let roster = (0..attached)
            .map(|gateway| world.gateways[gateway].member)
            .collect();
        let record = Record {
            term: 1,
            node: 0,
            counter: 1,
            state: State::Serving,
            roster,
        };
        let stored = Stored {
            revision: 1,
            record,
        };
        for node in world.nodes.iter_mut().take(2) {
            node.sight.see(NOW, Some(&stored));
            if let Some(seen) = &mut node.sight.seen {
                seen.followed = true;
            }
        }
        let asked = Asked {
            counter: 1,
            sent: NOW,
        };
        let leader = &mut world.nodes[0];
        leader.counter = 1;
        leader.sight = Sight::new();
        leader.term = Some(Term {
            number: 1,
            state: State::Serving,
            asked_state: State::Serving,
            lease: Lease::new(asked, 1),
            roster: Roster::new(stored.record.roster.clone()),
            beginning: Beginning::new(
                [].into(),
                TakeOver {
                    old_lease_over: NOW,
                },
            ),
            waited_for: 0,
            given_up: Vec::new(),
        });
        for gateway in 0..attached {
            let member = world.gateways[gateway].member;
            world.gateways[gateway].newest = 1;
            world.gateways[gateway].at = At::In(0);
            let call = Call {
                member,
                claim: 0,
                held: true,
            };
            leader.peers[gateway] = Some(Peer {
                call,
                place: Place::In { told: true },
                acknowledging: false,
            });
        }
        world.stored = Some(stored);
        world
    }

    /// Nothing has happened yet.
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            stored: None,
            earlier: None,
            nodes: std::array::from_fn(|node| Node::started(node as u64)),
            gateways: std::array::from_fn(|gateway| Gateway {
                member: 4 * gateway as Member,
                newest: 0,
                at: At::Nowhere,
            }),
            calls: [[None; G]; N],
            budget,
        }
    }

    /// The pairs of a node and a gateway of which the node applies what the gateway sends on a stream that it holds.
    pub(crate) fn applied(
        &self,
        holds: impl Fn(&Lease) -> bool,
    ) -> impl Iterator<Item = (usize, usize)> {
        let serves: [bool; N] = std::array::from_fn(|node| {
            let term = self.nodes[node].term.as_ref();
            term.is_some_and(|term| term.state == State::Serving && holds(&term.lease))
        });
        let pairs = (0..N).flat_map(|node| (0..G).map(move |gateway| (node, gateway)));
        pairs.filter(move |&(node, gateway)| {
            let has = |peer: &Peer| peer.call.held && matches!(peer.place, Place::In { .. });
            serves[node]
                && self.gateways[gateway].at == At::In(node as u8)
                && self.nodes[node].peers[gateway].as_ref().is_some_and(has)
        })
    }

    /// Two nodes that both apply what different gateways send.
    pub(crate) fn two_routers(&self, holds: impl Fn(&Lease) -> bool) -> bool {
        let mut first = None;
        for (node, _) in self.applied(holds) {
            // A gateway holds one stream: another node has another gateway.
            if first.is_some_and(|first| first != node) {
                return true;
            }
            first = Some(node);
        }
        false
    }

    /// Whether more than one node leads, or may lead when nothing but what is on its way happens.
    pub(crate) fn matters(&self) -> bool {
        let may_lead = |node: &&Node<G>| node.term.is_some() || node.attempt.is_some();
        self.budget.take_overs as usize + self.nodes.iter().filter(may_lead).count() > 1
    }

    /// Whether a gateway is at a node that leads, and will be served there.
    pub(crate) fn waits_for_a_leader(&self, gateway: usize) -> bool {
        let (At::Calling(node) | At::In(node)) = self.gateways[gateway].at else {
            return false;
        };
        let node = &self.nodes[usize::from(node)];
        node.term.is_some()
            && node.peers[gateway]
                .as_ref()
                .is_some_and(|peer| peer.call.held)
    }

    /// Names revisions and counters anew, in the same order: only that and equality matter.
    pub(crate) fn rename(&mut self) {
        let mut revisions = Vec::new();
        let mut counters = Vec::new();
        self.each_number(&mut |number| match number {
            Number::Revision(revision) => revisions.push(*revision),
            Number::Counter(life, counter) => counters.push((life, *counter)),
        });
        revisions.sort_unstable();
        revisions.dedup();
        counters.sort_unstable();
        counters.dedup();
        let rank = |revision: &u64| {
            revisions
                .binary_search(revision)
                .map_or(0, |rank| rank as u64)
        };
        self.each_number(&mut |number| match number {
            Number::Revision(revision) => *revision = rank(revision) + 1,
            Number::Counter(life, counter) => {
                let first = counters.partition_point(|&(other, _)| other < life);
                let place = counters.binary_search(&(life, *counter)).unwrap_or(first);
                *counter = (place - first) as u64 + 1;
            }
        });
    }

    fn each_number(&mut self, with: &mut impl FnMut(Number<'_>)) {
        for stored in [&mut self.stored, &mut self.earlier].into_iter().flatten() {
            each_of_stored(stored, with);
        }
        for node in &mut self.nodes {
            with(Number::Counter(node.life, &mut node.counter));
            if let Some(stored) = node
                .sight
                .seen
                .as_mut()
                .and_then(|seen| seen.stored.as_mut())
            {
                each_of_stored(stored, with);
            }
            if let Some(attempt) = &mut node.attempt {
                with(Number::Counter(node.life, &mut attempt.asked.counter));
                with(Number::Counter(node.life, &mut attempt.record.counter));
            }
            if let Some(term) = &mut node.term {
                with(Number::Revision(&mut term.lease.revision));
                if let Some(asked) = &mut term.lease.asked {
                    with(Number::Counter(node.life, &mut asked.counter));
                }
            }
            for write in &mut node.writes {
                with(Number::Counter(
                    write.record.node,
                    &mut write.record.counter,
                ));
                if let Some(revision) = &mut write.replaces {
                    with(Number::Revision(revision));
                }
                if let Fate::Accepted(revision) = &mut write.fate {
                    with(Number::Revision(revision));
                }
            }
        }
    }
}

enum Number<'a> {
    Revision(&'a mut u64),
    Counter(u64, &'a mut u64),
}

fn each_of_stored(stored: &mut Stored<Member>, with: &mut impl FnMut(Number<'_>)) {
    with(Number::Revision(&mut stored.revision));
    with(Number::Counter(
        stored.record.node,
        &mut stored.record.counter,
    ));
}

impl<const G: usize> Node<G> {
    pub(crate) fn started(life: u64) -> Self {
        Self {
            life,
            counter: 0,
            sight: Sight::new(),
            attempt: None,
            term: None,
            writes: Vec::new(),
            peers: [None; G],
        }
    }

    /// Ends all streams, and begins anew as a standby. What was sent may still happen.
    pub(crate) fn abdicate(&mut self) {
        let writes = std::mem::take(&mut self.writes);
        let counter = self.counter;
        *self = Self::started(self.life);
        self.counter = counter;
        self.writes = writes;
        self.wait_no_longer();
    }

    /// The connection to the engine was lost. Who does not serve begins anew.
    pub(crate) fn interrupted(&mut self) {
        if self
            .term
            .as_ref()
            .is_none_or(|term| term.state == State::Beginning)
        {
            self.abdicate();
        }
    }

    /// Nobody waits for answers any more.
    pub(crate) fn wait_no_longer(&mut self) {
        for write in &mut self.writes {
            write.waited_for = false;
        }
        self.writes.retain(|write| write.fate == Fate::OnItsWay);
    }

    /// A second goes by.
    pub(crate) fn age(&mut self) {
        if let Some(seen) = &mut self.sight.seen {
            older(&mut seen.since);
        }
        if let Some(attempt) = &mut self.attempt {
            older(&mut attempt.asked.sent);
            older(&mut attempt.take_over.old_lease_over);
        }
        if let Some(term) = &mut self.term {
            older(&mut term.lease.sent);
            older(&mut term.beginning.old_lease_over);
            if let Some(asked) = &mut term.lease.asked {
                older(&mut asked.sent);
            }
        }
    }
}

fn older(stamp: &mut Duration) {
    *stamp = stamp.saturating_sub(Duration::from_secs(1));
}
