//! A million users in ten lists: time and memory. Then one of the ten connections goes away, while
//! an eleventh asks.

use std::time::{Duration, Instant};

use prost::Message as _;
use route_proto::legacy::im::buddy::ImUsersStatRsp;
use system_tests::player::messages::Status;
use system_tests::player::pdu::command;

use super::{ANSWER_LIMIT, Workload, barrier, online_list, query, ready_mesh};
use crate::figures::{Figures, median};
use crate::mesh::Mesh;
use crate::server::{Kind, Server};

/// Connections that hold the users; the next one asks.
const HOLDERS: usize = 10;
const ASKER: usize = HOLDERS;

/// Questions before the close, to compare with those after it.
const QUIET_QUESTIONS: usize = 300;

/// How long is asked after the close.
const AFTER_CLOSE: Duration = Duration::from_secs(2);

/// How user ids are spread.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ids {
    /// They count up.
    Dense,
    /// Over all 32 bits.
    Scattered,
}

pub(super) struct Users {
    pub(super) total: u32,
    pub(super) ids: Ids,
}

impl Workload for Users {
    fn label(&self) -> String {
        let kind = match self.ids {
            Ids::Dense => "dense",
            Ids::Scattered => "scattered",
        };
        format!("users {kind} ids, {} on {HOLDERS}", self.total)
    }

    fn is_for(&self, kind: Kind) -> bool {
        kind == Kind::Route
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut mesh = ready_mesh(server, HOLDERS + 1)?;
        let mut figures = Figures::default();
        self.load(server, &mut mesh, &mut figures)?;
        self.close(server, &mut mesh, &mut figures)?;
        Ok(figures)
    }
}

impl Users {
    fn load(&self, server: &Server, mesh: &mut Mesh, figures: &mut Figures) -> anyhow::Result<()> {
        let each = self.total / HOLDERS as u32;
        let lists: Vec<Vec<u8>> = (0..HOLDERS as u32)
            .map(|holder| holder * each..(holder + 1) * each)
            .map(|numbers| online_list(numbers.map(|number| self.id(number))))
            .collect();

        let memory_before = server.resident_bytes();
        let before = server.cpu()?;
        let start = Instant::now();
        for (holder, list) in lists.iter().enumerate() {
            mesh.send(holder, list);
        }
        barrier(mesh, 0..HOLDERS)?;
        let elapsed = start.elapsed();
        let usage = server.usage_since(&before)?;
        let memory = server.resident_bytes();

        let total = f64::from(self.total);
        figures.add("load_seconds", elapsed.as_secs_f64());
        figures.add_cost("load_server_us_per_user", &usage, u64::from(self.total));
        figures.add("rss_before_mb", megabytes(memory_before));
        figures.add("rss_loaded_mb", megabytes(memory));
        figures.add(
            "rss_bytes_per_user",
            (memory as f64 - memory_before as f64) / total,
        );
        Ok(())
    }

    fn close(&self, server: &Server, mesh: &mut Mesh, figures: &mut Figures) -> anyhow::Result<()> {
        // A user of connection 0, which is the one that closes.
        let user = self.id(1);
        let mut quiet = Vec::with_capacity(QUIET_QUESTIONS);
        for _ in 0..QUIET_QUESTIONS {
            quiet.push(millis(ask(mesh, user)?.took));
        }

        let before = server.cpu()?;
        let start = Instant::now();
        mesh.close(0);
        let mut worst = Duration::ZERO;
        let mut offline_after = f64::NAN;
        while start.elapsed() < AFTER_CLOSE {
            let answer = ask(mesh, user)?;
            worst = worst.max(answer.took);
            if offline_after.is_nan() && answer.status == Status::Offline as i32 {
                offline_after = millis(start.elapsed());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let usage = server.usage_since(&before)?;

        figures.add("quiet_answer_p50_ms", median(&quiet));
        figures.add(
            "quiet_answer_max_ms",
            quiet.iter().copied().fold(0.0, f64::max),
        );
        figures.add("close_worst_answer_ms", millis(worst));
        figures.add("close_users_offline_after_ms", offline_after);
        figures.add("close_server_cpu_ms", millis(usage.total));
        figures.add("rss_after_close_mb", megabytes(server.resident_bytes()));
        Ok(())
    }

    fn id(&self, number: u32) -> u32 {
        match self.ids {
            Ids::Dense => 1_000_000 + number,
            // Knuth's multiplier: a permutation of all 32-bit numbers.
            Ids::Scattered => (number + 1).wrapping_mul(2_654_435_761),
        }
    }
}

struct Answer {
    status: i32,
    took: Duration,
}

/// Asks for one user on the connection that holds none.
fn ask(mesh: &mut Mesh, user: u32) -> anyhow::Result<Answer> {
    const SEQUENCE: u16 = 3;

    let start = Instant::now();
    mesh.send(ASKER, &query(SEQUENCE, &[user]));
    let mut body = None;
    while body.is_none() {
        anyhow::ensure!(start.elapsed() < ANSWER_LIMIT, "no answer from the server");
        mesh.poll(Duration::from_millis(100), |frame| {
            if frame.connection == ASKER && frame.command == command::USERS_STATUS_ANSWER {
                body = Some(frame.body().to_vec());
            }
        })?;
    }
    let took = start.elapsed();
    let answer = ImUsersStatRsp::decode(&body.unwrap_or_default()[..])?;
    let [user] = &answer.user_stat_list[..] else {
        anyhow::bail!("{} answers for one", answer.user_stat_list.len());
    };
    Ok(Answer {
        status: user.status,
        took,
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
