//! A command that has run to its end, and what it has shown.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use system_tests::deployment::process::{binary, forget_settings};

/// What a command has shown.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The lines of `--json`.
    pub(crate) fn objects(&self) -> Vec<Json> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("an object a line"))
            .collect()
    }

    /// The closing sentence contains this.
    pub(crate) fn says(&self, text: &str) {
        assert!(self.stderr.contains(text), "not said: {text}\n{self:?}");
    }
}

/// Runs `route-grpc` with these arguments to its end.
pub(crate) async fn command(arguments: &[&str]) -> Ended {
    command_that_reads(arguments, String::new()).await
}

/// The same, and this is its standard input.
pub(crate) async fn command_that_reads(arguments: &[&str], input: String) -> Ended {
    let mut command = Command::new(binary("route-grpc").expect("a built node"));
    forget_settings(&mut command);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = move || {
        let mut child = command.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it is a pipe");
        // Who has said enough reads no more.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output()
    };
    let ended = tokio::task::spawn_blocking(run).await;
    let output = ended.expect("no panic").expect("it has an end");
    Ended {
        code: output.status.code().expect("no signal"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
