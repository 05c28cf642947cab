//! AttachService: a gateway's stream, hello and welcome, then batches both ways until either side
//! ends it.
//!
//! Two halves that never wait for each other: a task that applies what comes up (`stream`), and a
//! stream that takes what waits in the gateway's queue (`responses`). An embedded gateway calls
//! [`open`] too, without a network between.

mod admission;
mod batch;
mod door;
pub(crate) mod former;
mod hangup;
mod responses;
pub(crate) mod service;
pub(crate) mod standby;
mod stream;

use std::net::SocketAddr;
use std::pin::Pin;

use route_proto::attach::v1::AttachRequest;
use tokio_stream::Stream;
use tonic::Status;

use crate::process::Process;
use crate::refusal::Refusal;
pub use hangup::Hangup;
pub use responses::AttachResponses;
pub use stream::open;

/// What one gateway sends.
type Requests = Pin<Box<dyn Stream<Item = Result<AttachRequest, Status>> + Send>>;

/// A stream is not let in: counts it, and says so.
fn refused(process: &Process, refusal: &Refusal, peer: Option<SocketAddr>) {
    let kind = ("attach refused", refusal.reason().as_str_name());
    let now = process.clock.now();
    let is_in_order = matches!(
        refusal,
        Refusal::Draining { .. } | Refusal::NotLeader { .. }
    );
    match is_in_order {
        true => process.refusals.note(now, kind, peer),
        false => process.refusals.log(now, kind, peer, refusal),
    }
    process.metrics.attach_refused(refusal);
}
