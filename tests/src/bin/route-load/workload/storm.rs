//! Logins and logouts on PC clients: every connection is told of every update.

use std::time::{Duration, Instant};

use system_tests::player::messages;
use system_tests::player::messages::Client::Windows;
use system_tests::player::messages::Status::{Offline, Online};
use system_tests::player::pdu::command;

use super::{Progress, Workload, ready_mesh};
use crate::figures::Figures;
use crate::server::{Kind, Server};

/// Updates in flight, over all connections.
const WINDOW: u64 = 512;

const STALL: Duration = Duration::from_secs(30);

pub(super) struct Storm {
    pub(super) connections: usize,
    pub(super) duration: Duration,
}

impl Workload for Storm {
    fn label(&self) -> String {
        format!("storm conns={}", self.connections)
    }

    fn is_for(&self, kind: Kind) -> bool {
        kind == Kind::Route
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut mesh = ready_mesh(server, self.connections)?;
        let fan = self.connections as u64;
        let (mut sent, mut notices, mut received) = (0, 0, 0);

        let before = server.cpu()?;
        let start = Instant::now();
        let mut progress = Progress::new(start);
        loop {
            let sending = start.elapsed() < self.duration;
            while sending && sent * fan - notices < WINDOW * fan {
                let first_user = 5_000_000 + (sent / 2) as u32;
                for index in 0..self.connections {
                    // a login, then the logout of the same user on the same connection
                    let user = first_user + index as u32;
                    mesh.queue(index, &messages::update(user, Online, Windows).encode());
                    mesh.queue(index, &messages::update(user, Offline, Windows).encode());
                    mesh.flush(index);
                }
                sent += 2 * fan;
            }
            if !sending && notices >= sent * fan {
                break;
            }
            mesh.poll(Duration::from_millis(50), |frame| {
                received += 1;
                notices += u64::from(frame.command == command::STATUS_NOTICE);
            })?;
            progress.note(notices);
            if !mesh.all_open() || progress.stalled(STALL) {
                break;
            }
        }
        let elapsed = progress.at.duration_since(start);
        let usage = server.usage_since(&before)?;

        let seconds = elapsed.as_secs_f64();
        let handled = notices / fan;
        let mut figures = Figures::default();
        figures.add("updates_per_s", handled as f64 / seconds);
        figures.add("notices_per_s", received as f64 / seconds);
        figures.add_cost("server_us_per_update", &usage, handled);
        figures.add_cost("server_us_per_notice", &usage, received);
        figures.add_share(&usage, elapsed);
        figures.add("missing", (sent * fan).saturating_sub(notices) as f64);
        Ok(figures)
    }
}
