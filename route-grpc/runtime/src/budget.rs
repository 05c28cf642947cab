//! One bound over what a process holds for others: what waits for them, and what has come of them in part.
//!
//! Two marks. Where four fifths of it are used, nothing long is read any more before there is room. Where
//! nineteen of twenty are, somebody is cut off: whose queue or input is fullest, by whoever owns the queues.
//!
//! What comes in takes its memory before it is read. What waits is told from time to time; until then what has come in
//! is counted as if all of it waited, so the bound holds however fast it comes.

mod hosts;
mod inputs;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{info, warn};

use crate::container;

use inputs::Inputs;

/// What somebody holds who was cut off is gone after this: what others hold by then is theirs.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// How often it is looked at, if there is no reason to look earlier.
pub const LOOK: Duration = Duration::from_millis(100);

/// From one look to the next, at least.
const PAUSE: Duration = Duration::from_millis(5);

/// It is looked at when this part of the bound has come in, so that there is room when somebody asks.
const STEP: usize = 8;

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
    /// A look would make room.
    wanted: Notify,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What waits.
    held: usize,
    /// What those take who were cut off a moment ago.
    going: VecDeque<(Instant, usize)>,
    inputs: Inputs,
    /// When a look was due.
    looked: Instant,
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
            wanted: Notify::new(),
            state: Mutex::new(State {
                held: 0,
                going: VecDeque::new(),
                inputs: Inputs::default(),
                looked: Instant::now(),
            }),
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

    /// Waits until it should be looked at again. May be dropped and asked again at any time. One task waits for it: a budget
    /// that two share is looked at by both, and only one of them says when.
    pub async fn look_is_due(&self) {
        let last = self.state.lock().looked;
        sleep_until(last + PAUSE).await;
        // Due in any case after a while.
        let _ = timeout_at(last + LOOK, self.wanted.notified()).await;
        self.state.lock().looked = Instant::now();
    }

    /// Bytes that have come in since the last look. What is measured from now on has what of them waits.
    pub fn passed(&self) -> usize {
        self.state.lock().inputs.passed()
    }

    /// Time has passed, and what waits has been told. So much of what [had come in](Self::passed) is in it.
    pub fn look(&self, passed: usize) {
        self.change(|state| {
            let now = Instant::now();
            state.inputs.told(passed);
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
            let passed = state.inputs.passed();
            let is_wanted = passed > self.limit / STEP || state.inputs.any_waits();
            if passed > 0 && is_wanted {
                self.wanted.notify_one();
            }
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

/// Something long that comes in. When this is dropped, it is complete or given up.
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
mod tests;
