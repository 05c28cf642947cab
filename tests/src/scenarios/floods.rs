//! Much input at once: a claim of 4 GiB, a reader that does not read, a flood.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, timeout};

use super::defects::{keep_busy, still_serves};
use super::timing::tenths;
use super::{Scenario, measured, wants};
use crate::player::connection::BARRIER_LIMIT;
use crate::player::connection::Options;
use crate::player::messages;
use crate::player::pdu::{Pdu, command};
use crate::player::wire;
use crate::recording::Outcome;
use crate::stage::Stage;

/// How long something that C++ takes minutes for may take before the play goes on.
const PATIENCE: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

pub(super) fn all() -> Vec<Scenario> {
    let huge = Scenario::new("bug_huge_length_claim", |stage| {
        Box::pin(huge_length_claim(stage))
    });
    let slow = Scenario::new("bug_slow_consumer", |stage| Box::pin(slow_consumer(stage)));
    let mut all = vec![
        huge.judged(claim_is_refused).fresh(),
        slow.judged(only_the_slow_one_suffers).fresh(),
    ];
    // C++ reads until there is nothing more before it handles anything, and every handled PDU moves
    // the rest of the buffer down; a stall beyond 30 s then times out every connection.
    for (label, size, unit) in [
        ("18_byte_12MB", 12 * MIB, messages::role(0)),
        ("1KB_messages_32MB", 32 * MIB, message(1_000)),
        ("10KB_messages_100MB", 100 * MIB, message(10_000)),
    ] {
        let unit = unit.encode();
        let play = Scenario::new(format!("bug_flood_{label}"), move |stage| {
            Box::pin(flood(stage, unit.repeat(size / unit.len())))
        });
        all.push(play.judged(others_are_served).fresh());
    }
    all
}

/// A message with this much data, and nothing else in it.
fn message(size: usize) -> Pdu {
    Pdu::new(command::MESSAGE, wire::bytes(6, vec![0; size]))
}

/// One connection claims a PDU of 4 GiB and streams 300 MB of it: the length is to be refused, not
/// buffered.
async fn huge_length_claim(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    s.mute("A");
    let before = resident_mib(s);
    s.raw("A", &Pdu::bare(command::MESSAGE).encode_claiming(u32::MAX))
        .await;
    let chunk = vec![0; MIB];
    for _ in 0..300 {
        let written = timeout(BARRIER_LIMIT, s.raw("A", &chunk)).await;
        if written.is_err() || s["A"].is_closed() {
            break;
        }
    }
    s["B"].barrier(PATIENCE).await;
    s.fact("A_closed", s["A"].is_closed());
    s.fact("rss_growth_mb", resident_mib(s) - before);
    still_serves(s).await;
}

fn claim_is_refused(outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::from_iter(wants(outcome, "server_alive", true));
    wrong.extend(wants(outcome, "A_closed", true));
    let growth = measured(outcome, "rss_growth_mb");
    if growth >= 64.0 {
        wrong.push(format!("memory grew by {growth} MB for one connection"));
    }
    wrong
}

/// B stops reading while A sends 200 MB of 10 KB messages, paced so that its own input never piles
/// up; then B reads on. Memory stays bounded, C gets every message and quick answers.
async fn slow_consumer(s: &mut Stage) {
    const ROUNDS: usize = 1_000;
    const MESSAGES_A_ROUND: usize = 20;
    const SENT: usize = ROUNDS * MESSAGES_A_ROUND;
    s.open(&["A", "C"]).await;
    let small = Options {
        receive_buffer: Some(8192),
        ..Options::default()
    };
    s.open_with("B", small).await;
    s.mute("B");
    s["B"].pause().await;
    s["C"].count_only();
    let before = resident_mib(s);
    let block = message(10_000).encode().repeat(MESSAGES_A_ROUND);
    for _ in 0..ROUNDS {
        s.raw("A", &block).await;
        s["A"].barrier(PATIENCE).await;
    }
    let got_all = s["C"].counts(SENT, PATIENCE).await;
    s.sync("C").await;
    s.fact("C_got_all", got_all && s["C"].count() == SENT);
    s.fact("rss_growth_mb", resident_mib(s) - before);

    let start = Instant::now();
    let mut worst = Duration::ZERO;
    s["B"].count_only();
    s["B"].resume();
    while !s["B"].is_closed() && s["B"].count() < SENT && start.elapsed() < PATIENCE {
        worst = worst.max(answer_time(s, "C").await);
    }
    s.fact("drain_seconds", tenths(start.elapsed()));
    s.fact("worst_answer_ms_while_draining", worst.as_millis() as u64);
    s.fact("B_got_all", s["B"].count() == SENT);
    s.fact("B_closed", s["B"].is_closed());
    s.fact("rss_kept_mb_after_drain", resident_mib(s) - before);
    still_serves(s).await;
}

fn only_the_slow_one_suffers(outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::from_iter(wants(outcome, "C_got_all", true));
    wrong.extend(wants(outcome, "server_alive", true));
    let growth = measured(outcome, "rss_growth_mb");
    if growth > 150.0 {
        wrong.push(format!("memory grew by {growth} MB"));
    }
    let waited = measured(outcome, "worst_answer_ms_while_draining");
    if waited > 500.0 {
        wrong.push(format!(
            "others waited {waited} ms while the backlog drained"
        ));
    }
    wrong
}

/// A sends all of `flood` at once while the server is busy: another connection's request does not
/// wait for all of it, and nobody is dropped.
async fn flood(s: &mut Stage, flood: Vec<u8>) {
    const EVERYBODY: [&str; 4] = ["A", "B", "C", "busy"];
    s.open(&EVERYBODY).await;
    for name in ["A", "C", "busy"] {
        s.mute(name);
    }
    s["B"].count_only();
    s["C"].count_only();
    keep_busy(s, "busy").await;
    let writer = s["A"].writer().expect("connected");
    let start = Instant::now();
    let flooding = tokio::spawn(async move { writer.write(&flood).await });
    let mut worst = Duration::ZERO;
    while !s["B"].is_closed() {
        let last_time = flooding.is_finished() || start.elapsed() > PATIENCE;
        worst = worst.max(answer_time(s, "B").await);
        if last_time {
            break;
        }
    }
    let written = flooding.is_finished();
    flooding.abort();
    let handled = written && s["A"].barrier(PATIENCE).await;
    s.fact("flood_handled", handled);
    s.fact("flood_seconds", tenths(start.elapsed()));
    s.fact("other_waited_s", tenths(worst));
    s.sync("B").await;
    let dropped: Vec<_> = (EVERYBODY.iter().filter(|name| s[name].is_closed())).collect();
    s.fact("dropped", json!(dropped));
    still_serves(s).await;
}

fn others_are_served(outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::from_iter(wants(outcome, "flood_handled", true));
    wrong.extend(wants(outcome, "dropped", json!([])));
    wrong.extend(wants(outcome, "server_alive", true));
    let waited = measured(outcome, "other_waited_s");
    if waited > 2.0 {
        wrong.push(format!("another connection waited {waited} s"));
    }
    wrong
}

/// How long a request takes to be answered now.
async fn answer_time(s: &Stage, name: &str) -> Duration {
    let asked = Instant::now();
    s[name].barrier(PATIENCE).await;
    asked.elapsed()
}

/// Memory of the servers, 0 where the play may not look at them.
fn resident_mib(s: &Stage) -> i64 {
    let bytes = s.deployment().map_or(0, |servers| servers.resident_bytes());
    (bytes / MIB as u64) as i64
}
