//! How long unary calls take, and what is called that nobody serves. Streams are measured where they
//! end.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::{Around, Handler, code, unary_method};

/// Where that is counted.
#[derive(Debug, Clone)]
pub(in crate::server) struct Measure {
    /// Durations in seconds, by method and code.
    pub(in crate::server) calls: Histogram<f64>,
    /// Calls of other methods than there are.
    pub(in crate::server) unknown: Counter<u64>,
}

impl Around for Measure {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let method = unary_method(&request);
        let counts = self.clone();
        let started = Instant::now();
        let answer = inner.call(request);
        async move {
            let response = answer.await?;
            let code = code(response.headers());
            if let Some(method) = method {
                let labels = [
                    KeyValue::new("rpc.method", method),
                    KeyValue::new("rpc.response.status_code", code),
                ];
                let seconds = started.elapsed().as_secs_f64();
                counts.calls.record(seconds, &labels);
            } else if code == "UNIMPLEMENTED" {
                counts.unknown.add(1, &[]);
            }
            Ok(response)
        }
    }
}
