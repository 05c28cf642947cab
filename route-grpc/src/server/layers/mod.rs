//! What every call passes on its way in and out, one layer a file. The first is the outermost:
//!
//! | layer | does |
//! |---|---|
//! | `trace` | a span for each unary call |
//! | `measure` | how long it took, and with which code it ended |
//! | `codes` | gRPC's usual code and a reason where tonic has others |
//! | `asked` | refuses what is no gRPC request, or of no method |
//! | `guard` | lets in who may call this, and ends streams of those who may not any more |
//! | `deadline` | ends a call whose caller waits no longer; refuses a deadline that cannot be read |
//! | `framed` | refuses what is not framed as gRPC has it |
//! | `intake` | lets requests come in as fast as they must, and no more of a client than its share |

mod asked;
mod codes;
mod deadline;
mod framed;
mod guard;
mod intake;
mod measure;
mod message;
mod rest;
mod served;
mod trace;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use crate::refusal::Refusal;

pub(super) use asked::Asked;
pub(super) use codes::Codes;
pub(super) use deadline::Deadline;
pub(super) use framed::Framed;
pub(super) use guard::Guard;
pub(super) use intake::Intake;
pub(super) use measure::Measure;
pub(super) use served::Served;
pub(super) use trace::Trace;

/// What one layer does around a call.
pub(super) trait Around: Clone {
    /// Hands the request on to `inner`, and gives back what comes of it.
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<Self, S>;
}

/// What is below a layer: all services, or the next layer.
pub(super) trait Handler:
    Service<Request<Body>, Response = Response<Body>, Future: Send + 'static, Error: Send + 'static>
    + 'static
{
}

impl<S> Handler for S where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Future: Send + 'static,
            Error: Send + 'static,
        > + 'static
{
}

/// Puts it around every service of a server.
#[derive(Debug, Clone)]
pub(super) struct Each<A>(pub(super) A);

impl<A: Around, S> Layer<S> for Each<A> {
    type Service = Wrapped<A, S>;

    fn layer(&self, inner: S) -> Wrapped<A, S> {
        let around = self.0.clone();
        Wrapped { around, inner }
    }
}

/// The services, with a layer around them.
#[derive(Debug, Clone)]
pub(super) struct Wrapped<A, S> {
    around: A,
    inner: S,
}

impl<A: Around + 'static, S: Handler> Service<Request<Body>> for Wrapped<A, S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.around.around(request, &mut self.inner))
    }
}

/// The unary method that is called, by its full name.
fn unary_method(request: &Request<Body>) -> Option<&'static str> {
    let path = request.uri().path().trim_start_matches('/');
    crate::methods::UNARY
        .into_iter()
        .find(|method| *method == path)
}

/// The end of a stream that has begun.
fn ended(refusal: Refusal) -> Frame<Bytes> {
    Frame::trailers(refusal.into_trailers())
}

/// The code's name, a small closed set. An error's status stands in the headers, for nothing
/// follows them; that of a unary call that succeeds, in the trailers.
fn code(headers: &HeaderMap) -> &'static str {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let Some(number) = headers.get("grpc-status") else {
        return "OK";
    };
    let number = number
        .to_str()
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    number
        .and_then(|number| NAMES.get(number).copied())
        .unwrap_or("UNKNOWN")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_status_in_the_headers_is_success() {
        let mut headers = HeaderMap::new();
        assert_eq!(code(&headers), "OK");

        headers.insert("grpc-status", "14".parse().expect("a header value"));
        assert_eq!(code(&headers), "UNAVAILABLE");
    }
}
