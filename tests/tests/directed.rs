//! Promise 3, directed: with `--fan-out directed` a link gets a PDU exactly when its MsgServer
//! would do something with it, and promise 1, order.
//!
//! First the main cases, to be read; then random reports and PDUs in set-ups of 2, 3 and 20
//! MsgServers, where the model of [`system_tests::rules`] says who gets what. Every MsgServer
//! connects from an address of its own, so that roles play no part.

#[path = "directed/bodies.rs"]
mod bodies;
#[path = "directed/cases.rs"]
mod cases;
#[path = "directed/dialects.rs"]
mod dialects;
#[path = "directed/random.rs"]
mod random;

use fastrand::Rng;
use system_tests::player::connection::Options;
use system_tests::player::pdu::Pdu;
use system_tests::player::wire;

/// Connects from the loopback address of this number.
fn from_own_address(number: usize) -> Options {
    Options::from_loopback(u8::try_from(number + 10).expect("set-ups are small"))
}

/// The same with a part of its body changed: most do not parse any more, some mean something
/// else.
fn mutated(dice: &mut Rng, pdu: &Pdu) -> Pdu {
    let mut body = pdu.body.to_vec();
    match dice.u8(..5) {
        0 => body.truncate(dice.usize(..=body.len())),
        1 => body.extend(wire::number(dice.u32(1..25), dice.u64(..))),
        2 => body.extend(wire::bytes(dice.u32(1..25), [dice.u8(..)])),
        3 => body.insert(dice.usize(..=body.len()), dice.u8(..)),
        _ => {
            if let Some(byte) = dice.choice(&mut body) {
                *byte ^= 1 << dice.u8(..8);
            }
        }
    }
    Pdu::new(pdu.command, body)
}
