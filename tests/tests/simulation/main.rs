//! Simulations: real gateways and nodes in one thread, with time that only a schedule moves, and
//! chance that a seed repeats.
//!
//! | room | what is real, what is played |
//! |---|---|
//! | [`handover`] | everything but sockets and gRPC: what may meet what, message by message |
//! | [`network`] | the connections too, over a network that stalls, breaks and lies |
//! | [`leaders`] | several nodes of one site, and who of them leads: gateways are played |
//!
//! They share the [`processes`], what a [`subscriber`] has been told, and the [`seeds`].

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod handover;
mod leaders;
mod network;
mod processes;
mod seeds;
mod subscriber;
