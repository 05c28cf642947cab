//! Heartbeats and time-outs. The one play whose subject is time: its clock is half a second a step.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::{Instant, interval};

use super::{Scenario, plays};

use crate::player::connection::BARRIER_LIMIT;
use crate::player::pdu::{Pdu, command};
use crate::player::schema::hex;
use crate::stage::Stage;

pub(super) fn all() -> Vec<Scenario> {
    plays![heartbeat_and_timeout]
}

/// Heartbeats come after 5 s without sending, looked at once a second. A connection from which
/// nothing came for 30 s is closed, and its users vanish silently. Any byte counts as life. Other
/// traffic to a connection defers its heartbeat.
async fn heartbeat_and_timeout(s: &mut Stage) {
    const STEP: Duration = Duration::from_millis(500);
    const STEPS: usize = 80;
    s.open(&["idle", "alive", "watch", "busy", "drip"]).await;
    s.online("idle", &[s.uid(1)]).await;
    s["idle"].barrier(BARRIER_LIMIT).await;
    let start = Instant::now();
    s.mute("idle");
    s.mute("drip");
    let heartbeat = Pdu::bare(command::HEARTBEAT).encode();
    let never_whole = Pdu::new(command::MESSAGE, vec![b'x'; 200]).encode();
    let mut clock = interval(STEP);
    for step in 0..STEPS {
        clock.tick().await;
        if step % 6 == 0 {
            s.raw("alive", &heartbeat).await;
            s.raw("watch", &heartbeat).await;
            s.raw("drip", &never_whole[step / 6..=step / 6]).await;
        }
        if step % 4 == 0 {
            // Each answer is traffic to this connection only.
            s["busy"].barrier(BARRIER_LIMIT).await;
        }
        if s["idle"].is_closed() {
            break;
        }
    }
    s.ask("watch", &[s.uid(1)]).await;

    let gone = s["idle"].closed_at().map(|at| tenths(at - start));
    let beats = s["watch"].heartbeats();
    let gaps: Vec<f64> = (beats.windows(2).take(4))
        .map(|pair| tenths(pair[1].at - pair[0].at))
        .collect();
    let first = beats.first().map(|beat| hex(&beat.raw));
    s.fact("seconds_to_timeout", gone);
    s.fact("heartbeat_gaps", gaps);
    s.fact("heartbeat_bytes", first.map_or(Json::Null, Json::from));
    s.fact("idle_got_heartbeats", !s["idle"].heartbeats().is_empty());
    s.fact("busy_heartbeats", s["busy"].heartbeats().len());
    s.fact("alive_open", !s["alive"].is_closed());
    s.fact("drip_open", !s["drip"].is_closed());
}

/// Seconds, rounded as in the recordings.
pub(super) fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}
