//! The legacy gateway.

pub mod codec;
pub mod command;
pub mod frame;
pub mod ledger;
pub mod output;
pub mod pressure;
pub mod run;
pub mod table;
pub mod takeover;
pub mod translate;
pub mod wire;
