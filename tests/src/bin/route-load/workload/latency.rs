//! One one-to-one message at a time from connection 0 to connection 1, nothing else going on.

use std::time::{Duration, Instant};

use system_tests::player::pdu::command;

use super::{ANSWER_LIMIT, DATA_BYTES, Workload, message_to, ready_mesh};
use crate::figures::Figures;
use crate::server::Server;

/// Rounds that are not counted: caches and branch predictors learn.
const WARM_UP: usize = 500;

pub(super) struct Latency {
    pub(super) rounds: usize,
}

impl Workload for Latency {
    fn label(&self) -> String {
        "latency unloaded A to B".to_owned()
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut mesh = ready_mesh(server, 2)?;
        let message = message_to(1, &[b'x'; DATA_BYTES]);
        let mut times = Vec::with_capacity(self.rounds);
        for round in 0..WARM_UP + self.rounds {
            let mut arrived = false;
            let start = Instant::now();
            mesh.send(0, &message);
            while !arrived {
                mesh.poll(Duration::from_secs(1), |frame| {
                    arrived |= frame.command == command::MESSAGE;
                })?;
                mesh.expect_open()?;
                anyhow::ensure!(start.elapsed() < ANSWER_LIMIT, "a message was lost");
            }
            if round >= WARM_UP {
                times.push(start.elapsed());
            }
        }
        let mut figures = Figures::default();
        figures.add_percentiles(times);
        Ok(figures)
    }
}
