//! A span for each unary call that is traced.

use opentelemetry::Context as TraceContext;
use opentelemetry::KeyValue;
use opentelemetry::trace::{FutureExt as _, Status as SpanStatus, TraceContextExt};
use route_runtime::telemetry::{Span, traces};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::{Around, Handler, code, unary_method};

/// Makes the spans; what is done within a call finds its own as the current one.
#[derive(Debug, Clone)]
pub(in crate::server) struct Trace;

impl Around for Trace {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let span = unary_method(&request).and_then(|method| {
            let caller = request.headers().get("traceparent");
            let span = traces()?.call(caller.and_then(|it| it.to_str().ok()), method)?;
            Some((method, Span::into_context(span)))
        });
        let answer = inner.call(request);
        async move {
            let Some((method, span)) = span else {
                return answer.await;
            };
            let response = answer.with_context(span.clone()).await?;
            finish(&span, method, code(response.headers()));
            Ok(response)
        }
    }
}

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
