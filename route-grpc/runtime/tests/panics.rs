//! A panic anywhere is logged once and ends the process, so that its supervisor starts it anew.

use std::process::{Command, Output};

use route_runtime::telemetry::{LogFormat, init_logs};
use route_runtime::workers;

/// Set for the process that is to panic: this test, run once more.
const VARIABLE: &str = "ROUTE_TEST_PANICS";

#[test]
fn a_panic_in_a_task_that_nobody_waits_for_ends_the_process() {
    if std::env::var_os(VARIABLE).is_some() {
        return panic_in_a_task();
    }

    let Output { status, stdout, .. } = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("a_panic_in_a_task_that_nobody_waits_for_ends_the_process")
        .env(VARIABLE, "1")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();

    assert_eq!(status.code(), Some(101));
    let output = String::from_utf8(stdout).unwrap();
    let errors: Vec<_> = output
        .lines()
        .filter(|line| line.contains("\"level\":\"ERROR\""))
        .collect();
    let [error] = errors.as_slice() else {
        panic!("not one error:\n{output}");
    };
    for part in [
        "\"message\":\"panicked; the process ends\"",
        "\"panic\":\"a bug in number 7\"",
        "\"location\":\"route-grpc/runtime/tests/panics.rs:",
        "\"thread\":\"worker\"",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

fn panic_in_a_task() {
    init_logs(LogFormat::Json, "info").expect("a log");
    let runtime = workers::runtime(2).expect("workers");
    let number = 7;
    runtime.spawn(async move { panic!("a bug in number {number}") });
    // Nobody waits for the task, and this never ends by itself.
    runtime.block_on(std::future::pending::<()>());
}
