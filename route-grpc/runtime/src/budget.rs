//! One bound over what a process holds for others: what waits for them, and what has come of them in part.
//!
//! Two marks. Where four fifths of it are used, nothing long is read any more before there is room. Where
//! nineteen of twenty are, somebody is cut off: whose queue or input is fullest, by whoever owns the queues.
//!
//! What comes in takes its memory before it is read. What waits is told from time to time.

mod hosts;
mod inputs;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::container;

use inputs::Inputs;

/// What somebody holds who was cut off is gone after this: what others hold by then is theirs.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// How often it should be [looked](Budget::look) at.
pub const LOOK: Duration = Duration::from_millis(100);

/// What a process takes that is not counted, bytes: code, threads, what is on its way.
const UNCOUNTED: u64 = 100 << 20;

/// What the flags of a process allow, bytes of memory.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// What waits or has come in part, where each bound is reached once.
    pub waits: u64,
    /// What tables grow to.
    pub tables: u64,
}

impl Needs {
    fn misfits(self, limit: Option<u64>, container: Option<u64>) -> Vec<&'static str> {
        let mut misfits = Vec::new();
        if limit.is_some_and(|limit| limit < self.waits) {
            misfits.push(
                "--memory-limit is less than the bounds of queues and windows together: somebody may be cut off \
                who is within them",
            );
        }
        let rest = limit.unwrap_or(0).saturating_add(UNCOUNTED);
        if container.is_some_and(|container| container < rest.saturating_add(self.tables)) {
            misfits.push(
                "the container has too little memory for --memory-limit and as many users as --max-sessions allows: \
                lower these, or give it more",
            );
        }
        misfits
    }
}

/// It was cut off for what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it took the memory for something long and did not send all of it while others waited: --memory-limit"
)]
pub struct CutOff;

/// The bound of a process.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    /// Where those who read wait, and where somebody is cut off.
    marks: (usize, usize),
    /// Room is short: nobody should read much at once.
    tight: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What waits.
    held: usize,
    /// What those take who were cut off a moment ago.
    going: VecDeque<(Instant, usize)>,
    inputs: Inputs,
}

impl State {
    fn taken(&self) -> usize {
        self.held + self.inputs.granted()
    }

    fn going(&self) -> usize {
        self.going.iter().map(|(_, bytes)| bytes).sum()
    }
}

impl Budget {
    /// So many bytes of memory; without a limit, whatever is asked for.
    pub fn new(limit: Option<usize>) -> Arc<Self> {
        let limit = limit.unwrap_or(usize::MAX);
        Self::with(limit, (limit / 5 * 4, limit / 20 * 19))
    }

    /// The same for what comes in only, which may take all of it.
    pub fn of_inputs(limit: usize) -> Arc<Self> {
        Self::with(limit, (limit, limit))
    }

