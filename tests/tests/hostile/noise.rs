//! Random bytes, random frames, mutated PDUs: by fixed seeds, 32 MiB of them unless `TT_HOSTILE_MIB` says more.

use std::net::SocketAddr;

use fastrand::Rng;
use system_tests::deployment::Setup;
use system_tests::player::connection::Connection;
use system_tests::player::pdu::Pdu;
use system_tests::player::stage::BARRIER_LIMIT;

use crate::{Siege, connect, every_command};

/// How much of each kind goes to each set-up, in MiB, if nothing is said.
const DEFAULT_MIB: usize = 32;
/// Memory that it may cost: tables and logs fill up, but within limits.
const GROWTH: u64 = 256 << 20;
/// Bytes of one write.
const CHUNK: usize = 64 << 10;

#[tokio::test]
async fn random_bytes_embedded() {
    noise(Setup::Embedded, random_bytes).await;
}

#[tokio::test]
async fn random_bytes_two_processes() {
    noise(Setup::TwoProcesses, random_bytes).await;
}

#[tokio::test]
async fn random_frames_embedded() {
    noise(Setup::Embedded, random_frames).await;
}

#[tokio::test]
async fn random_frames_two_processes() {
    noise(Setup::TwoProcesses, random_frames).await;
}

#[tokio::test]
async fn mutated_pdus_embedded() {
    noise(Setup::Embedded, mutated_pdus).await;
}

#[tokio::test]
async fn mutated_pdus_two_processes() {
    noise(Setup::TwoProcesses, mutated_pdus).await;
}

/// Sends `chunk` after `chunk`, on a new connection whenever the server has closed the last one.
async fn noise(setup: Setup, chunk: fn(&mut Rng) -> Vec<u8>) {
    let mut siege = Siege::begin(setup, &[]).await;
    let mut rng = Rng::with_seed(7);
    let mut left = megabytes() << 20;
    let mut hostile = noisy(siege.address()).await;
    while left > 0 {
        let bytes = chunk(&mut rng);
        left = left.saturating_sub(bytes.len());
        if hostile.is_closed() || hostile.write(&bytes).await.is_err() {
            hostile = noisy(siege.address()).await;
        }
    }
    siege.settle(hostile).await;
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
    let asked = std::env::var("TT_HOSTILE_MIB").ok();
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

/// Valid PDUs with single bytes changed, mostly in the body: the stream holds for a while, then breaks.
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
