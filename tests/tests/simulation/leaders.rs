//! Promise 10 over a network that stalls and breaks: nodes of one site with a record in memory, whose writes come late, are
//! lost or not answered, and gateways that are played. Nodes are as `route-grpc serve --engine nats` has them, but for
//! how their connections are made, and for the clock of their leases, which a schedule stops.
//!
//! The [`judge`] knows what gateways see, and nothing else.
//!
//! A failing seed is replayed, with all that happened, by `SIM_SEED=<seed> cargo test -p system-tests --test simulation
//! leaders::chance`; `SIM_SEEDS=1000` plays more of them.

mod chance;
mod directed;
mod gateway;
mod judge;
mod node;
mod site;
