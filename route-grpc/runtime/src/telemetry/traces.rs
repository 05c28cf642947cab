//! Traces: spans of OpenTelemetry, sent to a collector by OTLP over gRPC.
//!
//! The standard `OTEL_*` variables configure them; without an endpoint they are off. One PDU in a
//! thousand begins a trace. [`Roots`] decides that before anything is done for the PDU, and later
//! hops see it by the `traceparent`. All other PDUs cost the comparison of a number.
//!
//! Spans are made by hand where a PDU passes from one hop to the next, not from the spans of
//! `tracing`. So the exporter, and the gRPC client below it, never export what they log themselves.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, SdkTracer, SdkTracerProvider, ShouldSample,
};
use tracing::info;

use super::otel::{self, Signal};
use super::spans_out;

/// Set once, as the subscriber of `tracing` is.
static TRACES: OnceLock<Traces> = OnceLock::new();

/// Where spans are made.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// What share of PDUs and calls begins a trace.
    ratio: f64,
}

/// What this process sends to a collector; `None`: nothing.
pub fn traces() -> Option<&'static Traces> {
    TRACES.get()
}

/// Begins to send traces if the `OTEL_*` variables say where to. Call it on the runtime that is to
/// send.
pub fn init_traces(
    service_name: &'static str,
    version: &'static str,
) -> Result<(), ExporterBuildError> {
    if !otel::is_sent(Signal::Traces) {
        return Ok(());
    }
    let exporter = SpanExporter::builder().with_tonic().build()?;
    let ratio = otel::ratio();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Decided(sampler(ratio)))
        .with_resource(otel::resource(service_name, version))
        .with_span_processor(spans_out::processor(exporter, otel::queue_size()))
        .build();
    info!(ratio, "sending traces");
    let _ = TRACES.set(Traces {
        tracer: provider.tracer(service_name),
        provider,
        ratio,
    });
    Ok(())
}

/// Sends the spans that wait, for at most this long, and ends. False: some were lost.
pub(super) fn finish(within: Duration) -> bool {
    traces().is_none_or(|traces| traces.provider.shutdown_with_timeout(within).is_ok())
}

impl Traces {
    /// A span without parent. The caller has decided that there is to be a trace; see [`Roots`].
    pub fn root(&self, name: &'static str, kind: SpanKind, start: SystemTime) -> Span {
        self.span(name, kind, start, &Context::new().with_value(Wanted))
    }

    /// A span below the one that a W3C `traceparent` names; `None` if that is not traced.
    pub fn child(
        &self,
        traceparent: &str,
        name: &'static str,
        kind: SpanKind,
        start: SystemTime,
    ) -> Option<Span> {
        let parent = parse(traceparent).filter(SpanContext::is_sampled)?;
        let parent = Context::new().with_remote_span_context(parent);
        let span = self.span(name, kind, start, &parent);
        span.0.is_recording().then_some(span)
    }

    /// The span of a call: below the caller's span if it sent one, else a root, by chance.
    pub fn call(&self, traceparent: Option<&str>, name: &'static str) -> Option<Span> {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
        let parent = match traceparent.and_then(parse) {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None if fastrand::f64() < self.ratio => Context::new().with_value(Wanted),
            None => return None,
        };
        let span = Span(self.tracer.build_with_context(builder, &parent));
        span.0.is_recording().then_some(span)
    }

    fn span(
        &self,
        name: &'static str,
        kind: SpanKind,
        start: SystemTime,
        parent: &Context,
    ) -> Span {
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_start_time(start);
        Span(self.tracer.build_with_context(builder, parent))
    }
}

/// One hop of what is traced. Ends when it is dropped.
pub struct Span(opentelemetry_sdk::trace::Span);

impl Span {
    /// Names this span to the next hop, as W3C says.
    pub fn traceparent(&self) -> String {
        let it = self.0.span_context();
        let (trace, span, flags) = (it.trace_id(), it.span_id(), it.trace_flags().to_u8());
        format!("00-{trace}-{span}-{flags:02x}")
    }

    /// Tells something about the hop. No user data.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.set_attribute(KeyValue::new(key, value));
    }

    /// The hop did not do what it should.
    pub fn fail(&mut self, why: &'static str) {
        self.0.set_status(Status::error(why));
    }

    /// Runs something in the span: log lines get its ids, and [`current`] finds it.
    pub fn within<R>(&self, run: impl FnOnce() -> R) -> R {
        let context = Context::new().with_remote_span_context(self.0.span_context().clone());
        let _entered = context.attach();
        run()
    }

    /// For a future that is to run in the span: log lines get its ids, and [`current`] finds it.
    pub fn into_context(self) -> Context {
        Context::new().with_span(self.0)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.traceparent()).finish()
    }
}

/// `traceparent` of the current span; `None` if it is not sampled.
pub fn current() -> Option<String> {
    current_ids().map(|(trace, span)| format!("00-{trace}-{span}-01"))
}

/// The ids of the current span; `None` if it is not sampled.
pub(super) fn current_ids() -> Option<(TraceId, SpanId)> {
    Context::map_current(|context| {
        let span = context.span();
        let it = span.span_context();
        it.is_sampled().then(|| (it.trace_id(), it.span_id()))
    })
}

/// Which of many things begin a trace. Decides how many to pass over instead of deciding about
/// each, so that a batch costs one comparison.
#[derive(Debug, Default)]
pub struct Roots {
    /// How many to pass over before the next root; `None`: not decided yet.
    left: Option<usize>,
}

