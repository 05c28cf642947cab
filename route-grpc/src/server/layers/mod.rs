//! What every call passes on its way in and out: its deadline, gRPC's usual codes, the clock.
//!
//! tonic answers a call whose deadline is over with CANCELLED, and a message that is too long with OUT_OF_RANGE. gRPC
//! says DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED, and callers decide by that.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use opentelemetry::Context as TraceContext;
use opentelemetry::KeyValue;
use opentelemetry::trace::FutureExt as _;
use opentelemetry::trace::{Status as SpanStatus, TraceContextExt};
use route_runtime::telemetry::{Span, traces};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use crate::api::methods;
use crate::node::Node;
use crate::refusal::{Refusal, deadline_exceeded};

/// How tonic's message about a request that is too long begins, as a header value.
const TOO_LONG: &str = "Error,%20decoded%20message%20length%20too%20large";

/// tonic watches the caller's deadline too. Ours ends a little earlier, so that our code is the one that is sent.
const HEAD_START: Duration = Duration::from_millis(5);

/// Wraps every service of a server.
#[derive(Debug, Clone)]
pub(crate) struct CallsLayer {
    node: Arc<Node>,
}

impl CallsLayer {
    /// Measures for this node.
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls {
            inner,
            node: Arc::clone(&self.node),
        }
    }
}

/// The services, wrapped.
#[derive(Debug, Clone)]
pub(crate) struct Calls<S> {
    inner: S,
    node: Arc<Node>,
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().trim_start_matches('/');
        let method = methods::UNARY.into_iter().find(|method| *method == path);
        let deadline = deadline(request.headers());
        let started = Instant::now();
        let node = Arc::clone(&self.node);
        let span = method.and_then(|method| {
            let caller = request.headers().get("traceparent");
            traces()?.call(caller.and_then(|it| it.to_str().ok()), method)
        });
        let span = span.map(Span::into_context);
        let answer = match &span {
            Some(span) => {
                let entered = span.clone().attach();
                let answer = self.inner.call(request);
                drop(entered);
                Either::Left(answer.with_context(span.clone()))
            }
            None => Either::Right(self.inner.call(request)),
        };
        Box::pin(async move {
            let mut response = match deadline {
                Some(deadline) => match tokio::time::timeout(deadline, answer).await {
                    Ok(response) => response?,
                    Err(_) => deadline_exceeded().into_http(),
                },
                None => answer.await?,
            };
            if let Some(problem) = too_long(response.headers()) {
                response = Status::from(Refusal::TooLarge { problem }).into_http();
            }
            if let Some(method) = method {
                let labels = [
                    KeyValue::new("rpc.method", method),
                    KeyValue::new("rpc.response.status_code", code(response.headers())),
                ];
                node.metrics
                    .calls
                    .record(started.elapsed().as_secs_f64(), &labels);
                if let Some(span) = span {
                    finish(&span, method, code(response.headers()));
                }
            }
            Ok(response)
        })
    }
}

/// Ends the span of a call.
fn finish(span: &TraceContext, method: &'static str, code: &'static str) {
    let span = span.span();
    span.set_attribute(KeyValue::new("rpc.system.name", "grpc"));
    span.set_attribute(KeyValue::new("rpc.method", method));
    span.set_attribute(KeyValue::new("rpc.response.status_code", code));
    // By OpenTelemetry's conventions; the others are the caller's errors.
    if matches!(
        code,
        "UNKNOWN"
            | "DEADLINE_EXCEEDED"
            | "UNIMPLEMENTED"
            | "INTERNAL"
            | "UNAVAILABLE"
            | "DATA_LOSS"
    ) {
        span.set_status(SpanStatus::error(code));
    }
    span.end();
}

/// The caller's `grpc-timeout`: up to 8 digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = number.parse::<u32>().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(3600) * number,
        "M" => Duration::from_secs(60) * number,
        "S" => Duration::from_secs(1) * number,
        "m" => Duration::from_millis(1) * number,
        "u" => Duration::from_micros(1) * number,
        "n" => Duration::from_nanos(1) * number,
        _ => return None,
    };
    Some(timeout.saturating_sub(HEAD_START).max(timeout / 2))
}

/// An error's status stands in the headers, for nothing follows them.
fn too_long(headers: &HeaderMap) -> Option<String> {
    if headers.get("grpc-status")? != "11" {
        return None;
    }
    let message = headers.get("grpc-message")?.to_str().ok()?;
    message
        .starts_with(TOO_LONG)
        .then(|| message.replace("%20", " "))
}

/// The code's name, a small closed set.
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
    // A unary call that succeeds has its status in the trailers.
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
    fn deadlines_have_units() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().expect("a header value"));
            deadline(&headers)
        };

        assert_eq!(parse("1S"), Some(Duration::from_millis(995)));
        assert_eq!(parse("100m"), Some(Duration::from_millis(95)));
        assert_eq!(parse("2m"), Some(Duration::from_millis(1)));
        assert_eq!(
            parse("99999999H"),
            Some(Duration::from_secs(3600) * 99_999_999 - HEAD_START)
        );
        for bad in ["", "S", "1", "1x", "-1S", "999999999999S", "€"] {
            assert_eq!(deadline_of(bad), None, "{bad}");
        }

        fn deadline_of(text: &str) -> Option<Duration> {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().ok()?);
            deadline(&headers)
        }
    }

    #[test]
    fn a_missing_status_in_the_headers_is_success() {
        let mut headers = HeaderMap::new();
        assert_eq!(code(&headers), "OK");

        headers.insert("grpc-status", "14".parse().expect("a header value"));
        assert_eq!(code(&headers), "UNAVAILABLE");
    }

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
