//! A panic is a bug, and what it leaves behind cannot be trusted: a task that is gone is missing, a
//! lock that it held may guard half a change. So it ends the process, whichever task or thread it
//! happens in, and whoever supervises the process starts it anew.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::process;
use std::thread;
use std::time::Duration;

use tracing::error;

use super::logs::flush_logs;

/// What Rust itself ends a process with after a panic.
const EXIT_CODE: i32 = 101;

/// For the last log lines.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// If the process has not ended by then, for instance because the panic happened where lines are
/// logged, it is aborted.
const LONGEST: Duration = Duration::from_secs(3);

/// From now on a panic is logged as an error, once, and ends the process with exit code 101.
pub(super) fn end_the_process() {
    panic::set_hook(Box::new(|panic| {
        // Without a thread there is no time limit, but still an end.
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
    // With RUST_BACKTRACE=1 only, for it takes a while.
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    error!(
        panic = message,
        location, thread, backtrace, "panicked; the process ends"
    );
}
