//! Group messages at a fixed rate from one sender, with the time from sending to each arrival.

use std::time::{Duration, Instant};

use system_tests::player::pdu::command;

use super::{DATA_BYTES, Progress, Workload, group_message, ready_mesh};
use crate::figures::Figures;
use crate::server::Server;

const STALL: Duration = Duration::from_secs(30);

pub(super) struct Rate {
    pub(super) receivers: usize,
    pub(super) per_second: u64,
    pub(super) duration: Duration,
}

impl Workload for Rate {
    fn label(&self) -> String {
        format!("rate {}/s to {}", self.per_second, self.receivers)
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut mesh = ready_mesh(server, self.receivers + 1)?;
        let total = (self.per_second as f64 * self.duration.as_secs_f64()) as u64;
        let receivers = self.receivers as u64;
        let (mut sent, mut received) = (0, 0);
        let mut times = Vec::with_capacity(total as usize * self.receivers);

        let before = server.cpu()?;
        let start = Instant::now();
        let mut progress = Progress::new(start);
        while received < total * receivers {
            let due = start.elapsed().as_secs_f64() * self.per_second as f64;
            let due = (due as u64).min(total);
            while sent < due {
                mesh.queue(0, &stamped(start.elapsed()));
                sent += 1;
            }
            mesh.flush(0);
            let wait = if sent < total { 1 } else { 20 };
            mesh.poll(Duration::from_millis(wait), |frame| {
                if frame.command == command::MESSAGE {
                    times.push(start.elapsed().saturating_sub(stamp(frame.bytes)));
                    received += 1;
                }
            })?;
            progress.note(received);
            if !mesh.all_open() || progress.stalled(STALL) {
                break;
            }
        }
        let elapsed = progress.at.duration_since(start);
        let usage = server.usage_since(&before)?;

        let mut figures = Figures::default();
        figures.add_percentiles(times);
        figures.add(
            "achieved_messages_per_s",
            received as f64 / receivers as f64 / elapsed.as_secs_f64(),
        );
        figures.add_cost("server_us_per_delivery", &usage, received);
        figures.add_share(&usage, elapsed);
        figures.add("lost", (total * receivers - received) as f64);
        Ok(figures)
    }
}

/// A message that says when it was sent.
fn stamped(now: Duration) -> Vec<u8> {
    let mut data = [b'x'; DATA_BYTES];
    data[..8].copy_from_slice(&(now.as_nanos() as u64).to_be_bytes());
    group_message(&data)
}

/// When a message was sent: its data ends the PDU.
fn stamp(message: &[u8]) -> Duration {
    let data = message.last_chunk::<DATA_BYTES>();
    let stamp = data.and_then(|data| data.first_chunk());
    stamp.map_or(Duration::ZERO, |stamp| {
        Duration::from_nanos(u64::from_be_bytes(*stamp))
    })
}
