//! gRPC's usual codes, with reasons. tonic says of a request that it cannot read that the server has failed
//! (INTERNAL), or that it is out of range; callers decide by that. Of a method that it does not know, it says nothing.

use route_proto::v1::broadcast_service_server;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};

use super::{Around, Handler};
use crate::limits::MAX_REQUEST_BYTES;
use crate::refusal::Refusal;

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
            if status.code() == Code::Unimplemented && status.message().is_empty() {
                let method = uri.path();
                let told = format!("{method} is not served here; reflection lists what is");
                return Ok(Status::unimplemented(told).into_http());
            }
            let longest = match is_broadcast(uri.path()) {
                true => format!("{publish_bytes} bytes (--publish-bytes)"),
                false => format!("{MAX_REQUEST_BYTES} bytes"),
            };
            Ok(match Refusal::of_unread(&status, longest) {
                Some(refusal) => Status::from(refusal).into_http(),
                None => response,
            })
        }
    }
}

fn is_broadcast(path: &str) -> bool {
    let service = path.split('/').nth(1);
    service == Some(broadcast_service_server::SERVICE_NAME)
}
