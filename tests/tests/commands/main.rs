//! The commands as operators meet them: what they refuse, how they end, what they find and show.

mod check;
mod demo;
mod ended;
mod follow;
mod gateways;
mod identities;
mod losses;
mod operators;
mod publish;
mod questions;
mod settings;
mod stops;

use std::time::Duration;

use system_tests::deployment::process::Process;

/// Nothing here takes that long unless something is broken, and this is less than the drain
/// deadlines.
const SOON: Duration = Duration::from_secs(15);

async fn says(process: &Process, text: &str) {
    assert!(
        process.says(text, SOON).await,
        "not said: {text}\n{process}"
    );
}

/// The line of the output that says this.
fn line(output: &str, text: &str) -> String {
    let mut lines = output.lines();
    let line = lines.find(|line| line.contains(text));
    line.unwrap_or_else(|| panic!("not said: {text}\n{output}"))
        .to_owned()
}
