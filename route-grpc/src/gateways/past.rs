//! The gateways that are gone: who may not come back, and what the node had applied of those who
//! do.
//!
//! Bounded: as many as there may be at a time, the oldest being forgotten first.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::MAX_GATEWAYS;
use super::hello::Hello;

/// The last life of each gateway that is gone: what is older may not come back.
#[derive(Debug, Default)]
pub(super) struct Past {
    last: HashMap<String, PastLife>,
    order: VecDeque<String>,
}

#[derive(Debug)]
struct PastLife {
    /// Incarnation and attempt.
    life: (u64, u64),
    /// How much was applied of its links.
    seen: HashMap<u64, u64>,
}

impl Past {
    /// This life is over; so much was applied of its links.
    pub(super) fn remember(&mut self, hello: Hello, seen: HashMap<u64, u64>) {
        let life = (hello.incarnation, hello.attempt);
        let past = PastLife { life, seen };
        if self.last.insert(hello.id.clone(), past).is_none() {
            self.order.push_back(hello.id);
        }
        if self.order.len() > MAX_GATEWAYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.last.remove(&oldest);
        }
    }

    /// This gateway has had a newer life, or a newer stream of it.
    pub(super) fn has_newer(&self, hello: &Hello) -> bool {
        let newest = self.last.get(&hello.id);
        newest.is_some_and(|newest| (hello.incarnation, hello.attempt) <= newest.life)
    }

    /// What was applied of this life, which is back.
    pub(super) fn seen_of(&mut self, incarnation: u64) -> HashMap<u64, u64> {
        let mut lives = self.last.values_mut();
        let past = lives.find(|past| past.life.0 == incarnation);
        past.map_or_else(HashMap::new, |past| std::mem::take(&mut past.seen))
    }
}
