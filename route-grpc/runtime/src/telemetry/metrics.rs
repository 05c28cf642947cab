//! Metrics: instruments of OpenTelemetry. Prometheus reads them; a collector gets them if it is
//! set.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter, MeterProvider};
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use prometheus::{Encoder, Registry, TextEncoder};
use tracing::warn;

use super::otel::{self, Signal};
use super::{logs, process, runtime, spans_out};

/// Media type of [`Metrics::render`]; Prometheus 3 refuses a scrape without the version.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The provider that sends to a collector, for [`finish`]; not set if nothing is sent.
static SENT: OnceLock<SdkMeterProvider> = OnceLock::new();

/// All instruments of one process. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    service_name: &'static str,
    provider: SdkMeterProvider,
    registry: Registry,
}

/// The exporter could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up metrics: {0}")]
pub struct MetricsError(#[from] OTelSdkError);

/// Sends the last values, for at most so long. False: they were not taken.
pub(super) fn finish(within: Duration) -> bool {
    SENT.get()
        .is_none_or(|provider| provider.shutdown_with_timeout(within).is_ok())
}

impl Metrics {
    /// No instruments yet, but for those of the process itself (`process.*`), of the runtime on
    /// which this is called, and of the rest of telemetry.
    pub fn new(service_name: &'static str, version: &'static str) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // One scope per process: its name as a label of every series would tell nobody
            // anything.
            .scope_info_enabled(false)
            .build()?;
        let mut provider = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_resource(otel::resource(service_name, version));
        let collector = collector();
        let is_sent = collector.is_some();
        if let Some(collector) = collector {
            provider = provider.with_reader(PeriodicReader::builder(collector).build());
        }
        let provider = provider.build();
        if is_sent {
            let _ = SENT.set(provider.clone());
        }
        let metrics = Self {
            service_name,
            provider,
            registry,
        };
        process::observe(&metrics.meter());
        runtime::observe(&metrics.meter());
        spans_out::observe(&metrics.meter());
        observe_log(&metrics.meter());
        Ok(metrics)
    }

    /// Where instruments are made. Give each a unit (UCUM) and a description: both appear in the
    /// scrape.
    pub fn meter(&self) -> Meter {
        self.provider.meter(self.service_name)
    }

    /// Connections to the probe port that were dropped, by `reason`.
    pub(crate) fn dropped_probe_connections(&self, reasons: &[&'static str]) -> Counter<u64> {
        let dropped = self
            .meter()
            .u64_counter("teamtalk.probe.dropped")
            .with_unit("{connection}")
            .with_description("Probe port connections dropped without an answer")
            .build();
        // Prometheus sees an increase only from a value that was there before.
        for &reason in reasons {
            dropped.add(0, &[KeyValue::new("reason", reason)]);
        }
        dropped
    }

    /// All instruments as of now, in Prometheus' text format ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        for family in self.registry.gather() {
            // One by one, so that one that cannot be rendered hides no other.
            if let Err(error) = TextEncoder::new().encode(&[family], &mut text) {
                warn!(%error, "a metric cannot be rendered");
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Where metrics are sent, if the `OTEL_*` variables ask for that.
fn collector() -> Option<MetricExporter> {
    if !otel::is_sent(Signal::Metrics) {
        return None;
    }
    match MetricExporter::builder().with_tonic().build() {
        Ok(collector) => Some(collector),
        Err(error) => {
            tracing::error!(%error, "no metrics will be sent");
            None
        }
    }
}

fn observe_log(meter: &Meter) {
    meter
        .u64_observable_counter("teamtalk.log.lost")
        .with_unit("{line}")
        .with_description("Log lines lost because standard output was full or closed")
        .with_callback(|lines| lines.observe(logs::lost_log_lines(), &[]))
        .build();
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::*;

    #[test]
    fn instruments_appear_with_unit_and_description() {
        let metrics = Metrics::new("test", "1.2.3").unwrap();
        let counter = metrics
            .meter()
            .u64_counter("teamtalk.test.read")
            .with_unit("By")
            .with_description("Bytes read")
            .build();

        counter.add(5, &[KeyValue::new("kind", "chat")]);

        let text = metrics.render();
        assert!(
            text.contains("# HELP teamtalk_test_read_bytes_total Bytes read\n"),
            "{text}"
        );
        assert!(
            text.contains("# TYPE teamtalk_test_read_bytes_total counter\n"),
            "{text}"
        );
        assert!(
            text.contains("teamtalk_test_read_bytes_total{kind=\"chat\"} 5\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn the_runtime_describes_itself() {
        let metrics = Metrics::new("test", "1.2.3").unwrap();

        let text = metrics.render();

        for line in [
            "teamtalk_runtime_workers 1\n",
            "teamtalk_runtime_tasks 0\n",
            "teamtalk_runtime_queued 0\n",
            "# TYPE teamtalk_runtime_busy_time_seconds_total counter\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }

    #[test]
    fn the_process_describes_itself() {
        let metrics = Metrics::new("test", "1.2.3").unwrap();

        let text = metrics.render();

        for line in [
            "target_info{service_name=\"test\",service_version=\"1.2.3\"} 1\n",
            "# TYPE process_cpu_time_seconds_total counter\n",
            "# TYPE process_memory_usage_bytes gauge\n",
            "# TYPE process_unix_file_descriptor_count gauge\n",
            "# TYPE process_uptime_seconds gauge\n",
            "teamtalk_log_lost_total 0\n",
            "teamtalk_trace_spans_total{outcome=\"dropped\"} 0\n",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }
}
