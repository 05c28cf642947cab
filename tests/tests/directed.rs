//! Promise 3, directed: with `--fan-out directed` a link gets a PDU exactly when its MsgServer
//! would do something with it, and promise 1, order.
//!
//! First the main cases, to be read; then random reports and PDUs in set-ups of 2, 3 and 20
//! MsgServers, where the model of [`system_tests::rules`] says who gets what. Every MsgServer
//! connects from an address of its own, so that roles play no part.

#[path = "directed/cases.rs"]
mod cases;
#[path = "directed/dialects.rs"]
mod dialects;
#[path = "directed/random.rs"]
mod random;

use system_tests::player::connection::Options;

/// Connects from the loopback address of this number.
fn from_own_address(number: usize) -> Options {
    Options::from_loopback(u8::try_from(number + 10).expect("set-ups are small"))
}
