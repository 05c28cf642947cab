//! Logs and metrics.

mod log_writer;
mod logs;
mod metrics;
mod panics;
mod process;

pub use logs::{LogArgs, LogError, LogFormat, flush_logs, init_logs, lost_log_lines};
pub use metrics::{CONTENT_TYPE, Metrics, MetricsError};
