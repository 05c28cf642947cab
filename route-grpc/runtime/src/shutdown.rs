//! Stopping: drain on a signal, end by a deadline.
//!
//! One [`Shutdown`] per process, cloned into every task. A server task is spawned on its
//! [tracker](Shutdown::tracker) and begins to end when [`draining`](Shutdown::draining) is
//! cancelled; `main` awaits [`on_signal`](Shutdown::on_signal), then [`finish`](Shutdown::finish),
//! and exits. A thread of its own ends the process if that does not happen, because the loop that
//! runs all tasks stands.

use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, process, thread};

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// How much longer than its deadline a process may take, to say its last words.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Exit code of a process that was ended because its loop stood.
const STOOD: i32 = 70;

/// The end of one process, in two steps: draining, finished. Clones share it.
#[derive(Debug, Clone)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// From the beginning of the drain to the moment when tasks are no longer waited for.
    deadline: Duration,
    began: OnceLock<Instant>,
    draining: CancellationToken,
    finished: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// Nothing is ending yet. Once it is, tasks have `deadline` to end.
    pub fn new(deadline: Duration) -> Self {
        let inner = Inner {
            deadline,
            began: OnceLock::new(),
            draining: CancellationToken::new(),
            finished: CancellationToken::new(),
            tracker: TaskTracker::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Cancelled when the drain begins: take no new work, end what is open, flush.
    pub fn draining(&self) -> CancellationToken {
        self.inner.draining.clone()
    }

    /// Cancelled when [`finish`](Self::finish) is done, for what must outlive the drain (the probe
    /// port).
    pub fn finished(&self) -> CancellationToken {
        self.inner.finished.clone()
    }

    /// Spawn here what [`finish`](Self::finish) waits for. Such a task must end when draining does.
    pub fn tracker(&self) -> &TaskTracker {
        &self.inner.tracker
    }

    /// How long tasks still have; the whole deadline before the drain.
    pub fn remaining(&self) -> Duration {
        let elapsed = self
            .inner
            .began
            .get()
            .map_or(Duration::ZERO, Instant::elapsed);
        self.inner.deadline.saturating_sub(elapsed)
    }

    /// Begins the drain, and its deadline. Later calls do nothing.
    pub fn begin(&self) {
        self.inner.began.get_or_init(Instant::now);
        self.inner.draining.cancel();
    }

    /// Begins the drain at SIGTERM or SIGINT; also returns when it was begun otherwise. Until then and after, SIGHUP
    /// changes nothing.
    pub async fn on_signal(&self) {
        let limit = self.inner.deadline + LAST_WORDS;
        let watchdog = thread::Builder::new().name("watchdog".to_owned());
        if let Err(error) = watchdog.spawn(move || watch(limit)) {
            warn!(%error, "no thread that keeps the deadline");
        }
        tokio::select! {
            () = self.inner.draining.cancelled() => return,
            () = received(SignalKind::terminate()) => info!(signal = "SIGTERM", "draining"),
            () = received(SignalKind::interrupt()) => info!(signal = "SIGINT", "draining"),
            () = hear_hangups() => {}
        }
        self.begin();
    }

    /// Waits until every tracked task has ended: true. False if the deadline cut them off, or a
    /// person who pressed Ctrl-C (again). Begins the drain if nobody has.
    pub async fn finish(&self) -> bool {
        self.begin();
        self.inner.tracker.close();
        let ended = tokio::select! {
            biased;
            () = self.inner.tracker.wait() => true,
            () = tokio::time::sleep(self.remaining()) => false,
            () = received(SignalKind::interrupt()) => false,
        };
        if !ended {
            warn!(tasks = self.inner.tracker.len(), "tasks cut off");
        }
        self.inner.finished.cancel();
        ended
    }
}

/// Ends the process when that has been asked to end for so long.
fn watch(limit: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                () = received(SignalKind::terminate()) => {}
                () = received(SignalKind::interrupt()) => {}
            }
            tokio::time::sleep(limit).await;
            error!(
                ?limit,
                "ending: the process was asked to, and did not in time"
            );
            process::exit(STOOD);
        }),
        Err(error) => warn!(%error, "no thread that keeps the deadline"),
    }
}

/// SIGHUP asks many a program to read its settings again; one that does not catch it is ended. Never returns.
async fn hear_hangups() {
    loop {
        received(SignalKind::hangup()).await;
        info!(
            signal = "SIGHUP",
            "flags are read at the start only; certificates, keys of tokens and policy, if there are, now"
        );
    }
}

/// Waits for one signal; for ever if it cannot be caught, for then its default action ends the
/// process anyway.
async fn received(kind: SignalKind) {
    let wait = async || -> io::Result<()> {
        signal(kind)?.recv().await;
        Ok(())
    };
    if let Err(error) = wait().await {
        warn!(%error, "cannot catch a signal");
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn tasks_that_end_when_draining_are_waited_for() {
        let shutdown = Shutdown::new(DEADLINE);
        let draining = shutdown.draining();
        shutdown.tracker().spawn(async move {
            draining.cancelled().await;
            tokio::time::sleep(DEADLINE / 2).await;
        });

        let ended = shutdown.finish().await;

        assert!(ended);
        assert_eq!(shutdown.remaining(), DEADLINE / 2);
        assert!(shutdown.finished().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hangs_is_cut_off_at_the_deadline() {
        let shutdown = Shutdown::new(DEADLINE);
        shutdown.tracker().spawn(pending::<()>());
        let before = Instant::now();

        let ended = shutdown.finish().await;

        assert!(!ended);
        assert_eq!(before.elapsed().as_secs(), DEADLINE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_runs_from_the_first_call() {
        let shutdown = Shutdown::new(DEADLINE);

        shutdown.begin();
        tokio::time::advance(DEADLINE / 4).await;
        shutdown.clone().begin();

        assert_eq!(shutdown.remaining(), DEADLINE * 3 / 4);
        shutdown.on_signal().await;
    }

    /// Says that this process is the one whose loop stands.
    const STANDS: &str = "TT_TEST_LOOP_STANDS";

    #[test]
    fn a_process_whose_loop_stands_ends_all_the_same() {
        if std::env::var_os(STANDS).is_some() {
            stand();
        }
        let this = std::env::current_exe().unwrap();
        let name = "shutdown::tests::a_process_whose_loop_stands_ends_all_the_same";
        let mut child = process::Command::new(this)
            .args([name, "--exact", "--nocapture"])
            .env(STANDS, "1")
            .stdout(process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
        lines.find(|line| line.as_ref().unwrap().contains("stands"));
        let kill = process::Command::new("kill")
            .arg(child.id().to_string())
            .status();
        assert!(kill.unwrap().success());

        assert_eq!(child.wait().unwrap().code(), Some(STOOD));
    }

    fn stand() -> ! {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let shutdown = Shutdown::new(Duration::from_millis(1));
            tokio::spawn(async move { shutdown.on_signal().await });
            tokio::time::sleep(Duration::from_millis(500)).await;
            #[allow(clippy::print_stdout, reason = "the parent waits for it")]
            {
                println!("the loop stands");
            }
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        })
    }
}
