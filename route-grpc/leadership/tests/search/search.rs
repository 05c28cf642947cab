//! The search: every world that can come from a first one.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::rest;
use crate::rules::Rules;
use crate::steps::Step;
use crate::world::World;

/// What a search has seen.
#[derive(Debug)]
pub(crate) struct Searched {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// Of how many states it was looked whether one node serves all after a rest.
    pub(crate) rests: usize,
    pub(crate) found: Option<Found>,
    /// Whether nothing was left to be looked at.
    pub(crate) whole: bool,
}

/// A schedule that breaks something. Read where a test shows it.
#[derive(Debug)]
#[expect(dead_code, reason = "shown by Debug")]
pub(crate) enum Found {
    TwoRouters(Vec<Step>),
    NoRouter(Vec<Step>),
}

/// Looks at every world within the budget, the nearest first, until one is bad or there are more than `most`. Worlds in
/// which no two nodes can lead any more are not gone on from. Of one in `every`, it is also looked whether one node
/// serves all gateways once nothing fails any more; 0 for none.
///
/// Worlds are known by a hash of 64 bits: of 10 million, two are taken for one with a probability of 0.000 003.
pub(crate) fn search<const N: usize, const G: usize>(
    start: &World<N, G>,
    rules: Rules,
    most: usize,
    every: u64,
) -> Searched {
    let mut from = HashMap::with_hasher(FixedState::with_seed(1));
    from.insert(name(start), None);
    let mut open = VecDeque::from([(name(start), start.clone())]);
    let mut searched = Searched {
        states: 1,
        steps: 0,
        rests: 0,
        found: None,
        whole: false,
    };
    let mut bad = None;
    while bad.is_none() && from.len() <= most {
        let Some((parent, world)) = open.pop_front() else {
            break;
        };
        world.next(rules, |_, next| {
            searched.steps += 1;
            let own = name(&next);
            if from.contains_key(&own) {
                return;
            }
            if next.two_routers(|lease| rules.holds(lease)) {
                bad.get_or_insert((own, Found::TwoRouters as fn(_) -> _));
            }
            if every > 0 && own.is_multiple_of(every) {
                searched.rests += 1;
                if !rest::one_serves_all(&next, rules) {
                    bad.get_or_insert((own, Found::NoRouter as fn(_) -> _));
                }
            }
            if next.matters() || bad.as_ref().is_some_and(|(end, _)| *end == own) {
                from.insert(own, Some(parent));
                open.push_back((own, next));
            }
        });
    }
    searched.states = from.len();
    searched.whole = open.is_empty();
    searched.found = bad.map(|(end, found)| found(trace(start, end, &from, rules)));
    searched
}

fn name<const N: usize, const G: usize>(world: &World<N, G>) -> u64 {
    FixedState::with_seed(7).hash_one(world)
}

/// The steps that lead from the first world to one that was found.
fn trace<const N: usize, const G: usize, S: BuildHasher>(
    start: &World<N, G>,
    end: u64,
    from: &HashMap<u64, Option<u64>, S>,
    rules: Rules,
) -> Vec<Step> {
    let mut names = vec![end];
    while let Some(Some(before)) = from.get(&names[names.len() - 1]) {
        names.push(*before);
    }
    let mut world = start.clone();
    let mut steps = Vec::new();
    for wanted in names.iter().rev().skip(1) {
        let mut found = None;
        world.next(rules, |step, next| {
            if name(&next) == *wanted {
                found = Some((step, next));
            }
        });
        let (step, next) = found.expect("the path leads on");
        steps.push(step);
        world = next;
    }
    steps
}
