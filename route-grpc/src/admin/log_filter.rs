//! What the process logs, set anew: each node of a site for itself.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use route_proto::admin::v1alpha1::{SetLogFilterRequest, SetLogFilterResponse};
use route_runtime::telemetry::{LogFilterError, set_log_filter};
use tonic::codegen::Service;
use tonic::codegen::http::{Request as HttpRequest, Response as HttpResponse};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status, body::Body};
use tonic_prost::ProstCodec;

use super::audit::Caller;
use crate::limits::MAX_ADMIN_REQUEST_BYTES;
use crate::refusal::Refusal;

/// For how long it may be set, if not for good.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Longest filter, bytes: it is logged, and told.
const MOST_BYTES: usize = 1024;

/// The method alone, for a node that passes the others on.
#[derive(Debug, Clone)]
pub(crate) struct SetLogFilter;

impl SetLogFilter {
    /// Where it is called.
    pub(crate) const PATH: &str = "/teamtalk.admin.v1alpha1.AdminService/SetLogFilter";
}

impl Service<HttpRequest<axum::body::Body>> for SetLogFilter {
    type Response = HttpResponse<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest<axum::body::Body>) -> Self::Future {
        Box::pin(async {
            let mut server = Grpc::new(ProstCodec::default())
                .apply_max_message_size_config(Some(MAX_ADMIN_REQUEST_BYTES), None);
            Ok(server.unary(Self, request).await)
        })
    }
}

impl UnaryService<SetLogFilterRequest> for SetLogFilter {
    type Response = SetLogFilterResponse;
    type Future = Ready<Result<Response<SetLogFilterResponse>, Status>>;

    fn call(&mut self, request: Request<SetLogFilterRequest>) -> Self::Future {
        ready(asked(request).map(Response::new))
    }
}

/// Sets it for this caller, and says so.
pub(super) fn asked(request: Request<SetLogFilterRequest>) -> Result<SetLogFilterResponse, Status> {
    let caller = Caller::of(request.extensions());
    let request = request.into_inner();
    let set = set(&request).map_err(Status::from);
    caller.did("SetLogFilter", &request.filter, "", &set);
    set
}

/// Sets it; a task sets it back.
fn set(request: &SetLogFilterRequest) -> Result<SetLogFilterResponse, Refusal> {
    if request.filter.len() > MOST_BYTES {
        let problem = format!(
            "{} bytes, at most {MOST_BYTES} are allowed",
            request.filter.len()
        );
        return Err(Refusal::field("filter", problem));
    }
    let for_long = match request.duration {
        None => None,
        Some(duration) => {
            let duration = Duration::try_from(duration).ok();
            let wrong = || Refusal::field("duration", "has to be from 0 to 24 h");
            Some(duration.filter(|it| *it <= LONGEST).ok_or_else(wrong)?)
        }
    };
    let set = set_log_filter(&request.filter, for_long);
    let previous_filter = set.map_err(|error| match error {
        LogFilterError::NoLog => Refusal::NotFound {
            what: "log".to_owned(),
        },
        LogFilterError::Filter(problem) => Refusal::field("filter", problem),
    })?;
    Ok(SetLogFilterResponse { previous_filter })
}
