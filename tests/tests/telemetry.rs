//! What a collector sees of a PDU's way, and that nobody suffers when telemetry has nowhere to go.

#[path = "telemetry/collector.rs"]
mod collector;
#[path = "telemetry/outages.rs"]
mod outages;
#[path = "telemetry/traces.rs"]
mod traces;
