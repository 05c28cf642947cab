//! Schedules by their seeds: which are played, what each one did, and how to see one of them again.

use std::cell::RefCell;
use std::fmt;
use std::sync::Once;
use std::time::Duration;

/// What became of one seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) fingerprint: u64,
}

/// Plays the seeds that the environment says, or so many; with its trace, if it is a single one.
pub(crate) fn play(seeds: u64, plan: &dyn fmt::Debug, run: impl Fn(u64, bool) -> Outcome) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let (seeds, shown) = match number("SIM_SEED") {
        Some(seed) => (seed..seed + 1, true),
        None => (0..number("SIM_SEEDS").unwrap_or(seeds), false),
    };
    let count = seeds.end - seeds.start;
    let mut failed: Vec<(u64, Vec<String>)> = Vec::new();
    for seed in seeds {
        take_panics();
        let mut violations = run(seed, shown).violations;
        violations.splice(..0, take_panics());
        if !violations.is_empty() {
            failed.push((seed, violations));
        }
    }
    let mut report = String::new();
    for (seed, violations) in failed.iter().take(10) {
        report += &format!(
            "\nSIM_SEED={seed}: {} of {}",
            violations[0],
            violations.len()
        );
    }
    assert!(
        failed.is_empty(),
        "{} of {count} seeds fail with {plan:?}{report}",
        failed.len()
    );
}

/// All that happens in a schedule.
#[derive(Debug)]
pub(crate) struct Trace {
    shown: bool,
    fingerprint: u64,
}

impl Trace {
    /// `shown`: people want to read it.
    pub(crate) fn new(shown: bool) -> Self {
        Self {
            shown,
            fingerprint: 0xcbf2_9ce4_8422_2325,
        }
    }

    pub(crate) fn say(&mut self, now: Duration, what: &str) {
        for byte in now.as_nanos().to_le_bytes().into_iter().chain(what.bytes()) {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        self.show(now, what);
    }

    /// Says it to people only.
    #[allow(clippy::print_stderr, reason = "the trace of one seed is for people")]
    pub(crate) fn show(&self, now: Duration, what: &str) {
        if self.shown {
            eprintln!("{:>7.3} {what}", now.as_secs_f64());
        }
    }

    /// Of everything that was said, shown or not.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Panics of this thread's tasks since the last call. A task that panics would only be silent.
fn take_panics() -> Vec<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            before(panic);
        }));
    });
    PANICS.take()
}
