//! Hostile input: random bytes and mutated valid PDUs through framing and translation.
//!
//! Runs for a moment in `cargo test`, and for as long as is said by `TEST_FUZZ_SECONDS=60 cargo test -p pdu-gateway
//! --release --test fuzz`. `TEST_FUZZ_SEED` repeats a run; a failure prints its seed.

// A failed run is repeated with the seed that it printed.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use pdu_gateway::pdu::deed::Deed;
use pdu_gateway::pdu::frame::FrameError;
use pdu_gateway::pdu::input::{Session, Tally};
use pdu_gateway::pdu::translate::LIST_PART;
use pdu_gateway::unconfirmed::ledger::{Keep, Ledger};
use route_dialect::{Command, Dialect};
use route_proto::attach::v1::LinkOpened;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::pdu::command;
use route_proto::pdu::{HEADER_LEN, Header};
use route_runtime::quota::Quota;

/// Longest PDU here: small, so that the limit is met often.
const LIMIT: u32 = 64 << 10;

#[test]
fn random_bytes_are_survived() {
    run(|random| {
        let length = random.usize(..4096);
        std::iter::repeat_with(|| random.u8(..))
            .take(length)
            .collect()
    });
}

#[test]
fn mutated_pdus_are_survived() {
    run(|random| {
        let count = random.usize(1..20);
        let mut stream: Vec<u8> = std::iter::repeat_with(|| valid_pdu(random))
            .take(count)
            .flatten()
            .collect();
        mutate(random, &mut stream);
        stream
    });
}

#[test]
fn valid_pdus_are_forwarded_byte_for_byte() {
    run(|random| {
        let count = random.usize(1..20);
        std::iter::repeat_with(|| valid_pdu(random))
            .take(count)
            .flatten()
            .collect()
    });
}

