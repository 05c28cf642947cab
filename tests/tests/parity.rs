//! Promise 2, parity: with `--fan-out broadcast` the servers do what the C++ RouteServer did, in
//! every play that was recorded, and survive what it did not survive.
//!
//! One test per chapter and set-up. A play needs a server without other traffic, so each worker has
//! its own.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use system_tests::deployment::probes::metric;
use system_tests::deployment::{Deployment, FanOut, Setup};
use system_tests::scenarios::{self, Chapter, Scenario};
use system_tests::stage::Stage;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// What a flood costs is measured, so nothing else goes on beside it: floods hold this alone, other
/// plays share it. (Where each test is a process, .config/nextest.toml says the same.)
static MACHINE: RwLock<()> = RwLock::const_new(());

/// Plays mostly wait for silences, so a few side by side do not slow each other down.
const WORKERS: usize = 3;
/// Until the links of a play have ended.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

system_tests::in_both_setups! {
    forwards: check(Chapter::Forwards);
    queries: check(Chapter::Queries);
    lists: check(Chapter::Lists);
    updates: check(Chapter::Updates);
    closing: check(Chapter::Closing);
    framing: check(Chapter::Framing);
    timing: check(Chapter::Timing);
    defects: check(Chapter::Defects);
    floods: check(Chapter::Floods);
}

/// Plays a chapter; fails with every difference.
async fn check(setup: Setup, chapter: Chapter) {
    let plays: VecDeque<_> = scenarios::of_chapter(chapter).into();
    let (_alone, _shared, workers) = match chapter {
        Chapter::Floods => (Some(MACHINE.write().await), None, 1),
        // It sleeps most of the time, and disturbs nobody.
        Chapter::Timing => (None, None, 1),
        Chapter::Forwards
        | Chapter::Queries
        | Chapter::Lists
        | Chapter::Updates
        | Chapter::Closing
        | Chapter::Framing
        | Chapter::Defects => (None, Some(MACHINE.read().await), WORKERS),
    };
    let plays = Arc::new(Mutex::new(plays));
    let mut working = JoinSet::new();
    for _ in 0..workers {
        working.spawn(work(Arc::clone(&plays), setup));
    }
    let failures: String = working.join_all().await.concat();
    assert!(failures.is_empty(), "{chapter:?}, {setup:?}:\n{failures}");
}

/// Plays until no play is left, on one server as long as it is alive and no play wants a fresh one.
async fn work(plays: Arc<Mutex<VecDeque<Scenario>>>, setup: Setup) -> String {
    let mut failures = String::new();
    let mut servers = None;
    loop {
        let Some(play) = plays.lock().pop_front() else {
            return failures;
        };
        let usable = servers
            .take()
            .filter(|servers: &Arc<Deployment>| servers.is_alive() && !play.needs_fresh_server());
        let running = match usable {
            Some(running) => {
                wait_until_empty(&running).await;
                running
            }
            None => Arc::new(Deployment::start(setup, FanOut::Broadcast).await),
        };
        let wrong = play
            .play(Stage::with_deployment(play.name(), &running))
            .await;
        for line in &wrong {
            let _ = writeln!(failures, "{}: {line}", play.name());
        }
        if !wrong.is_empty() {
            let _ = writeln!(failures, "{}", running.output());
        }
        servers = Some(running);
    }
}

/// The connections of the play before have ended for the node, too: with those of the next one they could be so many of one
/// address that it cannot tell whose they are.
async fn wait_until_empty(servers: &Deployment) {
    let node = servers.probes().last().expect("it has a probe port");
    let deadline = Instant::now() + EMPTY_WITHIN;
    while !matches!(metric(*node, "teamtalk_route_links").await, Ok(0.0)) {
        assert!(Instant::now() < deadline, "links stay");
        sleep(LOOK).await;
    }
}
