//! What a standby counts of the calls that it passes on.

use std::time::Duration;

use route_runtime::tls::client::ClientTls;

use super::played_leader::{PlayedLeader, end};
use super::{Front, GET, NAMES, WATCH};
use crate::site::soon;
use crate::wire::Said;

impl Front {
    /// Waits until so many calls have come to this end.
    async fn counts(&self, outcome: &str, count: usize) {
        let label = format!("outcome=\"{outcome}\"");
        let value = format!(" {count}");
        let is_said = |line: &str| {
            let is_it = line.starts_with("teamtalk_route_passed_on_calls_total{");
            is_it && line.contains(&label) && line.ends_with(&value)
        };
        self.says(&format!("{count} {outcome}"), is_said).await;
    }

    /// The same of streams that are open.
    async fn streams(&self, count: usize) {
        let value = format!(" {count}");
        let is_said = |line: &str| {
            line.starts_with("teamtalk_route_passed_on_streams_open") && line.ends_with(&value)
        };
        self.says(&format!("{count} streams"), is_said).await;
    }

    async fn says(&self, what: &str, is_said: impl Fn(&str) -> bool) {
        let said = async {
            while !self.metrics.render().lines().any(&is_said) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(what, said).await;
    }
}

#[tokio::test]
async fn what_becomes_of_calls_that_are_passed_on_is_counted() {
    let mut front = Front::with(ClientTls::none(NAMES), |it| {
        it.call_wait = Duration::from_millis(300);
    })
    .await;
    let wire = front.wire().await;
    wire.ends(GET, Said::all(&[8, 7])).await;
    front.counts("not_reached", 1).await;

    let mut played = PlayedLeader::listen().await;
    front.led_by(Some(&played.url));
    let mut call = wire.call(GET, Said::all(&[8, 7])).await;
    let mut heard = played.hears().await;
    heard.ends(&[("grpc-status", "5")]);
    call.end().await;
    front.counts("answered", 1).await;
    let call = wire.call(GET, Said::all(&[8, 7])).await;
    let _heard = played.hears().await;
    drop(call);
    front.counts("given_up", 1).await;
    let mut call = wire.call(GET, Said::all(&[8, 7])).await;
    let mut heard = played.hears().await;
    heard.ends(&[("grpc-status", "7"), ("teamtalk-refused-node", "1")]);
    call.end().await;
    front.counts("refused", 1).await;

    let mut stream = wire.call(WATCH, Said::all(b"")).await;
    let mut heard = played.hears().await;
    let mut answer = heard.begins();
    front.streams(1).await;
    end(&mut answer, &[("grpc-status", "0")]);
    stream.end().await;
    front.counts("answered", 2).await;
    front.streams(0).await;
    let mut stream = wire.call(WATCH, Said::all(b"")).await;
    let mut heard = played.hears().await;
    let _answer = heard.begins();
    stream.begun().await;
    drop(played);
    stream.end().await;
    front.counts("lost", 1).await;
    front.streams(0).await;
}
