//! One line in the log for each call that changes something.

use std::net::SocketAddr;

use route_runtime::listen::local::LocalProcess;
use route_runtime::telemetry::AUDIT;
use tonic::Status;
use tonic::codegen::http::Extensions;
use tracing::info;

use crate::access;
use crate::attach::Hangup;

/// Of a text that somebody has sent, so many characters are said.
const LONGEST: usize = 200;

/// Who has called: by TCP an address, by the socket a process.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Who he has shown himself to be; none: nobody had to.
    identity: Option<String>,
    /// By which node he has called; none: he has come himself.
    by: Option<String>,
    address: Option<SocketAddr>,
    process: Option<LocalProcess>,
}

impl Caller {
    /// Of this request.
    pub(super) fn of(request: &Extensions) -> Self {
        let hangup = request.get::<Hangup>();
        let process = hangup.and_then(Hangup::process);
        let caller = access::Caller::of(request).ok();
        Self {
            identity: caller.as_ref().and_then(|it| it.name()).map(str::to_owned),
            by: caller.as_ref().and_then(|it| it.by()).map(str::to_owned),
            address: hangup.and_then(Hangup::peer).filter(|_| process.is_none()),
            process,
        }
    }

    /// Says what was asked for, and what came of it.
    pub(super) fn did<T>(
        self,
        method: &'static str,
        what: &str,
        reason: &str,
        end: &Result<T, Status>,
    ) {
        let (identity, by) = (self.identity, self.by);
        let caller = self.address.map(tracing::field::display);
        let pid = self.process.and_then(|it| it.pid);
        let uid = self.process.map(|it| it.uid);
        let (code, problem) = match end {
            Ok(_) => ("OK".to_owned(), None),
            Err(status) => (format!("{:?}", status.code()), Some(status.message())),
        };
        let (what, reason) = (printable(what), printable(reason));
        info!(target: AUDIT, method, what, reason, identity, by, caller, pid, uid, code, problem, "an operator's call");
    }
}

/// What somebody has sent, for a line.
fn printable(text: &str) -> String {
    let printable = text.chars().filter(|it| !it.is_control());
    printable.take(LONGEST).collect()
}
