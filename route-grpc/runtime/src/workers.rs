//! The tokio runtime that a process runs on.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Builds the runtime: `worker_threads` threads that run every task, with I/O, timers and signals.
/// A single worker is the thread that calls `block_on`: nobody has to be woken, and a task costs
/// less to schedule.
///
/// Fails with [`io::ErrorKind::InvalidInput`] if `worker_threads` is 0, else as the system does
/// when it has no threads or file descriptors left.
pub fn runtime(worker_threads: usize) -> io::Result<Runtime> {
    match worker_threads {
        0 => {
            let error = "at least one worker thread is needed";
            Err(io::Error::new(io::ErrorKind::InvalidInput, error))
        }
        1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread()
            .worker_threads(worker_threads)
            .thread_name("worker")
            .enable_all()
            .build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_tasks_on_named_workers() {
        let runtime = runtime(2).unwrap();

        let task = async { std::thread::current().name().map(str::to_owned) };
        let name = runtime.block_on(runtime.spawn(task)).unwrap();

        assert_eq!(name.as_deref(), Some("worker"));
    }

    #[test]
    fn a_single_worker_is_the_thread_that_waits() {
        let runtime = runtime(1).unwrap();

        let task = async { std::thread::current().id() };
        let worker = runtime.block_on(runtime.spawn(task)).unwrap();

        assert_eq!(worker, std::thread::current().id());
    }

    #[test]
    fn refuses_to_run_without_workers() {
        let error = runtime(0).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