/// Feeds streams to sessions until the time is over.
fn run(mut stream: impl FnMut(&mut Rng) -> Vec<u8>) {
    let seconds = std::env::var("TEST_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let time = seconds.map_or(Duration::from_millis(300), Duration::from_secs_f64);
    let seed = std::env::var("TEST_FUZZ_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("TEST_FUZZ_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let strict = Dialect::standard().with_client_types(&[0x13]);
    let dialects = [Arc::new(strict.clone().lenient()), Arc::new(strict)];
    let until = Instant::now() + time;
    while Instant::now() < until {
        let stream = stream(&mut random);
        check(&mut random, &dialects, &stream);
    }
}

/// What must hold, whatever comes in.
fn check(random: &mut Rng, dialects: &[Arc<Dialect>; 2], stream: &[u8]) {
    let dialect = Arc::clone(&dialects[random.usize(..2)]);
    let mut session = Session::new(dialect, LIMIT, Arc::new(Quota::new(10)).of("m1"));
    let (expected, bad) = split(stream);
    let mut forwarded = Vec::new();
    let mut tally = Tally::default();
    let (mut ledger, _) = Ledger::open(Duration::ZERO, 1, Keep::Contents, LinkOpened::default());
    let mut result = Ok(());
    let mut rest = stream;
    while result.is_ok() && !rest.is_empty() {
        let (piece, tail) = rest.split_at(random.usize(1..=rest.len()));
        rest = tail;
        let mut deeds = Vec::new();
        result = session.receive(Duration::ZERO, piece, &mut deeds, &mut tally);
        for deed in deeds {
            check_deed(&deed);
            if let Deed::Entry(Entry::Envelope(envelope)) = &deed {
                forwarded.push(envelope.pdu.to_vec());
            }
            ledger.record(Duration::ZERO, deed);
        }
    }

    // Framing agrees with a reading of the length fields, and every PDU is accounted for.
    assert_eq!(tally.iter().sum::<u64>(), expected.len() as u64);
    match (result, bad) {
        (Err(FrameError::OtherProtocol(_)), Some(FrameError::TooLong { length, .. }))
            if is_of_another_protocol(length) => {}
        (result, bad) => assert_eq!(result, bad.map_or(Ok(()), Err)),
    }
    // What is forwarded goes out as it came in, in order.
    let envelopes: Vec<_> = expected.iter().filter(|pdu| is_forwarded(pdu)).collect();
    assert_eq!(forwarded.len(), envelopes.len());
    assert!(
        forwarded
            .iter()
            .zip(envelopes)
            .all(|(out, came)| out == came)
    );
    // What is kept is bounded by what came: the smallest update has 22 bytes, and costs one entry.
    assert!(
        ledger.bytes() <= 16 * stream.len() + 1024,
        "{}",
        ledger.bytes()
    );
    // The table takes everything that the translation lets through.
    ledger.confirm(u64::MAX);
    let mut replay = Vec::new();
    ledger.replay(None, &mut replay);
}

fn check_deed(deed: &Deed) {
    let Deed::Entry(entry) = deed else {
        return;
    };
    match entry {
        Entry::List(list) => {
            assert!(list.user_ids.len() <= LIST_PART);
            assert_eq!(list.user_ids.len(), list.client_types.len());
            assert_eq!(list.user_ids.len(), list.statuses.len());
            assert!(list.statuses.iter().all(|status| (1..=3).contains(status)));
            assert!(list.client_types.iter().all(|kind| *kind <= 0xff));
        }
        Entry::Update(update) => {
            assert!((1..=3).contains(&update.status) && update.client_type <= 0xff);
        }
        Entry::Envelope(envelope) => {
            assert!(envelope.scope > 0);
        }
        Entry::Silence(_)
        | Entry::Opened(_)
        | Entry::Table(_)
        | Entry::Closed(_)
        | Entry::Role(_)
        | Entry::Query(_)
        | Entry::Unreadable(_)
        | Entry::Returned(_) => {}
    }
}

/// The PDUs of a stream by their length fields, and what ends it.
fn split(mut stream: &[u8]) -> (Vec<&[u8]>, Option<FrameError>) {
    let mut pdus = Vec::new();
    while let Some((length, _)) = stream.split_first_chunk() {
        let length = u32::from_be_bytes(*length);
        if length < HEADER_LEN as u32 {
            return (pdus, Some(FrameError::TooShort { length }));
        }
        if length > LIMIT {
            let limit = LIMIT;
            return (pdus, Some(FrameError::TooLong { length, limit }));
        }
        let Some((pdu, rest)) = stream.split_at_checked(length as usize) else {
            break;
        };
        pdus.push(pdu);
        stream = rest;
    }
    (pdus, None)
}

/// Whether a length that cannot be is how another protocol begins.
fn is_of_another_protocol(length: u32) -> bool {
    const BEGINNINGS: [&[u8]; 8] = [
        b"PRI ",
        b"GET ",
        b"POST",
        b"HEAD",
        b"PUT ",
        b"OPTI",
        b"SSH-",
        b"\x16\x03",
    ];
    let start = length.to_be_bytes();
    BEGINNINGS.iter().any(|it| start.starts_with(it))
}

fn is_forwarded(pdu: &[u8]) -> bool {
    const FORWARDED: [u16; 8] = [
        command::MESSAGE,
        command::READ_RECEIPT,
        command::P2P_COMMAND,
        command::CONVERSATION_REMOVED,
        command::KICK_USER,
        command::GROUP_CHANGED,
        command::FILE_NOTICE,
        command::SIGNATURE_CHANGED,
    ];
    FORWARDED.contains(&u16::from_be_bytes([pdu[10], pdu[11]]))
}

/// A PDU with a body of fields that commands have; not always all that are required.
fn valid_pdu(random: &mut Rng) -> Vec<u8> {
    let mut body = Vec::new();
    let fields = random.u32(..9);
    for number in 1..=fields {
        match random.u8(..10) {
            0..6 => {
                varint(&mut body, u64::from(number) << 3);
                let value = match random.u8(..4) {
                    0 => random.u64(..),
                    1 => u64::from(random.u32(..)),
                    _ => random.u64(..20),
                };
                varint(&mut body, value);
            }
            6..9 => {
                varint(&mut body, u64::from(number) << 3 | 2);
                let mut inner = Vec::new();
                for field in 1..=random.u64(..4) {
                    varint(&mut inner, field << 3);
                    varint(&mut inner, random.u64(..5));
                }
                varint(&mut body, inner.len() as u64);
                body.extend(inner);
            }
            _ => {
                varint(&mut body, u64::from(number) << 3 | 3);
                varint(&mut body, u64::from(number) << 3 | 4);
            }
        }
    }
    let of_node = [command::DESKTOP_LOGIN_NOTICE, command::STATUS_NOTICE];
    let known: Vec<_> = Command::all().map(Command::standard_id).collect();
    let commands = [&known[..], &of_node, &[0x9999]].concat();
    let header = Header {
        length: (HEADER_LEN + body.len()) as u32,
        version: random.u16(..),
        flag: random.u16(..),
        service: random.u16(..),
        command: commands[random.usize(..commands.len())],
        sequence: random.u16(..),
        reserved: random.u16(..),
    };
    [header.write().as_slice(), &body].concat()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn mutate(random: &mut Rng, stream: &mut Vec<u8>) {
    for _ in 0..random.usize(1..8) {
        if stream.is_empty() {
            return;
        }
        let at = random.usize(..stream.len());
        match random.u8(..5) {
            0 => stream[at] ^= 1 << random.u8(..8),
            1 => stream[at] = random.u8(..),
            2 => stream.insert(at, random.u8(..)),
            3 => {
                stream.remove(at);
            }
            _ => stream.truncate(at),
        }
    }
}