    fn with(limit: usize, marks: (usize, usize)) -> Arc<Self> {
        Arc::new(Self {
            limit,
            marks,
            tight: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// That of this process: so many bytes, or four fifths of what its container may use. The rest is for tables and what
    /// is not counted. Warns if these do not fit what the flags allow.
    pub fn of_process(limit: Option<u64>, needs: Needs) -> Arc<Self> {
        let container = container::memory_limit();
        let limit = limit.or_else(|| container.map(|container| container / 5 * 4));
        if let Some(bytes) = limit {
            info!(bytes, "memory limit of what is held for others");
        }
        for misfit in needs.misfits(limit, container) {
            warn!(
                limit,
                container,
                waits = needs.waits,
                tables = needs.tables,
                "{misfit}"
            );
        }
        Self::new(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// All of it, bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Is there one?
    pub fn is_limited(&self) -> bool {
        self.limit != usize::MAX
    }

    /// Four fifths are taken, or somebody waits.
    pub fn is_tight(&self) -> bool {
        self.tight.load(Ordering::Relaxed)
    }

    /// Four fifths are taken.
    pub fn is_filled(&self) -> bool {
        self.taken() >= self.marks.0
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        self.state.lock().taken()
    }

    /// Bytes by which the second mark is exceeded when those are gone who were cut off.
    pub fn excess(&self) -> usize {
        let state = self.state.lock();
        let stays = state
            .taken()
            .saturating_sub(state.going() + state.inputs.cutting());
        (stays + 1).saturating_sub(self.marks.1)
    }

    /// Bytes that are not taken.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.taken())
    }

    /// Somebody was cut off who holds so much.
    pub fn goes(&self, bytes: usize) {
        self.state.lock().going.push_back((Instant::now(), bytes));
    }

    /// A part of what waits: nothing yet.
    pub fn part(self: &Arc<Self>) -> Part {
        Part {
            budget: Arc::clone(self),
            bytes: 0,
        }
    }

    /// Something of so many bytes comes in from this host.
    pub fn ask(self: &Arc<Self>, host: Option<IpAddr>, bytes: usize) -> Input {
        let number = self.change(|state| state.inputs.ask(Instant::now(), host, bytes));
        Input {
            budget: Arc::clone(self),
            number,
        }
    }

    /// Time has passed.
    pub fn look(&self) {
        self.change(|state| {
            let now = Instant::now();
            while let Some((at, _)) = state.going.front()
                && now.saturating_duration_since(*at) >= GONE_AFTER
            {
                state.going.pop_front();
            }
        });
    }

    /// Bytes of what comes in from the host that has most of it.
    pub fn fullest_input(&self) -> usize {
        self.state.lock().inputs.most()
    }

    /// What comes in has to give back so much more: that of the fullest host first, of that the oldest.
    pub fn cut(&self, bytes: usize) {
        self.change(|state| {
            let all = state.inputs.cutting() + bytes;
            state.inputs.cut(all);
        });
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let (result, woken) = {
            let mut state = self.state.lock();
            let result = change(&mut state);
            let held = state.held;
            state.inputs.serve(Instant::now(), held, self.marks);
            let tight = state.taken() >= self.marks.0 || state.inputs.any_waits();
            self.tight.store(tight, Ordering::Relaxed);
            (result, state.inputs.take_woken())
        };
        woken.into_iter().for_each(Waker::wake);
        result
    }
}

/// A part of what waits. It is none when this is dropped.
#[derive(Debug)]
pub struct Part {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Part {
    /// So many bytes from now on.
    pub fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if before != bytes {
            self.budget
                .change(|state| state.held = state.held + bytes - before);
        }
    }

    /// What it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Something long that comes in. Its memory is free again when this is dropped.
#[derive(Debug)]
pub struct Input {
    budget: Arc<Budget>,
    number: u64,
}

impl Input {
    /// It has its memory.
    pub fn is_granted(&self) -> bool {
        self.budget.state.lock().inputs.is_granted(self.number)
    }

    /// Ready when it has its memory, or was cut off.
    pub fn poll_granted(&self, cx: &Context<'_>) -> Poll<Result<(), CutOff>> {
        let mut state = self.budget.state.lock();
        state.inputs.poll_granted(self.number, cx.waker())
    }

    /// Ready when it is cut off.
    pub fn poll_cut(&self, cx: &Context<'_>) -> Poll<CutOff> {
        let mut state = self.budget.state.lock();
        state.inputs.poll_cut(self.number, cx.waker())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.budget.change(|state| state.inputs.forget(self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn has_room(budget: &Arc<Budget>, bytes: usize) -> bool {
        budget.ask(None, bytes).is_granted()
    }

    #[test]
    fn what_waits_leaves_that_much_less_for_what_comes() {
        let budget = Budget::new(Some(100 * MIB));
        let mut part = budget.part();
        assert!(has_room(&budget, 80 * MIB) && !budget.is_tight());

        part.set(79 * MIB);
        let _one = budget.ask(None, MIB / 2);
        assert!(!has_room(&budget, MIB));
        part.set(80 * MIB);
        assert!(budget.is_tight());
        drop(part);
        assert!(has_room(&budget, MIB) && !budget.is_tight());
    }

    #[test]
    fn one_thing_at_a_time_comes_in_above_the_first_mark() {
        let budget = Budget::new(Some(100 * MIB));
        let mut part = budget.part();
        part.set(85 * MIB);
        let one = budget.ask(None, 9 * MIB);
        assert!(one.is_granted() && !has_room(&budget, MIB));
        drop(one);
        assert!(!has_room(&budget, 11 * MIB), "the second mark");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_much_is_known_until_it_is_gone() {
        let budget = Budget::new(Some(100 * MIB));
        let mut part = budget.part();
        part.set(94 * MIB);
        assert_eq!(budget.excess(), 0);
        part.set(97 * MIB);
        assert_eq!(budget.excess(), 2 * MIB + 1);
        budget.goes(3 * MIB);
        assert_eq!(budget.excess(), 0);
        part.set(99 * MIB);
        assert_eq!(budget.excess(), MIB + 1);

        tokio::time::advance(GONE_AFTER).await;
        budget.look();
        assert_eq!(budget.excess(), 4 * MIB + 1);
    }

    #[test]
    fn what_comes_in_gives_back_as_much_as_it_takes() {
        let budget = Budget::new(Some(100 * MIB));
        let inputs: Vec<_> = (0..8).map(|_| budget.ask(None, 10 * MIB)).collect();
        let mut part = budget.part();
        part.set(30 * MIB);
        assert_eq!(budget.fullest_input(), 80 * MIB);
        budget.cut(budget.excess());

        let cx = Context::from_waker(Waker::noop());
        let cut: Vec<_> = inputs
            .iter()
            .map(|it| it.poll_cut(&cx).is_ready())
            .collect();
        assert_eq!(cut, [true, true, false, false, false, false, false, false]);
        assert_eq!(budget.excess(), 0);
    }

    #[test]
    fn flags_that_do_not_fit_the_memory_are_told() {
        let needs = Needs {
            waits: 400 << 20,
            tables: 200 << 20,
        };
        let misfits = |limit: Option<u64>, container: Option<u64>| {
            let bytes = |mib| mib << 20;
            needs.misfits(limit.map(bytes), container.map(bytes)).len()
        };

        assert_eq!(misfits(None, None), 0);
        assert_eq!(misfits(Some(400), None), 0);
        assert_eq!(misfits(Some(399), None), 1);
        assert_eq!(misfits(Some(400), Some(700)), 0);
        assert_eq!(misfits(Some(401), Some(700)), 1);
        assert_eq!(misfits(Some(200), Some(256)), 2);
    }

    #[test]
    fn without_a_limit_there_is_room() {
        let budget = Budget::new(None);
        let mut part = budget.part();
        part.set(1 << 40);
        assert!(has_room(&budget, 1 << 40) && !budget.is_tight() && !budget.is_limited());
        assert_eq!(budget.excess(), 0);
    }
}
