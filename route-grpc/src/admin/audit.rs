//! One line in the log for each call that changes something.

use std::net::SocketAddr;

use route_runtime::telemetry::AUDIT;
use tonic::Status;
use tonic::codegen::http::Extensions;
use tracing::info;

use crate::attach::Hangup;
use crate::limits::Share;

/// Of a text that somebody has sent, so many characters are said.
const LONGEST: usize = 200;

/// Who has called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller(Option<SocketAddr>);

impl Caller {
    /// Of this request.
    pub(super) fn of(request: &Extensions) -> Self {
        let connection = request.get::<(Hangup, Share)>();
        Self(connection.and_then(|(hangup, _)| hangup.peer()))
    }

    /// Says what was asked for, and what came of it.
    pub(super) fn did<T>(
        self,
        method: &'static str,
        what: &str,
        reason: &str,
        end: &Result<T, Status>,
    ) {
        let caller = self.0.map(tracing::field::display);
        let (code, problem) = match end {
            Ok(_) => ("OK".to_owned(), None),
            Err(status) => (format!("{:?}", status.code()), Some(status.message())),
        };
        let (what, reason) = (printable(what), printable(reason));
        info!(target: AUDIT, method, what, reason, caller, code, problem, "an operator's call");
    }
}

/// What somebody has sent, for a line.
fn printable(text: &str) -> String {
    let printable = text.chars().filter(|it| !it.is_control());
    printable.take(LONGEST).collect()
}
