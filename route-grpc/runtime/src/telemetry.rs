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

pub use logs::{
    AUDIT, LogArgs, LogError, LogFilterError, LogFormat, flush_logs, reasons, set_log_filter,
    unknown_targets,
};
pub use metrics::{CONTENT_TYPE, Metrics, MetricsError};
pub use opentelemetry::trace::SpanKind;
pub use traces::{Roots, Span, Traces, current, init_traces, traces};

/// Sends what `tracing` reports in this process to standard output. A panic is reported too, and
/// ends the process with exit code 101, whichever thread or task it happens in.
///
/// Logging never waits for standard output and never ends the process: a line that finds 4 MiB
/// waiting, or an output that is closed, is lost and counted. Call [`flush_logs`] before the
/// process ends.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), LogError> {
    logs::init(format, filter)?;
    panics::end_the_process();
    Ok(())
}

/// Sends what the collector has not got yet, for at most `within` each for traces and metrics. Call
/// it last.
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
