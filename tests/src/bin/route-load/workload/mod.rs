//! What is measured: one file per workload.
//!
//! Every connection registers one user, so that a server that routes by user has somebody to route
//! to. Group messages go to everybody but the sender, one-to-one messages to one connection.

mod bytes;
mod flood;
mod forward;
mod latency;
mod rate;
mod status;
mod storm;
mod subscribers;
mod users;
mod watchers;

use std::time::{Duration, Instant};

use system_tests::player::messages::{self, Client, GROUP_TEXT, SINGLE_TEXT, Status};
use system_tests::player::pdu::command;

use crate::cli::{LoadOptions, Test};
use crate::figures::Figures;
use crate::mesh::Mesh;
use crate::server::{Kind, Server};

/// User of connection 0; the others count up.
const FIRST_USER: u32 = 9_000_000;

/// A group that nobody knows: servers do not look at it.
const GROUP: u32 = 900;

/// Number of all messages: four bytes long, as most are.
const MESSAGE: u32 = 1_000_000;

/// Length of the data of chat messages.
const DATA_BYTES: usize = 1000;

/// No answer for so long means that none will come.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// One way to use a server.
pub(crate) trait Workload {
    /// Names the workload and its parameters.
    fn label(&self) -> String;

    /// Whether such a server can play along: the relay does not know who is online.
    fn is_for(&self, kind: Kind) -> bool {
        kind != Kind::Nats
    }

    /// Uses the server once and says what was seen. An error if the server does not play along.
    fn run(&self, server: &Server) -> anyhow::Result<Figures>;
}

/// The workloads that were asked for, in the order in which they are measured.
pub(crate) fn selected(options: &LoadOptions) -> Vec<Box<dyn Workload>> {
    let duration = Duration::from_secs_f64(options.seconds);
    let (megabytes, rounds, total) = amounts(options.quick);
    let mut list: Vec<Box<dyn Workload>> = Vec::new();
    if options.wants(Test::Forward) {
        for (connections, senders) in [(2, 1), (2, 2), (10, 1), (10, 10), (50, 1), (50, 50)] {
            list.push(Box::new(forward::Forward {
                connections,
                senders,
                duration,
            }));
        }
    }
    if options.wants(Test::Flood) {
        for connections in [2, 10] {
            list.push(Box::new(flood::Flood {
                connections,
                megabytes,
            }));
        }
    }
    if options.wants(Test::Latency) {
        list.push(Box::new(latency::Latency { rounds }));
    }
    if options.wants(Test::Rate) {
        for per_second in [1_000, 5_000, 20_000] {
            list.push(Box::new(rate::Rate {
                receivers: 10,
                per_second,
                duration,
            }));
        }
    }
    if options.wants(Test::Status) {
        for ids in [1, 100, 1000] {
            list.push(Box::new(status::Status { ids, duration }));
        }
    }
    if options.wants(Test::Users) {
        for ids in [users::Ids::Dense, users::Ids::Scattered] {
            list.push(Box::new(users::Users { total, ids }));
        }
    }
    if options.wants(Test::Storm) {
        list.push(Box::new(storm::Storm {
            connections: 10,
            duration,
        }));
    }
    if options.wants(Test::Bytes) {
        for connections in [10, 50] {
            list.push(Box::new(bytes::Bytes {
                connections,
                messages: 10_000,
            }));
        }
    }
    list.extend(of_services(options, duration));
    list
}

/// Those with services over gRPC.
fn of_services(options: &LoadOptions, duration: Duration) -> Vec<Box<dyn Workload>> {
    let mut list: Vec<Box<dyn Workload>> = Vec::new();
    if options.wants(Test::Subscribers) {
        list.extend(subscribers::all(duration));
    }
    if options.wants(Test::Watchers) {
        list.push(Box::new(watchers::Watchers { duration }));
    }
    list
}

/// Of a flood, of rounds of latency, of users.
fn amounts(quick: bool) -> (usize, usize, u32) {
    if quick {
        (5, 2_000, 100_000)
    } else {
        (20, 20_000, 1_000_000)
    }
}

/// Connections that each hold one user, [`FIRST_USER`] + index, logged in on a PC; the server has
/// handled that.
fn ready_mesh(server: &Server, connections: usize) -> anyhow::Result<Mesh> {
    let mut mesh = Mesh::connect(server.address, connections)?;
    for index in 0..connections {
        let user = FIRST_USER + index as u32;
        mesh.send(index, &online_list(std::iter::once(user)));
    }
    barrier(&mut mesh, 0..connections)?;
    Ok(mesh)
}

/// Waits until the server has answered a status request on each of these connections.
fn barrier(
    mesh: &mut Mesh,
    connections: impl ExactSizeIterator<Item = usize>,
) -> anyhow::Result<()> {
    const SEQUENCE: u16 = 0xfffe;

    let mut waiting = connections.len();
    for index in connections {
        mesh.send(index, &query(SEQUENCE, &[1]));
    }
    let start = Instant::now();
    while waiting > 0 {
        anyhow::ensure!(start.elapsed() < ANSWER_LIMIT, "no answer from the server");
        mesh.expect_open()?;
        mesh.poll(Duration::from_millis(100), |frame| {
            if frame.command == command::USERS_STATUS_ANSWER && frame.sequence == SEQUENCE {
                waiting -= 1;
            }
        })?;
    }
    Ok(())
}

/// These users are logged in on a PC.
fn online_list(users: impl Iterator<Item = u32>) -> Vec<u8> {
    let online: Vec<_> = users
        .map(|user| (user, Status::Online, Client::Windows))
        .collect();
    messages::list(&online).encode()
}

/// Asks for the status of users, with 12 bytes of attached data, as a MsgServer does.
fn query(sequence: u16, users: &[u32]) -> Vec<u8> {
    let query = messages::query(1, users, Some(&[0; 12]));
    query.sequence(sequence).encode()
}

/// A chat message to everybody but connection 0; its data ends the PDU.
fn group_message(data: &[u8]) -> Vec<u8> {
    messages::message(FIRST_USER, GROUP, MESSAGE, GROUP_TEXT, data).encode()
}

/// The same to the user of the connection with this index.
fn message_to(index: u32, data: &[u8]) -> Vec<u8> {
    messages::message(FIRST_USER, FIRST_USER + index, MESSAGE, SINGLE_TEXT, data).encode()
}

/// Sees whether something still comes.
struct Progress {
    seen: u64,
    /// When the count last changed.
    at: Instant,
}

impl Progress {
    fn new(start: Instant) -> Self {
        Self { seen: 0, at: start }
    }

    fn note(&mut self, count: u64) {
        if count != self.seen {
            self.seen = count;
            self.at = Instant::now();
        }
    }

    fn stalled(&self, limit: Duration) -> bool {
        self.at.elapsed() > limit
    }
}
