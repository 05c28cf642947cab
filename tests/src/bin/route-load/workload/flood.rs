//! A fixed amount of group messages without any window: everything that the sockets take, at once.

use std::time::{Duration, Instant};

use system_tests::player::pdu::command;

use super::{DATA_BYTES, Progress, Workload, group_message, ready_mesh};
use crate::figures::Figures;
use crate::server::Server;

const STALL: Duration = Duration::from_secs(60);

pub(super) struct Flood {
    pub(super) connections: usize,
    pub(super) megabytes: usize,
}

impl Workload for Flood {
    fn label(&self) -> String {
        format!(
            "flood conns={} {}MB unpaced",
            self.connections, self.megabytes
        )
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut mesh = ready_mesh(server, self.connections)?;
        let message = group_message(&[b'x'; DATA_BYTES]);
        let messages = self.megabytes * 1_000_000 / message.len();
        let expected = (messages * (self.connections - 1)) as u64;
        let flood = message.repeat(messages);
        let mut received = 0;

        let before = server.cpu()?;
        let start = Instant::now();
        let mut progress = Progress::new(start);
        mesh.send(0, &flood);
        while received < expected && mesh.all_open() && !progress.stalled(STALL) {
            mesh.poll(Duration::from_millis(50), |frame| {
                received += u64::from(frame.command == command::MESSAGE);
            })?;
            progress.note(received);
        }
        let seconds = progress.at.duration_since(start).as_secs_f64();
        let usage = server.usage_since(&before)?;

        let mut figures = Figures::default();
        figures.add("deliveries_per_s", received as f64 / seconds);
        figures.add_cost("server_us_per_delivery", &usage, received);
        figures.add("seconds", seconds);
        figures.add("lost", (expected - received) as f64);
        Ok(figures)
    }
}
