//! How long unary calls take. Streams are measured where they end.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};

use super::{Around, Handler, code, unary_method};

/// Records durations in seconds, by method and code.
#[derive(Debug, Clone)]
pub(in crate::server) struct Measure(pub(in crate::server) Histogram<f64>);

impl Around for Measure {
    fn around<S: Handler>(
        &self,
        request: Request<Body>,
        inner: &mut S,
    ) -> impl Future<Output = Result<Response<Body>, S::Error>> + Send + use<S> {
        let method = unary_method(&request);
        let durations = method.map(|method| (method, self.0.clone()));
        let started = Instant::now();
        let answer = inner.call(request);
        async move {
            let response = answer.await?;
            if let Some((method, durations)) = durations {
                let labels = [
                    KeyValue::new("rpc.method", method),
                    KeyValue::new("rpc.response.status_code", code(response.headers())),
                ];
                durations.record(started.elapsed().as_secs_f64(), &labels);
            }
            Ok(response)
        }
    }
}
