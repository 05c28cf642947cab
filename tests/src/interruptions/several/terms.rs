//! Who led when, and which gateways held a stream there: by what nodes and gateways log.
//!
//! **Two routers never:** at no moment do two gateways hold a stream, by their own log, to two nodes
//! each of which serves its term, by its own log. All clocks are one: the machine's.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use parking_lot::Mutex;
use prost_types::Timestamp;
use serde_json::Value;

use crate::cast::judge::{Judge, State};
use crate::deployment::process::Listener;

/// Microseconds since the epoch.
type Moment = i64;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Node(usize),
    Gateway(usize),
}

/// What a line says of terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Begins(u64),
    Serves(u64),
    Ends(u64),
    Attached(u64),
    Detached,
}

/// A term, as its node says.
#[derive(Debug, Clone, Copy)]
struct Term {
    node: usize,
    serves: Option<Moment>,
    ends: Option<Moment>,
}

/// A gateway's stream.
#[derive(Debug, Clone, Copy)]
struct Held {
    gateway: usize,
    term: u64,
    from: Moment,
    until: Option<Moment>,
}

/// All that was said.
#[derive(Debug, Default)]
struct History {
    terms: BTreeMap<u64, Term>,
    streams: Vec<Held>,
    wrong: Vec<String>,
}

/// Hears the processes of a site.
#[derive(Debug, Default)]
pub(super) struct Terms {
    history: Mutex<History>,
    judge: OnceLock<Arc<Judge>>,
}

impl Terms {
    /// Hears this process.
    pub(super) fn listener(self: &Arc<Self>, who: Who) -> Listener {
        let terms = Arc::clone(self);
        Listener::new(move |line| {
            if let Some((at, fact)) = read(line) {
                terms.heard(who, at, fact);
            }
        })
    }

    /// Tells this judge when a term is over, from now on.
    pub(super) fn tell(&self, judge: &Arc<Judge>) {
        // There is one judge of a site.
        let _ = self.judge.set(Arc::clone(judge));
    }

    /// The node that serves.
    pub(super) fn leader(&self) -> Option<usize> {
        let history = self.history.lock();
        let (_, newest) = history.terms.last_key_value()?;
        let serves = newest.serves.is_some() && newest.ends.is_none();
        serves.then_some(newest.node)
    }

    /// The newest term; 0: none.
    pub(super) fn newest(&self) -> u64 {
        let history = self.history.lock();
        history.terms.last_key_value().map_or(0, |(term, _)| *term)
    }

    /// A process was killed just now, and says no more.
    pub(super) fn killed(&self, who: Who) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = Moment::try_from(now.as_micros()).unwrap_or(Moment::MAX);
        let mut history = self.history.lock();
        match who {
            Who::Node(killed) => {
                let terms = history.terms.values_mut();
                terms
                    .filter(|term| term.node == killed)
                    .for_each(|term| _ = term.ends.get_or_insert(now));
            }
            Who::Gateway(killed) => history.lets_go(killed, now),
        }
    }

    /// What is wrong with all that was said.
    pub(super) fn wrong(&self) -> Vec<String> {
        let history = self.history.lock();
        let two = history.two_routers();
        let unheard = history.is_unheard().then(|| {
            let newest = history.terms.last_key_value();
            format!("of {newest:?} no gateway was heard")
        });
        let wrong = history.wrong.iter().cloned();
        wrong.chain(two).chain(unheard).collect()
    }

    fn heard(&self, who: Who, at: Moment, fact: Fact) {
        let is_over = self.history.lock().heard(who, at, fact);
        if let (true, Some(judge)) = (is_over, self.judge.get()) {
            judge.with(State::lose_node);
        }
    }
}

