//! Random bytes, random frames, mutated PDUs: by fixed seeds, 32 MiB of them unless
//! `TEST_HOSTILE_MIB` says more.
//!
//! They are made on several threads, so that the pair waits for the server only.

use std::net::SocketAddr;

use fastrand::Rng;
use system_tests::deployment::Setup;
use system_tests::player::connection::BARRIER_LIMIT;
use system_tests::player::connection::Connection;
use system_tests::player::pdu::Pdu;

use crate::{Siege, connect, every_command, show};

/// How much of each kind goes to each set-up, in MiB, if nothing is said.
const DEFAULT_MIB: usize = 32;
/// Memory that it may cost: tables and logs fill up, but within limits.
const GROWTH: u64 = 256 << 20;
/// Bytes that the gateway has read. Those of the pair do not matter.
const RECEIVED: &str = "teamtalk_pdu_received_size_bytes_total";
/// Writes between two looks at that.
const CHUNKS: usize = 64;
/// Bytes of one write.
const CHUNK: usize = 64 << 10;

system_tests::in_both_setups! {
    random_bytes: noise(random_bytes);
    random_frames: noise(random_frames);
    mutated_pdus: noise(mutated_pdus);
}

/// Sends `chunk` after `chunk`, on a new connection whenever the server has closed the last one,
/// until the server has read enough: what it closes a connection on does not count.
async fn noise(setup: Setup, chunk: fn(&mut Rng) -> Vec<u8>) {
    let mut siege = Siege::begin(setup, &[]).await;
    let mut rng = Rng::with_seed(7);
    let wanted = (megabytes() << 20) as f64;
    let before = siege.metric(RECEIVED, "").await;
    let mut connections = 1;
    let mut hostile = noisy(siege.address()).await;
    while siege.metric(RECEIVED, "").await - before < wanted {
        for _ in 0..CHUNKS {
            if hostile.is_closed() || hostile.write(&chunk(&mut rng)).await.is_err() {
                hostile = noisy(siege.address()).await;
                connections += 1;
            }
        }
    }
    siege.settle(hostile).await;
    show(&format!(
        "{wanted} bytes were read, from {connections} connections"
    ));
    siege.end(GROWTH).await;
}

async fn noisy(address: SocketAddr) -> Connection {
    let connection = connect(address).await;
    connection.count_only();
    connection
}

impl Siege {
    /// What was written last has been handled, or has been answered by a close.
    async fn settle(&mut self, hostile: Connection) {
        let _ = hostile.half_close();
        hostile.closes(BARRIER_LIMIT).await;
    }
}

fn megabytes() -> usize {
    let asked = std::env::var("TEST_HOSTILE_MIB").ok();
    asked
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_MIB)
}

/// Bytes without any structure: nearly all begin with an impossible length.
fn random_bytes(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK];
    rng.fill(&mut bytes);
    bytes
}

/// Frames with a true length, a random header, and a random body.
fn random_frames(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CHUNK);
    let commands: Vec<u16> = every_command().iter().map(|pdu| pdu.command).collect();
    while bytes.len() < CHUNK {
        let mut body = vec![0; rng.usize(..256)];
        rng.fill(&mut body);
        let known = rng.choice(&commands).copied().unwrap_or_default();
        let command = if rng.bool() { known } else { rng.u16(..) };
        let pdu = Pdu {
            version: rng.u16(..),
            flag: rng.u16(..),
            service: rng.u16(..),
            reserved: rng.u16(..),
            ..Pdu::new(command, body)
        };
        bytes.extend(pdu.sequence(rng.u16(..)).encode());
    }
    bytes
}

/// Valid PDUs with single bytes changed, mostly in the body: the stream holds for a while, then
/// breaks.
fn mutated_pdus(rng: &mut Rng) -> Vec<u8> {
    let valid = every_command();
    let mut bytes = Vec::with_capacity(CHUNK);
    while bytes.len() < CHUNK {
        let mut pdu = rng.choice(&valid).map(Pdu::encode).unwrap_or_default();
        for _ in 0..rng.usize(..3) {
            // One change in a thousand hits the length.
            let first = if rng.u16(..1000) == 0 { 0 } else { 4 };
            let place = rng.usize(first..pdu.len());
            pdu[place] = rng.u8(..);
        }
        bytes.extend(pdu);
    }
    bytes
}
