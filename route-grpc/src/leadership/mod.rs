//! Which of several nodes leads: the rules of `route_leadership`, at work.

mod candidate;
mod counts;
mod lead;
mod stand_by;
mod term;

pub use term::Leadership;
