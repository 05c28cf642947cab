//! Small inputs that the C++ RouteServer does not survive, or answers wrongly.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::Instant;

use super::timing::tenths;
use super::{Scenario, forwards, measured, wants};
use crate::player::connection::BARRIER_LIMIT;
use crate::player::connection::Ending;
use crate::player::messages::{self, Client, Status};
use crate::player::pdu::{Pdu, command};
use crate::player::schema;
use crate::player::wire;
use crate::recording::Outcome;
use crate::stage::Stage;

/// Within this a server has closed a connection that it means to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// OFFLINE and nothing else, as a status answer says it.
const OFFLINE: u32 = Status::Offline as u32;

pub(super) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    // IsPduAvailable accepts any length except 0; the body's length is computed as length - 16 and
    // wraps.
    for (length, command) in [
        (1, command::MESSAGE),
        (15, command::MESSAGE),
        (8, command::USERS_STATUS_QUERY),
        (15, command::USERS_STATUS_QUERY),
        (12, command::USER_STATUS_UPDATE),
        (15, command::ONLINE_USER_LIST),
        (4, 0x9999),
    ] {
        let name = format!("bug_length_{length:02}_cmd_{command:04x}");
        let play = Scenario::new(name, move |stage| {
            Box::pin(short_length(stage, length, command))
        });
        all.push(play.judged(stream_is_intact).fresh());
    }
    // The value is cast to the status enum of 0x0203; protobuf asserts on it and aborts the
    // process.
    for status in [0, 4, 99] {
        let name = format!("bug_update_pc_status_{status}");
        let play = Scenario::new(name, move |stage| Box::pin(odd_status(stage, status)));
        all.push(play.judged(server_lives).fresh());
    }
    all.extend([
        Scenario::new("bug_close_pc_elsewhere_mobile", |stage| {
            Box::pin(close_pc_elsewhere_mobile(stage))
        })
        .judged(|outcome| Vec::from_iter(wants(outcome, "status_after", OFFLINE))),
        Scenario::new("bug_status_change_counts_as_login", |stage| {
            Box::pin(status_change_counts_as_login(stage))
        })
        .judged(|outcome| Vec::from_iter(wants(outcome, "status_after_offline", OFFLINE))),
        Scenario::new("bug_fin_right_after_data", |stage| {
            Box::pin(fin_right_after_data(stage))
        })
        .judged(gone_at_once),
    ]);
    all
}

/// A header that claims a length below 16: that connection is closed, and nobody else notices.
async fn short_length(s: &mut Stage, length: u32, command: u16) {
    s.open(&["A", "B", "C"]).await;
    s.mute("A");
    let body = [wire::number(1, 1u32), wire::number(2, 2u32)].concat();
    s.raw("A", &Pdu::new(command, body).encode_claiming(length))
        .await;
    let closed = s["A"].closes(CLOSE_LIMIT).await;
    s.fact("A_closed", closed);
    s.settle().await;
    let message = forwards::p2p().sequence(77);
    s.say("C", message.clone()).await;
    let intact = s["B"].received() == [message.encode()] && s["B"].unframed().is_empty();
    s.fact("B_stream_intact", intact);
    still_serves(s).await;
}

fn stream_is_intact(outcome: &Outcome) -> Vec<String> {
    let facts = ["A_closed", "B_stream_intact", "server_alive"];
    facts
        .iter()
        .filter_map(|fact| wants(outcome, fact, true))
        .collect()
}

/// An update whose status is none, from a desktop: the server must survive it.
async fn odd_status(s: &mut Stage, status: u32) {
    s.open(&["A", "B"]).await;
    s.say(
        "A",
        messages::update_with(s.uid(1), status, Client::Windows),
    )
    .await;
    still_serves(s).await;
}

fn server_lives(outcome: &Outcome) -> Vec<String> {
    Vec::from_iter(wants(outcome, "server_alive", true))
}

/// Desktop on A, mobile on B, and A's connection closes: the desktop is gone with it. C++ counts
/// per user, and answers ONLINE until B's connection ends too.
async fn close_pc_elsewhere_mobile(s: &mut Stage) {
    s.open(&["A", "B", "C"]).await;
    let user = s.uid(1);
    s.say("A", messages::update(user, Status::Online, Client::Windows))
        .await;
    s.say("B", messages::update(user, Status::Online, Client::Ios))
        .await;
    s.close("A", Ending::Fin).await;
    s.settle().await;
    s.ask("C", &[user]).await;
    s.fact("status_after", last_status(s, "C"));
    s.say("B", messages::update(user, Status::Offline, Client::Ios))
        .await;
    s.ask("C", &[user]).await;
    s.fact("status_after_mobile_off", last_status(s, "C"));
}

/// One desktop goes ONLINE, LEAVE, ONLINE, OFFLINE: that was one login. C++ counts three.
async fn status_change_counts_as_login(s: &mut Stage) {
    s.open(&["A", "B"]).await;
    let user = s.uid(1);
    for status in [
        Status::Online,
        Status::Leave,
        Status::Online,
        Status::Offline,
    ] {
        s.say("A", messages::update(user, status, Client::Windows))
            .await;
    }
    s.ask("B", &[user]).await;
    s.fact("status_after_offline", last_status(s, "B"));
}

/// A MsgServer's last bytes and its FIN arrive while the server is busy, as in a normal exit under
/// load: its users are OFFLINE at once. C++ reads the data, takes the end for "nothing more now",
/// and waits for an event that never comes.
async fn fin_right_after_data(s: &mut Stage) {
    const PATIENCE: Duration = Duration::from_secs(40);
    s.open(&["A", "B", "busy"]).await;
    let user = s.uid(1);
    s.say("A", messages::online(&[user])).await;
    s.mute("busy");
    keep_busy(s, "busy").await;
    s.send("A", Pdu::bare(command::HEARTBEAT)).await;
    s.close("A", Ending::Fin).await;
    let start = Instant::now();
    let mut gone = None;
    while gone.is_none() && start.elapsed() < PATIENCE {
        s.send("B", messages::query(1, &[user], None)).await;
        s["B"].barrier(BARRIER_LIMIT).await;
        if last_status(s, "B") == OFFLINE {
            gone = Some(tenths(start.elapsed()));
        }
    }
    s.fact("seconds_until_offline", gone);
}

fn gone_at_once(outcome: &Outcome) -> Vec<String> {
    let seconds = measured(outcome, "seconds_until_offline");
    if seconds < 2.0 {
        return Vec::new();
    }
    vec![format!("users stay ONLINE for {seconds} s after the close")]
}

/// Gives the server about a tenth of a second of work, so that what follows arrives together.
pub(super) async fn keep_busy(s: &Stage, name: &str) {
    let users: Vec<_> = (0..20_000).collect();
    s[name].count_only();
    let query = messages::query(1, &users, None).encode();
    s.raw(name, &query.repeat(30)).await;
}

/// Notes whether a new connection gets an answer, and whether the processes still run.
pub(super) async fn still_serves(s: &mut Stage) {
    let probe = format!("probe{}", s.len());
    let answered = s.is_answered(&probe).await;
    let runs = s.deployment().is_none_or(|servers| servers.is_alive());
    s.fact("server_alive", answered && runs);
}

/// The first status in the last answer that came.
fn last_status(s: &Stage, name: &str) -> Json {
    let received = s[name].received();
    let status = received.last().and_then(|raw| {
        let answer = Pdu::parse(raw);
        let body = schema::of_command(answer.command)?
            .read(&answer.body)
            .ok()?;
        body.messages("user_stat_list").next()?.number("status")
    });
    Json::from(status)
}
