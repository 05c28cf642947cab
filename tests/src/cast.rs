//! The MsgServers of interruptions and simulations: what their users do, what is due to whom, and
//! what became of it.

pub mod judge;
pub mod msg_server;
pub mod population;
pub mod tally;
