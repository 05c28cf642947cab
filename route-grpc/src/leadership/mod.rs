//! Which of several nodes leads: the rules of `route_leadership`, at work.

pub mod engine;
