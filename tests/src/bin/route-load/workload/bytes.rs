//! One-to-one messages between users of different MsgServers: how many copies the server makes of
//! each.

use std::time::{Duration, Instant};

use system_tests::player::pdu::command;

use super::{DATA_BYTES, Progress, Workload, message_to, ready_mesh};
use crate::figures::Figures;
use crate::mesh::{Frame, Mesh};
use crate::server::Server;

/// Messages in flight.
const WINDOW: u64 = 64;

const STALL: Duration = Duration::from_secs(20);

/// Copies that come after the right one are counted until none came for so long.
const SILENCE: Duration = Duration::from_millis(300);

pub(super) struct Bytes {
    pub(super) connections: usize,
    pub(super) messages: u64,
}

impl Workload for Bytes {
    fn label(&self) -> String {
        format!(
            "bytes conns={} messages={}",
            self.connections, self.messages
        )
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let mut mesh = ready_mesh(server, self.connections)?;
        let mut sent = 0;
        let mut bytes_sent = 0;
        let mut arrivals = Arrivals::default();

        let bytes_before = mesh.bytes_received;
        let before = server.cpu()?;
        let mut progress = Progress::new(Instant::now());
        while arrivals.right < self.messages && !progress.stalled(STALL) {
            while sent < self.messages && sent - arrivals.right < WINDOW {
                let to = 1 + sent % (self.connections as u64 - 1);
                let message = addressed(to as u32);
                bytes_sent += message.len();
                mesh.queue(0, &message);
                sent += 1;
            }
            mesh.flush(0);
            mesh.poll(Duration::from_millis(50), |frame| arrivals.take(frame))?;
            progress.note(arrivals.right);
        }
        wait_for_silence(&mut mesh, &mut arrivals)?;
        let usage = server.usage_since(&before)?;

        let mut figures = Figures::default();
        figures.add("reached_receiver", arrivals.right as f64);
        figures.add(
            "copies_per_message",
            arrivals.copies as f64 / self.messages as f64,
        );
        figures.add(
            "bytes_sent_by_server",
            (mesh.bytes_received - bytes_before) as f64,
        );
        figures.add("bytes_sent_to_server", bytes_sent as f64);
        figures.add_cost("server_us_per_message", &usage, self.messages);
        Ok(figures)
    }
}

#[derive(Default)]
struct Arrivals {
    copies: u64,
    /// Those on the connection that holds the receiver.
    right: u64,
}

impl Arrivals {
    fn take(&mut self, frame: Frame<'_>) {
        if frame.command != command::MESSAGE {
            return;
        }
        self.copies += 1;
        // The data ends the PDU and begins with the index of the receiver's connection.
        let data = frame.bytes.last_chunk::<DATA_BYTES>();
        let to = data.and_then(|data| data.first_chunk());
        let right = to.is_some_and(|to| u32::from_be_bytes(*to) as usize == frame.connection);
        self.right += u64::from(right);
    }
}

/// A message to the user of the connection with this index.
fn addressed(to: u32) -> Vec<u8> {
    let mut data = [b'x'; DATA_BYTES];
    data[..4].copy_from_slice(&to.to_be_bytes());
    message_to(to, &data)
}

fn wait_for_silence(mesh: &mut Mesh, arrivals: &mut Arrivals) -> anyhow::Result<()> {
    let mut progress = Progress::new(Instant::now());
    while !progress.stalled(SILENCE) {
        mesh.poll(Duration::from_millis(20), |frame| arrivals.take(frame))?;
        progress.note(arrivals.copies);
    }
    Ok(())
}
