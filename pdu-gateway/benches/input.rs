//! What reading costs: framing, translation, and both together as a session does it.
//!
//! `cargo bench -p pdu-gateway`

// The macros of criterion document nothing.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pdu_gateway::pdu::frame::Framer;
use pdu_gateway::pdu::input::{Session, Tally};
use pdu_gateway::pdu::translate::translate;
use prost::Message;
use route_dialect::{AnswerTo, Dialect};
use route_proto::legacy::im;
use route_proto::pdu::{HEADER_LEN, command, framed};
use route_runtime::quota::Quota;

/// As much as one read takes.
const READ: usize = 256 << 10;

const LIMIT: u32 = 16 << 20;

fn framing(c: &mut Criterion) {
    let mut group = c.benchmark_group("framing");
    for length in [18, 1024] {
        let stream = repeat(&pdu(command::MESSAGE, &vec![0; length - HEADER_LEN]));
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(format!("{length} byte PDUs"), |b| {
            b.iter(|| {
                let mut framer = Framer::new(LIMIT);
                let mut rest = stream.as_slice();
                let mut pdus = 0;
                while let Ok(Some(pdu)) = framer.next(&mut rest) {
                    pdus += pdu.body().len();
                }
                pdus
            });
        });
    }
}

fn translation(c: &mut Criterion) {
    let dialect = Dialect::standard();
    let mut group = c.benchmark_group("translation");
    let bodies = [
        ("message", command::MESSAGE, message(1, 1000)),
        ("update", command::USER_STATUS_UPDATE, update()),
        ("list of 10 000", command::ONLINE_USER_LIST, list(10_000)),
        ("query of 100", command::USERS_STATUS_QUERY, query(100)),
    ];
    for (name, command, body) in &bodies {
        group.throughput(Throughput::Elements(1));
        group.bench_function(*name, |b| {
            b.iter(|| translate(&dialect, *command, black_box(body)));
        });
    }
}

fn session(c: &mut Criterion) {
    let mut group = c.benchmark_group("session");
    let streams = [
        (
            "1 KB messages",
            repeat(&pdu(command::MESSAGE, &message(0x11, 1000))),
        ),
        (
            "updates",
            repeat(&pdu(command::USER_STATUS_UPDATE, &update())),
        ),
        ("heartbeats", repeat(&Dialect::published().heartbeat())),
    ];
    for (name, stream) in &streams {
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(*name, |b| {
            b.iter_batched_ref(
                || {
                    (
                        Session::new(
                            Arc::new(Dialect::standard()),
                            LIMIT,
                            Arc::new(Quota::new(10)).of("m1"),
                        ),
                        Vec::new(),
                    )
                },
                |(session, deeds)| {
                    let mut tally = Tally::default();
                    let received = session.receive(Duration::ZERO, stream, deeds, &mut tally);
                    deeds.clear();
                    received
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn answer(c: &mut Criterion) {
    let user_ids: Vec<u32> = (9_000_000..9_001_000).collect();
    let mut out = Vec::new();
    let dialect = Dialect::standard();
    c.bench_function("answer about 1000", |b| {
        b.iter(|| {
            out.clear();
            let to = AnswerTo {
                sequence: 1,
                requester: 2,
                user_ids: &user_ids,
                attach_data: b"0123456789ab",
            };
            dialect.write_status_answer(&mut out, to, [true; 1000]);
            out.len()
        });
    });
}

criterion_group!(benches, framing, translation, session, answer);
criterion_main!(benches);

fn repeat(pdu: &[u8]) -> Vec<u8> {
    pdu.repeat(READ / pdu.len())
}

fn pdu(command: u16, body: &[u8]) -> Vec<u8> {
    framed(command, 0, body).to_vec()
}

fn message(msg_type: i32, length: usize) -> Vec<u8> {
    let message = im::message::ImMsgData {
        from_user_id: 9_000_001,
        to_session_id: 9_000_002,
        msg_id: 1_000_000,
        create_time: 1_700_000_000,
        msg_type,
        msg_data: vec![7; length].into(),
        attach_data: None,
    };
    message.encode_to_vec()
}

fn update() -> Vec<u8> {
    let update = im::server::ImUserStatusUpdate {
        user_status: 1,
        user_id: 9_000_001,
        client_type: 1,
    };
    update.encode_to_vec()
}

fn list(length: u32) -> Vec<u8> {
    let entry = |user_id| im::base_define::ServerUserStat {
        user_id,
        status: 1,
        client_type: 1,
    };
    let list = im::server::ImOnlineUserInfo {
        user_stat_list: (9_000_000..9_000_000 + length).map(entry).collect(),
    };
    list.encode_to_vec()
}

fn query(length: u32) -> Vec<u8> {
    let query = im::buddy::ImUsersStatReq {
        user_id: 1,
        user_id_list: (9_000_000..9_000_000 + length).collect(),
        attach_data: None,
    };
    query.encode_to_vec()
}
