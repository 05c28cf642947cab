//! What the core costs: `cargo bench -p route-core`.

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use route_core::{
    Audience, Change, ClientType, CloseReason, Command, Core, Effect, LinkId, ListEntry,
    ReportedStatus, Settings, UserId,
};

const MESSAGE: Command = Command {
    id: 0x0301,
    dialect: 0,
};

const NOW: Duration = Duration::ZERO;
const WINDOWS: ClientType = ClientType::published(1);

fn link(number: u64) -> LinkId {
    LinkId::new(1, number)
}

/// So many links, each with so many users of its own; ids are scattered over 32 bits.
fn core_of(links: u64, users_each: u64) -> Core {
    let mut core = Core::new(Settings::default());
    for number in 1..=links {
        let peer = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 4000));
        let opened = Change::Opened {
            peer: peer.into(),
            restored: None,
        };
        let mut transaction = core.transaction(NOW);
        transaction
            .apply(link(number), 1, opened, Effect::Notify)
            .unwrap();
        let entries: Vec<ListEntry> = (0..users_each)
            .map(|i| ListEntry {
                user: user((number - 1) * users_each + i),
                client_type: WINDOWS,
                status: ReportedStatus::Online,
            })
            .collect();
        let list = Change::List {
            entries: &entries,
            last: true,
        };
        transaction
            .apply(link(number), 2, list, Effect::Notify)
            .unwrap();
    }
    core
}

fn user(i: u64) -> UserId {
    UserId(((i + 1) * 2_654_435_761) as u32)
}

fn fan_out(c: &mut Criterion) {
    let pdu = Bytes::from(vec![0; 1024]);
    let mut group = c.benchmark_group("route");
    for links in [2, 10, 50] {
        let mut core = core_of(links, 100);
        let mut sequence = 10;
        group.throughput(Throughput::Elements(64 * (links - 1)));
        group.bench_function(format!("64 group messages to {}", links - 1), |b| {
            b.iter(|| {
                let mut transaction = core.transaction(NOW);
                for _ in 0..64 {
                    sequence += 1;
                    transaction
                        .route(
                            link(1),
                            sequence,
                            MESSAGE,
                            Audience::Reporters,
                            pdu.clone(),
                            None,
                        )
                        .unwrap();
                }
                black_box(transaction.outputs().drain().count());
            });
        });
    }
    let mut core = core_of(50, 20_000);
    let mut sequence = 10;
    group.throughput(Throughput::Elements(64));
    group.bench_function("64 messages to one user each, 1 M users", |b| {
        b.iter(|| {
            let mut transaction = core.transaction(NOW);
            for i in 0..64 {
                sequence += 1;
                let users = [user(i).0, user(sequence * 7919 % 1_000_000).0];
                transaction
                    .route(
                        link(1),
                        sequence,
                        MESSAGE,
                        Audience::Users(&users),
                        pdu.clone(),
                        None,
                    )
                    .unwrap();
            }
            black_box(transaction.outputs().drain().count());
        });
    });
    group.finish();
}

fn presence(c: &mut Criterion) {
    let mut group = c.benchmark_group("presence");
    let core = core_of(10, 100_000);
    group.throughput(Throughput::Elements(1000));
    group.bench_function("status of 1000 users of 1 M", |b| {
        b.iter(|| {
            let online = (0..1000).filter(|i| core.view().legacy_online(user(i * 1999)));
            black_box(online.count())
        });
    });

    let mut core = core_of(10, 100_000);
    let mut sequence = 10;
    group.throughput(Throughput::Elements(2));
    group.bench_function("login and logout, 10 links", |b| {
        b.iter(|| {
            let mut transaction = core.transaction(NOW);
            for status in [ReportedStatus::Online, ReportedStatus::Offline] {
                sequence += 1;
                let update = Change::Update {
                    user: UserId(77),
                    client_type: WINDOWS,
                    status,
                };
                transaction
                    .apply(link(1), sequence, update, Effect::Notify)
                    .unwrap();
            }
            black_box(transaction.outputs().drain().count());
        });
    });

    group.throughput(Throughput::Elements(100_000));
    group.sample_size(10);
    group.bench_function("a link with 100 000 of 1 M users closes", |b| {
        b.iter_batched_ref(
            || core_of(10, 100_000),
            |core| {
                let closed = Change::Closed {
                    reason: CloseReason::Peer,
                };
                core.transaction(NOW)
                    .apply(link(1), 3, closed, Effect::Notify)
                    .unwrap();
                core.transaction(NOW).proceed(u64::MAX);
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("a list of 100 000 users", |b| {
        b.iter_batched(
            || (),
            |()| black_box(core_of(1, 100_000)),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, fan_out, presence);
criterion_main!(benches);
