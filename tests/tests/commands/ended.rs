//! A command that has run to its end, and what it has shown.

use std::process::{Command, Stdio};

use serde_json::Value as Json;
use system_tests::deployment::process::binary;

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
    let mut command = Command::new(binary("route-grpc").expect("a built node"));
    command
        .args(arguments)
        .env_remove("TT_ROUTE_ADDRESS")
        .env_remove("TT_ROUTE_ADMIN_ADDRESS")
        .env_remove("TT_ROUTE_TIMEOUT")
        .stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.output()).await;
    let output = ended.expect("no panic").expect("it starts");
    Ended {
        code: output.status.code().expect("no signal"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
