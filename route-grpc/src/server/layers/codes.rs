//! gRPC's usual codes, with reasons. tonic says of a request that it cannot read that the server has failed
//! (INTERNAL), or that it is out of range; callers decide by that. Of an encoding that it does not know, it gives no reason.

use route_proto::admin::v1alpha1::admin_service_server;
use route_proto::v1::broadcast_service_server;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};

use super::{Around, Handler};
use crate::limits::{MAX_ADMIN_REQUEST_BYTES, MAX_REQUEST_BYTES};
use crate::refusal::Refusal;

const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// Puts our refusal in the place of tonic's.
#[derive(Debug, Clone)]
pub(in crate::server) struct Codes {
    /// How long a request to publish may be.
    pub(in crate::server) publish_bytes: usize,
}

impl Around for Codes {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let uri = request.uri().clone();
        let answer = inner.call(request);
        let publish_bytes = self.publish_bytes;
        async move {
            let response = answer.await?;
            let Some(status) = Status::from_header_map(response.headers()) else {
                return Ok(response);
            };
            if let Some(taken) = status.metadata().get(ACCEPT_ENCODING)
                && status.code() == Code::Unimplemented
            {
                let takes = String::from_utf8_lossy(taken.as_bytes());
                let problem = format!("{}; taken are {takes}", status.message());
                let mut told = Status::from(Refusal::NotServed { problem });
                told.metadata_mut().insert(ACCEPT_ENCODING, taken.clone());
                return Ok(told.into_http());
            }
            let longest = match service(uri.path()) {
                Some(broadcast_service_server::SERVICE_NAME) => {
                    format!("{publish_bytes} bytes (--publish-bytes)")
                }
                Some(admin_service_server::SERVICE_NAME) => {
                    format!("{MAX_ADMIN_REQUEST_BYTES} bytes")
                }
                Some(_) | None => format!("{MAX_REQUEST_BYTES} bytes"),
            };
            Ok(match Refusal::of_unread(&status, longest) {
                Some(refusal) => Status::from(refusal).into_http(),
                None => response,
            })
        }
    }
}

fn service(path: &str) -> Option<&str> {
    path.split('/').nth(1)
}
