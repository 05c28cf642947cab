//! What a gateway is told that knows this service by its former name,
//! `teamtalk.route.v1.LinkService`.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

use super::Hangup;
use crate::methods::FORMER_ATTACH;
use crate::process::Process;
use crate::refusal::Refusal;

/// Refuses whatever is called by that name. The two sides' messages differ, so nothing is served by
/// it.
#[derive(Debug, Clone)]
pub(crate) struct FormerAttach {
    process: Arc<Process>,
}

impl FormerAttach {
    /// Counts refusals of this process.
    pub(crate) fn new(process: Arc<Process>) -> Self {
        Self { process }
    }
}

impl NamedService for FormerAttach {
    const NAME: &'static str = FORMER_ATTACH;
}

impl Service<Request<Body>> for FormerAttach {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let refusal = Refusal::FormerGateway;
        let (process, now) = (&self.process, self.process.clock.now());
        let hangup = request.extensions().get::<Hangup>();
        let kind = ("attach refused", "former_gateway");
        let peer = hangup.and_then(Hangup::peer);
        process.refusals.log(now, kind, peer, &refusal);
        process.metrics.attach_refused(&refusal);
        ready(Ok(Status::from(refusal).into_http()))
    }
}
