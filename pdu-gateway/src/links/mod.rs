//! MsgServers' connections.

pub mod admission;
pub mod brake;
pub mod connection;
pub mod fills;
pub mod gateway;
pub mod host;
pub mod link;
pub mod listener;
pub mod network;
pub mod output;
pub mod peer;
pub mod ports;
pub mod pressure;
pub mod proxy;
mod reader;
pub mod refusals;
pub mod registry;
pub mod run;
pub mod strangers;
pub mod tick;
mod writer;
