//! Logs, metrics and traces.

mod log_writer;
mod logs;
mod metrics;
mod otel;
mod panics;
mod process;
mod runtime;
mod spans_out;
mod traces;

use std::time::Duration;

pub use logs::{LogArgs, LogError, LogFormat, flush_logs, init_logs, lost_log_lines};
pub use metrics::{CONTENT_TYPE, Metrics, MetricsError};
pub use opentelemetry::trace::SpanKind;
pub use traces::{Roots, Span, Traces, current, init_traces, traces};

/// Sends what the collector has not got yet, for at most `within` each for traces and metrics. Call it when nothing more
/// is to be told.
pub async fn finish(within: Duration) {
    // Exporters wait, and what they wait for runs on this runtime.
    let sent =
        tokio::task::spawn_blocking(move || (traces::finish(within), metrics::finish(within)));
    let (traces, metrics) = sent.await.unwrap_or_default();
    if !(traces && metrics) {
        tracing::warn!(
            traces,
            metrics,
            "the collector did not take the last of the telemetry"
        );
    }
}
