//! gRPC's usual codes. tonic answers a message that is too long with OUT_OF_RANGE; gRPC says
//! RESOURCE_EXHAUSTED, and callers decide by that.

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};

use super::{Around, Handler};
use crate::refusal::Refusal;

/// How tonic's message about a request that is too long begins, as a header value.
const TOO_LONG: &str = "Error,%20decoded%20message%20length%20too%20large";

/// Puts the usual code in the place of tonic's.
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
            Ok(match too_long(response.headers()) {
                Some(problem) => Status::from(Refusal::TooLarge { problem }).into_http(),
                None => response,
            })
        }
    }
}

/// What tonic says, if that is the problem.
fn too_long(headers: &HeaderMap) -> Option<String> {
    if headers.get("grpc-status")? != "11" {
        return None;
    }
    let message = headers.get("grpc-message")?.to_str().ok()?;
    message
        .starts_with(TOO_LONG)
        .then(|| message.replace("%20", " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_out_of_range_stays_what_it_is() {
        let headers = |status: Status| status.into_http::<Body>().into_parts().0.headers;
        let tonics =
            "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes";

        assert_eq!(
            too_long(&headers(Status::out_of_range(tonics))).as_deref(),
            Some(tonics)
        );
        assert_eq!(too_long(&headers(Refusal::PositionCompacted.into())), None);
    }
}
