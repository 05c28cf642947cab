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

use std::pin::Pin;

use route_proto::attach::v1::AttachRequest;
use tokio_stream::Stream;
use tonic::Status;

pub use hangup::Hangup;
pub use responses::AttachResponses;
pub use stream::open;

/// What one gateway sends.
type Requests = Pin<Box<dyn Stream<Item = Result<AttachRequest, Status>> + Send>>;
