//! The steps of a check: one deadline for all of them, one line of output for each.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::failure::{Failure, Trouble};
use crate::show;

/// Takes steps, and tells of each.
pub(super) struct Steps {
    json: bool,
    deadline: Instant,
    limit: Duration,
}

impl Steps {
    /// Gives all steps together this much time, from now on.
    pub(super) fn within(limit: Duration, json: bool) -> Self {
        Self {
            json,
            deadline: Instant::now() + limit,
            limit,
        }
    }

    /// Takes one step. If it fails or takes too long, that is this kind of trouble.
    pub(super) async fn take<T, E: Into<anyhow::Error>>(
        &self,
        name: &str,
        trouble: Trouble,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let done = match timeout_at(self.deadline, work).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(anyhow::anyhow!("not within {:?}{}", self.limit, hint(name))),
        };
        let took = begun.elapsed();
        match done {
            Ok(value) => {
                self.tell(name, "ok", Some(took), "")?;
                Ok(value)
            }
            Err(error) => {
                let problem = format!("{error:#}");
                self.tell(name, "failed", Some(took), &problem)?;
                let is_grpc = !matches!(error.downcast_ref(), Some(Failure::NoGrpc { .. }));
                let trouble = match trouble {
                    Trouble::Unhealthy if !is_grpc => Trouble::Unreachable,
                    Trouble::Unreachable
                    | Trouble::Unhealthy
                    | Trouble::RoundTrip
                    | Trouble::Subscription => trouble,
                };
                Err(Failure::Check {
                    trouble,
                    problem: format!("{name}: {problem}"),
                })
            }
        }
    }

    /// Tells of a step that is not taken.
    pub(super) fn skip(&self, name: &str, why: &str) -> Result<(), Failure> {
        self.tell(name, "skipped", None, why)
    }

    fn tell(
        &self,
        name: &str,
        result: &str,
        took: Option<Duration>,
        detail: &str,
    ) -> Result<(), Failure> {
        let millis = took.map(|took| took.as_secs_f64() * 1000.0);
        if self.json {
            let mut object = json!({ "step": name, "result": result });
            if let Some(millis) = millis {
                object["millis"] = json!((millis * 1000.0).round() / 1000.0);
            }
            if !detail.is_empty() {
                object["detail"] = json!(detail);
            }
            return say(&object.to_string());
        }
        let took = millis.map_or_else(String::new, |millis| format!("{millis:.1} ms"));
        let text = format!("{result:<8}{name:<44}{took:>11}  {detail}");
        say(text.trim_end())
    }
}

/// The exit code is the answer: a check goes on if nobody reads its lines.
fn say(line: &str) -> Result<(), Failure> {
    match show::line(line) {
        Err(Failure::OutputClosed) => Ok(()),
        said => said,
    }
}

/// Why a step may take too long.
fn hint(step: &str) -> &'static str {
    match step {
        "query" => "; does the gateway have a node?",
        _ => "",
    }
}
