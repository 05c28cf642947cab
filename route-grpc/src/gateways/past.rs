//! The gateways that are gone: who may not come back, and what the node had applied of those who
//! do.
//!
//! Bounded: as many as there may be at a time, the oldest being forgotten first.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::hello::{Hello, Secret};
use super::{Gateways, MAX_GATEWAYS};

impl Gateways {
    /// The stable name of a life that the node has, or has had lately.
    pub(crate) fn id_of(&self, incarnation: u64) -> Option<&str> {
        let present = self.by_incarnation.get(&incarnation);
        let past = || self.past.id(incarnation);
        present.map(|it| it.hello.id.as_str()).or_else(past)
    }
}

/// Lives of gateways that are gone, by incarnation. Incarnations are compared for equality only:
/// they begin with a clock that may be wrong.
#[derive(Debug, Default)]
pub(super) struct Past {
    lives: HashMap<u64, PastLife>,
    order: VecDeque<u64>,
}

#[derive(Debug)]
struct PastLife {
    id: String,
    /// Of its last stream.
    attempt: u64,
    secret: Secret,
    /// How much was applied of its links.
    seen: HashMap<u64, u64>,
}

impl Past {
    /// This life is over; so much was applied of its links.
    pub(super) fn remember(&mut self, hello: &Hello, seen: HashMap<u64, u64>) {
        let (attempt, secret) = (hello.attempt, hello.secret.clone());
        let past = PastLife {
            id: hello.id.clone(),
            attempt,
            secret,
            seen,
        };
        if self.lives.insert(hello.incarnation, past).is_none() {
            self.order.push_back(hello.incarnation);
        }
        if self.order.len() > MAX_GATEWAYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.lives.remove(&oldest);
        }
    }

    /// This life has had a newer stream, or this one. What somebody else has said in its name counts for nothing.
    pub(super) fn has_newer(&self, hello: &Hello) -> bool {
        let past = self.lives.get(&hello.incarnation);
        past.is_some_and(|past| past.secret == hello.secret && hello.attempt <= past.attempt)
    }

    /// The stable name of this life.
    pub(super) fn id(&self, incarnation: u64) -> Option<&str> {
        Some(&self.lives.get(&incarnation)?.id)
    }

    /// What was applied of this life, which is back.
    pub(super) fn seen_of(&mut self, incarnation: u64) -> HashMap<u64, u64> {
        let past = self.lives.get_mut(&incarnation);
        past.map_or_else(HashMap::new, |past| std::mem::take(&mut past.seen))
    }
}
