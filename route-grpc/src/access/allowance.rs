//! How much one identity may do, in all of its connections.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use hashbrown::HashMap;
use parking_lot::Mutex;
use route_access::{Identity, Limits};

use crate::refusal::OfCaller;

/// Of so many it is known what they did; beyond, those are forgotten that have no stream.
const MOST: usize = 4096;

/// Those of all identities that have limits: by name and limits, for somebody may show more or less from call to call, and must
/// not begin anew by that.
#[derive(Debug, Default)]
pub(super) struct Allowances(Mutex<HashMap<(String, Limits), Arc<Allowance>>>);

/// That of one.
#[derive(Debug)]
pub(super) struct Allowance {
    streams: Option<u32>,
    calls: Option<Rate>,
    ids: Option<Rate>,
    published: Option<Rate>,
    open: Arc<AtomicU32>,
}

/// One of its streams, until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream(Arc<AtomicU32>);

type Limiter = RateLimiter<
    NotKeyed,
    InMemoryState,
    MonotonicClock,
    NoOpMiddleware<<MonotonicClock as governor::clock::Clock>::Instant>,
>;

/// So many a second; what is left of a second can be used at once.
#[derive(Debug)]
struct Rate {
    per_second: NonZeroU32,
    limiter: Limiter,
}

impl Allowances {
    /// That of this identity. None: it has no limits.
    pub(super) fn of(&self, identity: &Identity, limits: Limits) -> Option<Arc<Allowance>> {
        if limits == Limits::default() {
            return None;
        }
        let whose = (identity.key(), limits);
        let mut all = self.0.lock();
        if let Some(known) = all.get(&whose) {
            return Some(Arc::clone(known));
        }
        if all.len() >= MOST {
            all.retain(|_, it| it.open.load(Ordering::Relaxed) > 0);
        }
        // Its streams go on when its limits are others.
        let known = all.iter().find(|((name, _), _)| *name == whose.0);
        let open = known.map(|(_, it)| Arc::clone(&it.open));
        let made = Arc::new(Allowance::new(limits, open.unwrap_or_default()));
        all.insert(whose, Arc::clone(&made));
        Some(made)
    }
}

impl Allowance {
    fn new(limits: Limits, open: Arc<AtomicU32>) -> Self {
        Self {
            streams: limits.streams,
            calls: limits.calls_per_second.and_then(Rate::new),
            ids: limits.ids_per_second.and_then(Rate::new),
            published: limits.published_per_second.and_then(Rate::new),
            open,
        }
    }

    pub(super) fn calls(&self, count: usize) -> Result<(), OfCaller> {
        take(self.calls.as_ref(), count, "calls")
    }

    pub(super) fn ids(&self, count: usize) -> Result<(), OfCaller> {
        take(self.ids.as_ref(), count, "user ids")
    }

    pub(super) fn published(&self, count: usize) -> Result<(), OfCaller> {
        take(self.published.as_ref(), count, "published events")
    }

    pub(super) fn open(self: &Arc<Self>) -> Result<OpenStream, OfCaller> {
        let limit = self.streams.unwrap_or(u32::MAX);
        let taken = self
            .open
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < limit).then(|| open + 1)
            });
        match taken {
            Ok(_) => Ok(OpenStream(Arc::clone(&self.open))),
            Err(_) => Err(OfCaller::Streams { limit }),
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Rate {
    /// None: 0, which the policy does not allow.
    fn new(per_second: u32) -> Option<Self> {
        let per_second = NonZeroU32::new(per_second)?;
        let limiter = RateLimiter::direct_with_clock(Quota::per_second(per_second), MonotonicClock);
        Some(Self {
            per_second,
            limiter,
        })
    }

    /// Err: when there will be room for so many. None: never.
    fn take(&self, count: NonZeroU32) -> Result<(), Option<Duration>> {
        let now = MonotonicClock.now();
        match self.limiter.check_n(count) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(Some(until.wait_time_from(now))),
            Err(_) => Err(None),
        }
    }
}

fn take(rate: Option<&Rate>, count: usize, what: &'static str) -> Result<(), OfCaller> {
    let (Some(rate), Some(count)) = (rate, u32::try_from(count).ok().and_then(NonZeroU32::new))
    else {
        return Ok(());
    };
    let limit = rate.per_second.get();
    rate.take(count).map_err(|until| match until {
        Some(retry) => OfCaller::Rate { limit, what, retry },
        None => OfCaller::TooMany {
            count: count.get(),
            limit,
            what,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        streams: Some(2),
        calls_per_second: None,
        ids_per_second: Some(10),
        published_per_second: None,
    };

    #[test]
    fn who_has_had_its_share_is_told_when_to_come_back() {
        let allowances = Allowances::default();
        let anybody = Identity::default();
        let of = || allowances.of(&anybody, LIMITS).expect("it has limits");

        assert_eq!(of().ids(10), Ok(()));
        let Err(OfCaller::Rate {
            limit: 10, retry, ..
        }) = of().ids(5)
        else {
            panic!("there is no room");
        };
        assert!(retry <= Duration::from_secs(1), "{retry:?}");
        assert!(matches!(of().ids(11), Err(OfCaller::TooMany { .. })));
        assert_eq!(of().calls(1_000_000), Ok(()), "nobody limits them");
        assert!(allowances.of(&anybody, Limits::default()).is_none());
    }

    #[test]
    fn streams_have_places_that_are_free_again() {
        let allowances = Allowances::default();
        let anybody = Identity::default();
        let of = |limits| allowances.of(&anybody, limits).expect("it has limits");

        let first = of(LIMITS).open().expect("a place");
        let _second = of(LIMITS).open().expect("a place");
        assert_eq!(
            of(LIMITS).open().err(),
            Some(OfCaller::Streams { limit: 2 })
        );
        drop(first);
        let _third = of(LIMITS).open().expect("a place");
        let more = Limits {
            streams: Some(3),
            ..LIMITS
        };
        let _fourth = of(more)
            .open()
            .expect("a place, beside those that were open before");
        assert!(of(more).open().is_err());
    }

    #[test]
    fn who_shows_more_or_less_from_call_to_call_does_not_begin_anew() {
        let allowances = Allowances::default();
        let anybody = Identity::default();
        let of = |limits| allowances.of(&anybody, limits).expect("it has limits");
        let others = Limits {
            streams: Some(1),
            ..LIMITS
        };

        assert_eq!(of(LIMITS).ids(10), Ok(()));
        assert_eq!(of(others).ids(10), Ok(()));
        assert!(of(LIMITS).ids(5).is_err());
        let _one = of(LIMITS).open().expect("there is room");
        assert!(of(others).open().is_err(), "streams are those of both");
    }
}