impl History {
    /// True if the term that was the newest is over by that.
    fn heard(&mut self, who: Who, at: Moment, fact: Fact) -> bool {
        let newest = self
            .terms
            .last_key_value()
            .map(|(term, it)| (*term, it.ends));
        match (who, fact) {
            (Who::Node(node), Fact::Begins(term)) => {
                let begun = Term {
                    node,
                    serves: None,
                    ends: None,
                };
                if let Some(before) = self.terms.insert(term, begun) {
                    let other = before.node;
                    self.wrong
                        .push(format!("nodes {other} and {node} both begin term {term}"));
                }
                newest.is_some_and(|(_, ends)| ends.is_none())
            }
            (Who::Node(_), Fact::Serves(term)) => {
                if let Some(term) = self.terms.get_mut(&term) {
                    term.serves = Some(at);
                }
                false
            }
            (Who::Node(_), Fact::Ends(term)) => {
                if let Some(term) = self.terms.get_mut(&term) {
                    term.ends = Some(at);
                }
                newest.is_some_and(|(newest, _)| newest == term)
            }
            (Who::Gateway(gateway), Fact::Attached(term)) => {
                self.lets_go(gateway, at);
                self.streams.push(Held {
                    gateway,
                    term,
                    from: at,
                    until: None,
                });
                false
            }
            (Who::Gateway(gateway), Fact::Detached) => {
                self.lets_go(gateway, at);
                false
            }
            (Who::Node(_), Fact::Attached(_) | Fact::Detached)
            | (Who::Gateway(_), Fact::Begins(_) | Fact::Serves(_) | Fact::Ends(_)) => false,
        }
    }

    /// The newest term serves, and nothing was heard of gateways there: then this can judge nothing.
    fn is_unheard(&self) -> bool {
        let newest = self.terms.last_key_value();
        newest.is_none_or(|(term, it)| {
            it.serves.is_some() && self.streams.iter().all(|held| held.term != *term)
        })
    }

    fn lets_go(&mut self, gateway: usize, at: Moment) {
        let held = self.streams.iter_mut().filter(|it| it.gateway == gateway);
        held.for_each(|it| _ = it.until.get_or_insert(at));
    }

    /// When a stream was of use: held, and to a node that serves.
    fn of_use(&self, held: &Held) -> Option<(Moment, Moment)> {
        let term = self.terms.get(&held.term)?;
        let from = held.from.max(term.serves?);
        let ends = [held.until, term.ends].into_iter().flatten().min();
        let until = ends.unwrap_or(Moment::MAX);
        (from < until).then_some((from, until))
    }

    /// Two of use at once, of different gateways, to different terms.
    fn two_routers(&self) -> Vec<String> {
        let all = self.streams.iter();
        let all: Vec<_> = all.filter_map(|it| Some((it, self.of_use(it)?))).collect();
        let mut wrong = Vec::new();
        for (number, (one, (from, until))) in all.iter().enumerate() {
            for (other, (other_from, other_until)) in &all[number + 1..] {
                let is_at_once = from < other_until && other_from < until;
                if one.gateway != other.gateway && one.term != other.term && is_at_once {
                    let micros = until.min(other_until) - from.max(other_from);
                    wrong.push(format!(
                        "two routers for {micros} us: term {} for gateway {}, and term {} for gateway {}",
                        one.term, one.gateway, other.term, other.gateway
                    ));
                }
            }
        }
        wrong
    }
}

