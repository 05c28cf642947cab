//! A panic ends the process, in whichever task or thread it happens; a supervisor starts the
//! process anew. What a panic leaves behind cannot be trusted: a task is missing, and a lock that
//! it held may guard half a change.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::process;
use std::thread;
use std::time::Duration;

use tracing::error;

use super::logs::flush_logs;

/// Rust's own exit code after a panic.
const EXIT_CODE: i32 = 101;

/// How long the last log lines may take.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// A process that has not ended after this time is aborted. A panic inside the log would hang it.
const LONGEST: Duration = Duration::from_secs(3);

/// From now on a panic is logged as an error, once, and ends the process with exit code 101.
pub(super) fn end_the_process() {
    panic::set_hook(Box::new(|panic| {
        // If no thread can be started, there is no time limit; the process ends all the same.
        let _ = thread::Builder::new().spawn(|| {
            thread::sleep(LONGEST);
            process::abort();
        });
        report(panic);
        flush_logs(FLUSH_TIME);
        process::exit(EXIT_CODE);
    }));
}

fn report(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string);
    let thread = thread::current().name().map(str::to_owned);
    // Only with RUST_BACKTRACE=1, for it takes a while.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    error!(
        panic = message,
        location, thread, backtrace, "panicked; the process ends"
    );
}
