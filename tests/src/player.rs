//! Plays MsgServers: builds and reads PDUs, keeps connections, records what each one gets.
//!
//! A [`connection::Connection`] carries PDUs in their frames ([`pdu`]). Of bodies, [`messages`] builds
//! valid ones, [`wire`] any others field by field, and [`schema`] reads them. Of other clients, one
//! that does not end its request ([`unfinished`]).

pub mod connection;
pub mod messages;
pub mod pair;
pub mod pdu;
pub mod schema;
pub mod unfinished;
pub mod wire;
