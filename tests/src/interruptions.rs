//! The hand-over between real processes: MsgServers work through two gateways while the node is
//! killed, restarted, cut off.
//!
//! The story: a [`site`] of processes with [`cable`]s between them is interrupted again and again;
//! `msg_server`s send numbered messages, report what their [`population`](crate::cast::population)
//! does, and ask; the [`judge`](crate::cast::judge) knows what is due to whom, and a [`report`]
//! says what became of it. If asked for, others [besiege](crate::siege) the site meanwhile, and
//! the [`memory`] of its processes is looked at.
//!
//! What is absent: repetition to the letter. A seed fixes the dice, not the speed of processes; the
//! simulation in `tests/simulation` is there for that.

pub mod cable;
mod course;
mod gateways;
pub mod memory;
mod msg_server;
pub mod report;
pub mod several;
pub mod site;
mod traffic;

pub use course::{Course, Interruption, run};
use gateways::Gateways;
pub use traffic::Load;
