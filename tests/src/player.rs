//! Plays MsgServers: builds and reads PDUs, keeps connections, records what each one gets.
//!
//! [`stage::Stage`] is where a test starts: named connections, one record each. The layers below it
//! are a [`connection::Connection`], the [`pdu`] frame, and bodies: [`messages`] builds valid ones,
//! [`wire`] builds any others field by field, [`schema`] reads them.

pub mod connection;
pub mod messages;
pub mod pair;
pub mod pdu;
pub mod schema;
pub mod stage;
pub mod wire;
