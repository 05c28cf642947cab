//! AttachService of a process that does not lead: a gateway is told who does. If that is not known, it waits a moment: this
//! process may be the next leader.

use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::attach_service_server::AttachService;
use route_proto::attach::v1::{AttachHello, AttachRequest, attach_request};
use tokio::time::timeout;
use tokio_stream::{StreamExt, once};
use tonic::{Request, Response, Status, Streaming};

use super::admission::read_hello;
use super::stream::open_by;
use super::{AttachResponses, Hangup, Requests, refused};
use crate::access::{Caller, Need};
use crate::dialects::Dialects;
use crate::gateways::hello::Hello;
use crate::leads::{Leads, Site};
use crate::process::Process;
use crate::refusal::Refusal;
use crate::tenure::Member;

/// How long a gateway waits here for a leader, before it is told that there is none: longer than a leader whose process has
/// ended is missed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The service, for one process.
#[derive(Debug, Clone)]
pub(crate) struct StandbyAttach {
    /// Counts refusals, and says them.
    process: Arc<Process>,
    site: Site,
}

impl StandbyAttach {
    /// Sends gateways to whoever leads.
    pub(crate) fn new(process: &Arc<Process>, site: Site) -> Self {
        let process = Arc::clone(process);
        Self { process, site }
    }

    /// What the node answers that this process has become; else why there is none.
    async fn open(
        &self,
        mut requests: Requests,
        hangup: &Hangup,
        caller: Caller,
    ) -> Result<AttachResponses, Refusal> {
        let hello = read_hello(&mut requests).await?;
        // What is not as it may be is not kept until somebody leads.
        let (peer, now) = (hangup.peer(), self.process.clock.now());
        Hello::check(hello.clone(), peer, 0, &Dialects::new(), now)?;
        caller.require(Need::Attach(hello.gateway_id.clone()))?;
        self.site.came(&Member {
            id: hello.gateway_id.clone(),
            incarnation: hello.incarnation,
        });
        let leader = match self.leader().await {
            Leads::This(node) => {
                let requests = once(Ok(said(hello))).chain(requests);
                let hangup = Some(hangup.clone());
                return Ok(open_by(&node, requests, hangup, Some(caller)));
            }
            Leads::Other(leader) => Some(leader.attach_url.clone()),
            Leads::Unknown => None,
        };
        let problem = None;
        Err(Refusal::NotLeader { leader, problem })
    }

    /// Waits until it is known who leads. The node: this process does. One that drains will not lead, and hears of no leader
    /// any more, while its port is still open for those who read to their end.
    async fn leader(&self) -> Leads {
        let mut leads = self.site.leads();
        let known = leads.wait_for(|it| !matches!(it, Leads::Unknown));
        let draining = self.process.draining();
        match draining.run_until_cancelled(timeout(PATIENCE, known)).await {
            Some(Ok(Ok(leads))) => leads.clone(),
            // Nobody does, or the process ends.
            Some(Ok(Err(_)) | Err(_)) | None => Leads::Unknown,
        }
    }
}

#[tonic::async_trait]
impl AttachService for StandbyAttach {
    type AttachStream = AttachResponses;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<AttachResponses>, Status> {
        let hangup = request.extensions().get::<Hangup>().cloned();
        let hangup = hangup.unwrap_or_default();
        let caller = Caller::of(request.extensions())?;
        let requests: Requests = Box::pin(request.into_inner());
        let opened = self.open(requests, &hangup, caller).await;
        let opened = opened.inspect_err(|why| refused(&self.process, why, hangup.peer()));
        Ok(Response::new(opened?))
    }
}

/// As it came.
fn said(hello: AttachHello) -> AttachRequest {
    let frame = Some(attach_request::Frame::Hello(hello));
    AttachRequest { frame }
}
