//! Whether two nodes apply what different gateways send. What a gateway is told to be confirmed on a stream that it holds
//! was applied by that stream's node, after it was sent and before it was told.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::seeds::Trace;

/// Knows what was confirmed to whom.
#[derive(Debug)]
pub(crate) struct Judge(Mutex<State>);

#[derive(Debug)]
struct State {
    now: Duration,
    trace: Trace,
    violations: Vec<String>,
    /// By term, then by gateway: when it was first told of something.
    first: BTreeMap<u64, BTreeMap<usize, Duration>>,
    /// By gateway: the term of its stream, and when the newest was sent that was confirmed.
    newest: BTreeMap<usize, (u64, Duration)>,
    confirmed: u64,
}

impl Judge {
    pub(crate) fn new(shown: bool) -> Self {
        Self(Mutex::new(State {
            now: Duration::ZERO,
            trace: Trace::new(shown),
            violations: Vec::new(),
            first: BTreeMap::new(),
            newest: BTreeMap::new(),
            confirmed: 0,
        }))
    }

    /// By the time of the schedule, which all hosts have.
    pub(crate) fn now(&self) -> Duration {
        self.0.lock().now
    }

    pub(crate) fn set_now(&self, now: Duration) {
        self.0.lock().now = now;
    }

    pub(crate) fn say(&self, what: &str) {
        let state = self.0.lock();
        state.trace.show(state.now, what);
    }

    pub(crate) fn violate(&self, what: String) {
        self.say(&format!("VIOLATION {what}"));
        self.0.lock().violations.push(what);
    }

    /// A gateway holds a stream of this term, and is told on it that what it sent there then was applied.
    pub(crate) fn confirmed(&self, gateway: usize, term: u64, sent: Duration) {
        let mut state = self.0.lock();
        let now = state.now;
        state.confirmed += 1;
        let others =
            |(other, at): (&usize, &Duration)| (*other != gateway && *at < sent).then_some(*other);
        let later = state.first.range(term + 1..);
        let found = later
            .flat_map(|(later, first)| first.iter().filter_map(others).map(|other| (*later, other)))
            .next();
        let first = state.first.entry(term).or_default();
        first.entry(gateway).or_insert(now);
        state.newest.insert(gateway, (term, sent));
        drop(state);
        if let Some((later, other)) = found {
            self.violate(format!(
                "term {term} has applied what gateway {gateway} sent at {sent:?}, after term {later} had applied what gateway \
                 {other} sent"
            ));
        }
    }

    /// What was sent after this was confirmed to each of these, by one term.
    pub(crate) fn all_served_since(&self, moment: Duration, gateways: usize) -> bool {
        let state = self.0.lock();
        let newest = |gateway| {
            state
                .newest
                .get(&gateway)
                .filter(|(_, sent)| *sent > moment)
        };
        let terms: Option<Vec<u64>> = (0..gateways).map(|it| Some(newest(it)?.0)).collect();
        terms.is_some_and(|terms| terms.windows(2).all(|two| two[0] == two[1]))
    }

    /// The newest term of which a gateway has been told something.
    pub(crate) fn term(&self) -> u64 {
        let state = self.0.lock();
        state.first.last_key_value().map_or(0, |(term, _)| *term)
    }

    /// What was wrong.
    pub(crate) fn conclude(&self) -> Vec<String> {
        let mut state = self.0.lock();
        let confirmed = state.confirmed;
        let mut violations = std::mem::take(&mut state.violations);
        if confirmed < 100 {
            violations.push(format!("too little has happened: {confirmed} confirmed"));
        }
        violations
    }
}
