//! Pipelined status requests; half of the users asked for are online.

use std::time::{Duration, Instant};

use system_tests::player::pdu::command;

use super::{Workload, barrier, online_list, query, ready_mesh};
use crate::figures::Figures;
use crate::server::{Kind, Server};

/// Users that are online, with ids from 0; as many ids above them are not.
const USERS: u32 = 100_000;

/// Requests that differ, sent in turn.
const REQUESTS: u32 = 64;

pub(super) struct Status {
    pub(super) ids: u32,
    pub(super) duration: Duration,
}

impl Workload for Status {
    fn label(&self) -> String {
        format!("status ids={}", self.ids)
    }

    fn is_for(&self, kind: Kind) -> bool {
        kind == Kind::Route
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut mesh = ready_mesh(server, 2)?;
        mesh.send(1, &online_list(0..USERS));
        barrier(&mut mesh, std::iter::once(1))?;
        let window = if self.ids >= 1000 { 8 } else { 32 };
        let requests: Vec<Vec<u8>> = (0..REQUESTS).map(|number| self.request(number)).collect();
        let mut next = requests.iter().cycle();
        let (mut sent, mut received) = (0, 0);

        let before = server.cpu()?;
        let start = Instant::now();
        loop {
            let sending = start.elapsed() < self.duration;
            while sending && sent - received < window {
                mesh.queue(0, next.next().map_or(&[], Vec::as_slice));
                sent += 1;
            }
            mesh.flush(0);
            if !sending && received == sent {
                break;
            }
            mesh.poll(Duration::from_millis(50), |frame| {
                received += u64::from(frame.command == command::USERS_STATUS_ANSWER);
            })?;
            mesh.expect_open()?;
            anyhow::ensure!(
                start.elapsed() < self.duration + super::ANSWER_LIMIT,
                "an answer is missing"
            );
        }
        let elapsed = start.elapsed();
        let usage = server.usage_since(&before)?;

        let seconds = elapsed.as_secs_f64();
        let mut figures = Figures::default();
        figures.add("requests_per_s", received as f64 / seconds);
        figures.add("ids_per_s", received as f64 * f64::from(self.ids) / seconds);
        figures.add_cost("server_us_per_request", &usage, received);
        figures.add_share(&usage, elapsed);
        Ok(figures)
    }
}

impl Status {
    /// Ids that jump about, so that the server's caches do not help.
    fn request(&self, number: u32) -> Vec<u8> {
        let id = |index| (number * 7_919 + index * 104_729) % (2 * USERS);
        query(1, &(0..self.ids).map(id).collect::<Vec<_>>())
    }
}
