//! The standard `OTEL_*` variables: whether telemetry is sent to a collector, and in whose name.
//!
//! The exporters themselves read what concerns the connection (endpoint, headers, time limit) and
//! the batches (`OTEL_BSP_*`, `OTEL_METRIC_EXPORT_*`).

use std::env;
use std::str::FromStr;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;

/// One PDU in 1000 begins a trace, unless `OTEL_TRACES_SAMPLER` says otherwise. At 50 000 PDUs a
/// second these are 50 traces a second, enough to see where time goes.
const USUAL_RATIO: f64 = 0.001;

/// Spans that may wait for the collector, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise:
/// OpenTelemetry's default.
const USUAL_QUEUE: usize = 2048;

/// Kinds of telemetry that can be sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    /// Sent as soon as there is an endpoint.
    Traces,
    /// Sent if `OTEL_METRICS_EXPORTER` says so too, for Prometheus reads them anyway.
    Metrics,
}

/// Whether this is to be sent to a collector.
pub(super) fn is_sent(signal: Signal) -> bool {
    if text("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
        return false;
    }
    let (exporter, endpoint) = match signal {
        Signal::Traces => (
            text("OTEL_TRACES_EXPORTER").is_none_or(|it| it == "otlp"),
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        ),
        Signal::Metrics => (
            text("OTEL_METRICS_EXPORTER").is_some_and(|it| it.split(',').any(|it| it == "otlp")),
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        ),
    };
    exporter && (text(endpoint).is_some() || text("OTEL_EXPORTER_OTLP_ENDPOINT").is_some())
}

/// This process: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, or what the binary calls
/// itself.
pub(super) fn resource(service_name: &'static str, version: &'static str) -> Resource {
    let resource = Resource::builder_empty()
        .with_service_name(service_name)
        .with_attribute(KeyValue::new("service.version", version))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match text("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// What share of PDUs and calls begins a trace: `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`.
pub(super) fn ratio() -> f64 {
    let argument = text("OTEL_TRACES_SAMPLER_ARG");
    ratio_of(text("OTEL_TRACES_SAMPLER").as_deref(), argument.as_deref())
}

/// Whether a caller's decision counts: the sampler is parent-based.
pub(super) fn follows_parents() -> bool {
    let sampler = text("OTEL_TRACES_SAMPLER");
    sampler.is_none_or(|it| it.starts_with("parentbased_"))
}

/// Most spans that wait for the collector.
pub(super) fn queue_size() -> usize {
    let size = text("OTEL_BSP_MAX_QUEUE_SIZE").and_then(|it| usize::from_str(&it).ok());
    size.filter(|it| *it > 0).unwrap_or(USUAL_QUEUE)
}

fn ratio_of(sampler: Option<&str>, argument: Option<&str>) -> f64 {
    let argument = argument
        .and_then(|it| f64::from_str(it).ok())
        .filter(|it| (0.0..=1.0).contains(it));
    let Some(sampler) = sampler else {
        return argument.unwrap_or(USUAL_RATIO);
    };
    match sampler.trim_start_matches("parentbased_") {
        "always_on" => 1.0,
        "always_off" => 0.0,
        // The specification's default.
        "traceidratio" => argument.unwrap_or(1.0),
        // An unknown sampler.
        _ => USUAL_RATIO,
    }
}

fn text(variable: &str) -> Option<String> {
    let text = env::var(variable).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_are_ratios() {
        assert_eq!(ratio_of(None, None), USUAL_RATIO);
        assert_eq!(ratio_of(None, Some("0.5")), 0.5);
        assert_eq!(ratio_of(Some("always_on"), Some("0.5")), 1.0);
        assert_eq!(ratio_of(Some("parentbased_always_on"), None), 1.0);
        assert_eq!(ratio_of(Some("always_off"), None), 0.0);
        assert_eq!(
            ratio_of(Some("parentbased_traceidratio"), Some("0.25")),
            0.25
        );
        assert_eq!(ratio_of(Some("traceidratio"), Some("2")), 1.0);
        assert_eq!(ratio_of(Some("xray"), None), USUAL_RATIO);
    }
}
