//! Metrics: instruments of OpenTelemetry, read by Prometheus.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Encoder, Registry, TextEncoder};
use tracing::warn;

use super::{logs, process};

/// Media type of [`Metrics::render`]; Prometheus 3 refuses a scrape without the version.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

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

impl Metrics {
    /// No instruments yet, but for those of the process itself (`process.*`) and of its log.
    pub fn new(service_name: &'static str, version: &'static str) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // One scope per process: its name as a label of every series would tell nobody anything.
            .scope_info_enabled(false)
            .build()?;
        let resource = Resource::builder_empty()
            .with_service_name(service_name)
            .with_attribute(KeyValue::new("service.version", version))
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(exporter)
            .with_resource(resource)
            .build();
        let metrics = Self {
            service_name,
            provider,
            registry,
        };
        process::observe(&metrics.meter());
        observe_log(&metrics.meter());
        Ok(metrics)
    }

    /// Where instruments are made. Give each a unit (UCUM) and a description: both appear in the scrape.
    pub fn meter(&self) -> Meter {
        self.provider.meter(self.service_name)
    }

    /// Connections to the admin port that were dropped for newer ones.
    pub(crate) fn dropped_admin_connections(&self) -> Counter<u64> {
        self.meter()
            .u64_counter("teamtalk.admin.dropped")
            .with_unit("{connection}")
            .with_description(
                "Admin connections dropped for newer ones, because there were too many",
            )
            .build()
    }

    /// All instruments as of now, in Prometheus' text format ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        for family in self.registry.gather() {
            // One by one, so that an unrenderable one hides no other.
            if let Err(error) = TextEncoder::new().encode(&[family], &mut text) {
                warn!(%error, "a metric cannot be rendered");
            }
        }
        String::from_utf8_lossy(&text).into_owned()
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
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
    }
}
