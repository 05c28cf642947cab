//! The way of finished spans to the collector: a bounded queue, batches, and a count of what became
//! of each span.
//!
//! Ending a span never waits. If the collector is dead, the queue fills and spans are dropped; the
//! log tells when that begins and when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor,
};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{info, warn};

/// A batch that the collector does not take within this time is lost. The exporter itself has a
/// limit for an answer, but none for a connection that is never made.
const EXPORT_TIME: Duration = Duration::from_secs(10);

/// What became of the spans of this process.
static OUTCOMES: Outcomes = Outcomes {
    exported: AtomicU64::new(0),
    failed: AtomicU64::new(0),
    dropped: AtomicU64::new(0),
};

#[derive(Debug)]
struct Outcomes {
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Sends spans through `exporter` on the current runtime. At most `limit` spans wait; further ones
/// are dropped.
pub(super) fn processor(
    exporter: impl SpanExporter + 'static,
    limit: usize,
) -> impl SpanProcessor + 'static {
    let waiting = Arc::new(AtomicUsize::new(0));
    let exporter = Exporter {
        exporter: Arc::new(exporter),
        runtime: Handle::current(),
        waiting: Arc::clone(&waiting),
        failing: AtomicBool::new(false),
    };
    let config = BatchConfigBuilder::default().with_max_queue_size(limit);
    Processor {
        batches: BatchSpanProcessor::builder(exporter)
            .with_batch_config(config.build())
            .build(),
        waiting,
        limit,
    }
}

/// Declares what is counted here.
pub(super) fn observe(meter: &Meter) {
    let outcome = |outcome| [KeyValue::new("outcome", outcome)];
    let outcomes = [
        (&OUTCOMES.exported, outcome("exported")),
        (&OUTCOMES.failed, outcome("failed")),
        (&OUTCOMES.dropped, outcome("dropped")),
    ];
    meter
        .u64_observable_counter("teamtalk.trace.spans")
        .with_unit("{span}")
        .with_description("Spans that were taken by the collector, refused or not taken in time, or dropped because too many waited")
        .with_callback(move |spans| {
            for (count, outcome) in &outcomes {
                spans.observe(count.load(Ordering::Relaxed), outcome);
            }
        })
        .build();
}

/// Bounds the spans that wait, and counts those that do not fit. The batches have the same bound,
/// but drop without counting.
#[derive(Debug)]
struct Processor {
    batches: BatchSpanProcessor,
    /// Ended, and not yet known to be exported or lost.
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

impl SpanProcessor for Processor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            OUTCOMES.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Runs an exporter on the runtime, within a time limit: the thread that makes batches has no
/// timers.
#[derive(Debug)]
struct Exporter<E> {
    exporter: Arc<E>,
    runtime: Handle,
    waiting: Arc<AtomicUsize>,
    failing: AtomicBool,
}

impl<E: SpanExporter + 'static> SpanExporter for Exporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let exporter = Arc::clone(&self.exporter);
        let sending = self.runtime.spawn(async move {
            match timeout(EXPORT_TIME, exporter.export(batch)).await {
                Ok(result) => result,
                Err(_) => Err(OTelSdkError::Timeout(EXPORT_TIME)),
            }
        });
        let ended = |error| Err(OTelSdkError::InternalFailure(format!("{error}")));
        let result = sending.await.unwrap_or_else(ended);
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.report(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        match Arc::get_mut(&mut self.exporter) {
            Some(exporter) => exporter.set_resource(resource),
            None => debug_assert!(false, "the resource is set before anything is exported"),
        }
    }
}

impl<E> Exporter<E> {
    fn report(&self, count: usize, result: &OTelSdkResult) {
        let outcome = match result {
            Ok(()) => &OUTCOMES.exported,
            Err(_) => &OUTCOMES.failed,
        };
        outcome.fetch_add(count as u64, Ordering::Relaxed);
        match (
            result,
            self.failing.swap(result.is_err(), Ordering::Relaxed),
        ) {
            (Err(error), false) => {
                warn!(%error, "the collector does not take traces; they are lost")
            }
            (Ok(()), true) => info!("the collector takes traces again"),
            (Ok(()), false) | (Err(_), true) => {}
        }
    }
}