impl Roots {
    /// The place of the next root among this many things; `None`: it comes later.
    pub fn among(&mut self, traces: &Traces, count: usize) -> Option<usize> {
        let left = self.left.get_or_insert_with(|| gap(traces.ratio));
        if *left >= count {
            *left -= count;
            return None;
        }
        let place = *left;
        *left = gap(traces.ratio);
        Some(place)
    }
}

/// How many are passed over if each is a root with this probability: the geometric distribution.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates: never
fn gap(ratio: f64) -> usize {
    if ratio <= 0.0 {
        return usize::MAX;
    }
    // Between 0, exclusive, and 1.
    let chance = 1.0 - fastrand::f64();
    (chance.ln() / (1.0 - ratio).ln()) as usize
}

/// Marks the parent of a root that [`Roots`] has chosen.
#[derive(Debug)]
struct Wanted;

/// The sampler within, but it takes every root that [`Roots`] has chosen.
#[derive(Debug, Clone)]
struct Decided(Sampler);

impl ShouldSample for Decided {
    fn should_sample(
        &self,
        parent_context: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        span_kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        if parent_context.is_some_and(|context| context.get::<Wanted>().is_some()) {
            return SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: TraceState::default(),
            };
        }
        self.0
            .should_sample(parent_context, trace_id, name, span_kind, attributes, links)
    }
}

fn sampler(ratio: f64) -> Sampler {
    let own = Sampler::TraceIdRatioBased(ratio);
    match otel::follows_parents() {
        true => Sampler::ParentBased(Box::new(own)),
        false => own,
    }
}

/// `version-trace-span-flags`, in lower-case hex; a later version may have more behind that.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let mut part = |length: usize| {
        let digits = |it: &&str| it.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        parts.next().filter(|it| it.len() == length).filter(digits)
    };
    let version = part(2)?;
    let trace_id = TraceId::from_hex(part(32)?).ok()?;
    let span_id = SpanId::from_hex(part(16)?).ok()?;
    let flags = u8::from_str_radix(part(2)?, 16).ok()?;
    if version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let parent = SpanContext::new(trace_id, span_id, flags, true, TraceState::default());
    parent.is_valid().then_some(parent)
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::InMemorySpanExporter;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_w3c_says() {
        let parent = parse(PARENT).unwrap();
        assert!(parent.is_sampled() && parent.is_remote());
        assert_eq!(parent.trace_id().to_string(), &PARENT[3..35]);
        assert!(parse(&PARENT.replace("00-0af", "01-0af")).is_some());
        assert!(parse(&format!("{}-more", PARENT.replace("00-0af", "cc-0af"))).is_some());
        assert!(!parse(&PARENT.replace("-01", "-00")).unwrap().is_sampled());

        for wrong in [
            "",
            "00",
            &format!("{PARENT}-more"),
            &PARENT.replace("00-0af", "ff-0af"),
            &PARENT.to_uppercase(),
            &PARENT.replace("b7ad6b7169203331", "0000000000000000"),
            &PARENT.replace("b7ad", "b7a"),
            &PARENT.replace("7ad", "é"),
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn children_follow_their_parents_whatever_the_ratio() {
        let (traces, exported) = traces_to_memory(0.0);

        let unsampled = PARENT.replace("-01", "-00");
        let start = SystemTime::now();
        let child = traces
            .child(PARENT, "hop", SpanKind::Internal, start)
            .unwrap();
        let next = traces.child(&child.traceparent(), "next", SpanKind::Internal, start);
        assert!(
            traces
                .child(&unsampled, "hop", SpanKind::Internal, start)
                .is_none()
        );
        assert!(traces.child("", "hop", SpanKind::Internal, start).is_none());
        assert!(traces.call(None, "call").is_none());
        assert!(traces.call(Some(PARENT), "call").is_some());
        drop((child, next));

        traces.provider.force_flush().unwrap();
        let spans = exported.get_finished_spans().unwrap();
        let span = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        assert_eq!(span("hop").parent_span_id.to_string(), &PARENT[36..52]);
        assert_eq!(
            span("next").parent_span_id,
            span("hop").span_context.span_id()
        );
        assert!(
            spans
                .iter()
                .all(|it| it.span_context.trace_id().to_string() == PARENT[3..35])
        );
    }

    #[test]
    fn roots_come_as_often_as_they_should() {
        let roots = |ratio: f64, of: usize| {
            let (traces, _) = traces_to_memory(ratio);
            let mut roots = Roots::default();
            (0..of)
                .filter(|_| roots.among(&traces, 1).is_some())
                .count()
        };

        assert_eq!(roots(1.0, 100), 100);
        assert_eq!(roots(0.0, 100), 0);
        // Nine standard deviations to either side.
        let some = roots(0.01, 100_000);
        assert!((700..1300).contains(&some), "{some}");
    }

    #[test]
    fn a_root_is_traced_and_found_where_it_is_worked_in() {
        let (traces, _) = traces_to_memory(0.0);
        let root = traces.root("root", SpanKind::Server, SystemTime::now());

        assert_eq!(current(), None);
        assert_eq!(root.within(current), Some(root.traceparent()));
        assert_eq!(current(), None);
    }

    fn traces_to_memory(ratio: f64) -> (Traces, InMemorySpanExporter) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Decided(sampler(ratio)))
            .with_simple_exporter(exporter.clone())
            .build();
        let tracer = provider.tracer("test");
        let traces = Traces {
            provider,
            tracer,
            ratio,
        };
        (traces, exporter)
    }
}