/// What a line of a log says of terms, and when.
fn read(line: &str) -> Option<(Moment, Fact)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let term = line["term"].as_u64();
    let fact = match line["message"].as_str()? {
        "this node leads; its term begins" => Fact::Begins(term?),
        "this node serves" => Fact::Serves(term?),
        "this node leads no more" | "this node leads no more: it drains" => Fact::Ends(term?),
        "attached" => Fact::Attached(term?),
        "detached; MsgServers stay connected" => Fact::Detached,
        _ => return None,
    };
    let at: Timestamp = line["timestamp"].as_str()?.parse().ok()?;
    Some((
        at.seconds * 1_000_000 + Moment::from(at.nanos) / 1_000,
        fact,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    use Fact::{Attached, Begins, Detached, Ends, Serves};
    use Who::{Gateway, Node};

    #[test]
    fn one_router_after_the_other_is_right() {
        let history = history(&[
            (Node(0), Begins(1)),
            (Gateway(0), Attached(1)),
            (Gateway(1), Attached(1)),
            (Node(0), Serves(1)),
            // The node is frozen from here on: it does not say that its term is over.
            (Gateway(0), Detached),
            (Node(1), Begins(2)),
            (Gateway(0), Attached(2)),
            (Gateway(1), Detached),
            (Gateway(1), Attached(2)),
            (Node(1), Serves(2)),
            (Node(0), Ends(1)),
        ]);

        assert_eq!(history.two_routers(), Vec::<String>::new());
    }

    #[test]
    fn who_serves_before_all_gateways_have_left_the_old_node_is_caught() {
        let history = history(&[
            (Node(0), Begins(1)),
            (Gateway(0), Attached(1)),
            (Gateway(1), Attached(1)),
            (Node(0), Serves(1)),
            (Gateway(0), Detached),
            (Node(1), Begins(2)),
            (Gateway(0), Attached(2)),
            (Node(1), Serves(2)),
            (Gateway(1), Detached),
            (Node(0), Ends(1)),
        ]);

        assert_eq!(history.two_routers().len(), 1);
    }

    #[test]
    fn an_old_node_that_lets_a_gateway_in_again_is_caught() {
        let history = history(&[
            (Node(0), Begins(1)),
            (Gateway(0), Attached(1)),
            (Gateway(1), Attached(1)),
            (Node(0), Serves(1)),
            (Gateway(0), Detached),
            (Gateway(1), Detached),
            (Node(1), Begins(2)),
            (Gateway(0), Attached(2)),
            (Gateway(1), Attached(2)),
            (Node(1), Serves(2)),
            (Gateway(1), Detached),
            (Gateway(1), Attached(1)),
            (Node(0), Ends(1)),
        ]);

        assert_eq!(history.two_routers().len(), 1);
    }

    #[test]
    fn two_that_begin_one_term_are_caught() {
        let history = history(&[(Node(0), Begins(1)), (Node(1), Begins(1))]);
        assert_eq!(history.wrong.len(), 1);
    }

    #[test]
    fn a_judge_that_hears_no_gateways_says_so() {
        let mut history = history(&[(Node(0), Begins(1)), (Node(0), Serves(1))]);
        assert!(history.is_unheard());
        history.heard(Gateway(0), 3, Attached(1));
        assert!(!history.is_unheard());
    }

    #[test]
    fn a_term_is_over_once() {
        let mut history = History::default();
        assert!(!history.heard(Node(0), 1, Begins(1)));
        assert!(history.heard(Node(0), 2, Ends(1)));
        assert!(!history.heard(Node(1), 3, Begins(2)));
        // That of one which is not heard, and comes later.
        assert!(history.heard(Node(0), 4, Begins(3)));
        assert!(!history.heard(Node(1), 5, Ends(2)));
    }

    #[test]
    fn lines_are_read_as_processes_write_them() {
        let line = r#"{"timestamp":"2026-11-30T22:00:00.000007Z","level":"INFO","message":"this node serves","term":3}"#;
        let (at, fact) = read(line).expect("it is such a line");
        assert_eq!((at % 1_000_000, fact), (7, Serves(3)));
        assert_eq!(read(r#"{"message":"attached"}"#), None);
        assert_eq!(read("no JSON"), None);
    }

    /// Said a second apart.
    fn history(said: &[(Who, Fact)]) -> History {
        let mut history = History::default();
        for (at, (who, fact)) in (0..).zip(said) {
            history.heard(*who, at * 1_000_000, *fact);
        }
        history
    }
}
