//! The links: what is known of each, which there are, and which gateways can be reached.

mod facts;
mod groups;
mod index;
mod reach;

pub(crate) use facts::{Claim, Doubt, Link, Part, Phase, Reported};
pub(crate) use groups::Identity;
pub(crate) use index::Links;
pub use reach::Reach;
