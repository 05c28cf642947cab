//! An OTLP collector, played: takes spans and lets tests wait for them.

use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// How long spans may take to come.
const LIMIT: Duration = Duration::from_secs(30);

/// A span as a collector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for a root.
    pub(crate) parent: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
    attributes: Vec<(String, String)>,
}

impl Seen {
    /// An attribute as text; empty if there is none.
    pub(crate) fn attribute(&self, key: &str) -> &str {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }
}

/// A collector on a port of its own.
#[derive(Debug)]
pub(crate) struct Collector {
    address: SocketAddr,
    spans: watch::Receiver<Vec<Seen>>,
    metrics: watch::Receiver<Vec<String>>,
    server: JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let (spans, seen) = watch::channel(Vec::new());
        let (names, metrics) = watch::channel(Vec::new());
        let server = Server::builder()
            .add_service(TraceServiceServer::new(Taker(spans)))
            .add_service(MetricsServiceServer::new(Counter(names)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        Self {
            address,
            spans: seen,
            metrics,
            server: tokio::spawn(async { server.await.expect("a collector serves") }),
        }
    }

    /// Variables that make a server send every trace here, soon.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        variables(&format!("http://{}", self.address))
    }

    /// Waits for a span, and then for so many spans of its trace. Returns those.
    ///
    /// # Panics
    /// If they do not come.
    pub(crate) async fn trace(&self, count: usize, of: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let mut spans = self.spans.clone();
        let trace = |spans: &Vec<Seen>| -> Vec<Seen> {
            let Some(one) = spans.iter().find(|span| of(span)) else {
                return Vec::new();
            };
            let of_trace = spans.iter().filter(|span| span.trace == one.trace);
            of_trace.cloned().collect()
        };
        let complete = spans.wait_for(|spans| trace(spans).len() >= count);
        let found = match timeout(LIMIT, complete).await {
            Ok(spans) => Some(trace(&spans.expect("the collector serves"))),
            Err(_) => None,
        };
        found.unwrap_or_else(|| {
            let came = self.spans.borrow().clone();
            panic!(
                "{count} spans of a trace did not come, but {:#?} of {came:#?}",
                trace(&came)
            )
        })
    }

    /// Waits for a metric of this name.
    ///
    /// # Panics
    /// If it does not come.
    pub(crate) async fn metric(&self, name: &str) {
        let mut metrics = self.metrics.clone();
        let came = metrics.wait_for(|names| names.iter().any(|it| it == name));
        let came = timeout(LIMIT, came).await.is_ok();
        assert!(came, "{name} is not in {:?}", self.metrics.borrow());
    }

    /// Whether any metric has come.
    pub(crate) fn has_metrics(&self) -> bool {
        !self.metrics.borrow().is_empty()
    }

    /// Everything that has come.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.spans.borrow().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Variables that make a server send every trace to this endpoint, soon.
pub(crate) fn variables(endpoint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned()),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned()),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test".to_owned(),
        ),
    ]
}

struct Counter(watch::Sender<Vec<String>>);

#[tonic::async_trait]
impl MetricsService for Counter {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let of_services = request.into_inner().resource_metrics.into_iter();
        let scopes = of_services.flat_map(|it| it.scope_metrics);
        let metrics = scopes.flat_map(|it| it.metrics);
        self.0
            .send_modify(|names| names.extend(metrics.map(|it| it.name)));
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

struct Taker(watch::Sender<Vec<Seen>>);

#[tonic::async_trait]
impl TraceService for Taker {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send_modify(|seen| {
            for of_service in request.into_inner().resource_spans {
                let resource = of_service.resource.unwrap_or_default();
                let resource = texts(&resource.attributes);
                let of_resource = |key: &str| {
                    let found = resource.iter().find(|(name, _)| name == key);
                    found.map_or(String::new(), |(_, value)| value.clone())
                };
                assert_eq!(of_resource("deployment.environment.name"), "test");
                let spans = of_service.scope_spans.into_iter().flat_map(|it| it.spans);
                seen.extend(spans.map(|span| Seen {
                    service: of_resource("service.name"),
                    name: span.name,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    start: span.start_time_unix_nano,
                    end: span.end_time_unix_nano,
                    attributes: texts(&span.attributes),
                }));
            }
        });
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |it: &KeyValue| match it.value.as_ref().and_then(|it| it.value.clone()) {
        Some(any_value::Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    };
    attributes
        .iter()
        .map(|it| (it.key.clone(), text(it)))
        .collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
