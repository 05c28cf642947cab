//! Group messages of 1 KB for a while, with a bounded number in flight per sender.

use std::time::{Duration, Instant};

use system_tests::player::pdu::command;

use super::{DATA_BYTES, Progress, Workload, group_message, ready_mesh};
use crate::figures::Figures;
use crate::process::own_cpu;
use crate::server::Server;

/// Messages in flight per sender.
const WINDOW: u64 = 64;

/// Messages per write.
const BURST: u64 = 8;

const STALL: Duration = Duration::from_secs(60);

pub(super) struct Forward {
    pub(super) connections: usize,
    pub(super) senders: usize,
    pub(super) duration: Duration,
}

impl Workload for Forward {
    fn label(&self) -> String {
        let (connections, senders) = (self.connections, self.senders);
        format!("forward conns={connections} senders={senders} window={WINDOW}")
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut mesh = ready_mesh(server, self.connections)?;
        let message = group_message(&[b'x'; DATA_BYTES]);
        let fan = self.connections as u64 - 1;
        let in_flight = WINDOW * self.senders as u64 * fan;
        let (mut sent, mut received) = (0, 0);
        let mut senders = (0..self.senders).cycle();

        let before = server.cpu()?;
        let own_before = own_cpu();
        let start = Instant::now();
        let mut progress = Progress::new(start);
        let mut sending = true;
        while sending || received < sent * fan {
            sending = sending && start.elapsed() < self.duration;
            while sending && sent * fan - received < in_flight {
                let sender = senders.next().unwrap_or(0);
                for _ in 0..BURST {
                    mesh.queue(sender, &message);
                }
                sent += BURST;
                mesh.flush(sender);
            }
            mesh.poll(Duration::from_millis(50), |frame| {
                received += u64::from(frame.command == command::MESSAGE);
            })?;
            progress.note(received);
            if !mesh.all_open() || progress.stalled(STALL) {
                break;
            }
        }
        let elapsed = progress.at.duration_since(start);
        let usage = server.usage_since(&before)?;
        let own = own_cpu().saturating_sub(own_before);

        let seconds = elapsed.as_secs_f64();
        let mut figures = Figures::default();
        figures.add("deliveries_per_s", received as f64 / seconds);
        figures.add("messages_per_s", received as f64 / fan as f64 / seconds);
        figures.add_cost("server_us_per_delivery", &usage, received);
        figures.add_share(&usage, elapsed);
        figures.add("generator_cpu_share", own.as_secs_f64() / seconds);
        figures.add("lost", (sent * fan - received) as f64);
        Ok(figures)
    }
}
