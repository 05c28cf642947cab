//! gRPC's usual codes, with reasons. tonic says of a request that it cannot read that the server has failed
//! (INTERNAL), or that it is out of range; callers decide by that.

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::{Around, Handler};
use crate::refusal::Refusal;

/// Puts our refusal in the place of tonic's.
#[derive(Debug, Clone)]
pub(in crate::server) struct Codes;

impl Around for Codes {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let answer = inner.call(request);
        async move {
            let response = answer.await?;
            let status = Status::from_header_map(response.headers());
            Ok(match status.as_ref().and_then(Refusal::of_unread) {
                Some(refusal) => Status::from(refusal).into_http(),
                None => response,
            })
        }
    }
}
