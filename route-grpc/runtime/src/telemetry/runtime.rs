//! What the tokio runtime says about itself: whether there are enough workers, and who keeps them
//! busy.

use opentelemetry::metrics::Meter;
use tokio::runtime::Handle;

/// Declares the instruments, for the runtime that this is called on; silent without one.
pub(super) fn observe(meter: &Meter) {
    let Ok(handle) = Handle::try_current() else {
        return;
    };
    let runtime = handle.metrics();
    meter
        .f64_observable_counter("teamtalk.runtime.busy.time")
        .with_unit("s")
        .with_description("Time that workers spent running tasks, all workers together")
        .with_callback(move |seconds| {
            let busy = (0..runtime.num_workers()).map(|it| runtime.worker_total_busy_duration(it));
            seconds.observe(busy.map(|it| it.as_secs_f64()).sum(), &[]);
        })
        .build();
    let runtime = handle.metrics();
    meter
        .u64_observable_gauge("teamtalk.runtime.workers")
        .with_unit("{thread}")
        .with_description("Threads that run tasks")
        .with_callback(move |count| count.observe(runtime.num_workers() as u64, &[]))
        .build();
    let runtime = handle.metrics();
    meter
        .u64_observable_gauge("teamtalk.runtime.tasks")
        .with_unit("{task}")
        .with_description("Tasks that have not ended")
        .with_callback(move |count| count.observe(runtime.num_alive_tasks() as u64, &[]))
        .build();
    let runtime = handle.metrics();
    meter
        .u64_observable_gauge("teamtalk.runtime.queued")
        .with_unit("{task}")
        .with_description("Tasks that are ready and wait for any worker")
        .with_callback(move |count| count.observe(runtime.global_queue_depth() as u64, &[]))
        .build();
}
