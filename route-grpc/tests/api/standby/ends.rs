//! How calls end that are passed on: by their caller, by the leader, or because the leader is lost.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::watch_user_status_response::Message;
use route_proto::v1::{GetUserStatusRequest, WatchUserStatusRequest};
use route_runtime::tls::client::ClientTls;
use tonic::Code;

use super::calls::leader;
use super::played_leader::{Heard, PlayedLeader, end, pour};
use super::{Front, GET, NAMES, WATCH, WATCH_SET};
use crate::attach::reason;
use crate::played::Played;
use crate::site::{Site, soon};
use crate::wire::{Call, Said, Wire};

/// Something of a stream.
const SOME: &[u8] = b"\0\0\0\0\x01x";

/// A stream through a standby that has begun, at both ends.
async fn begun(played: &mut PlayedLeader, wire: &Wire) -> (Call, Heard, h2::SendStream<Bytes>) {
    let mut call = wire.call(WATCH_SET, Said::goes_on(SOME)).await;
    let mut heard = played.hears().await;
    let mut answer = heard.begins();
    answer.send_data(SOME.into(), false).unwrap();
    assert_eq!(call.next().await.unwrap(), SOME);
    (call, heard, answer)
}

#[tokio::test]
async fn whoever_gives_a_call_up_gives_it_up_at_the_leader() {
    let mut played = PlayedLeader::listen().await;
    let front = Front::before(&played.url).await;
    let wire = front.wire().await;
    // Before an answer, and of a stream that has begun: both sides of it, or the connection.
    let call = wire.call(GET, Said::all(&[8, 7])).await;
    let mut heard = played.hears().await;
    drop(call);
    heard.given_up().await;
    let (call, _heard, mut answer) = begun(&mut played, &wire).await;
    drop(call);
    let reset = std::future::poll_fn(|cx| answer.poll_reset(cx));
    soon("the stream to be given up", reset).await.unwrap();
    let (_call, _heard, mut answer) = begun(&mut played, &wire).await;
    drop(wire);
    let reset = std::future::poll_fn(|cx| answer.poll_reset(cx));
    soon("the stream to be given up", reset).await.unwrap();
}

#[tokio::test]
async fn a_callers_deadline_ends_the_call_at_both_nodes() {
    let mut played = PlayedLeader::listen().await;
    let front = Front::before(&played.url).await;
    let wire = front.wire().await;
    let mut call = wire.call(GET, Said::all(&[8, 7]).within(200)).await;
    let mut heard = played.hears().await;
    let status = call.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    heard.given_up().await;
    // Its client goes on sending, and has got its end all the same.
    let said = Said::goes_on(SOME).within(200);
    let mut call = wire.call(WATCH_SET, said).await;
    let mut heard = played.hears().await;
    let _answer = heard.begins();
    let status = call.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    heard.given_up_asking().await;
}

#[tokio::test]
async fn the_leaders_end_is_the_callers_with_all_that_came_before() {
    let mut played = PlayedLeader::listen().await;
    let front = Front::before(&played.url).await;
    let wire = front.wire().await;
    let (mut call, _heard, mut answer) = begun(&mut played, &wire).await;
    call.say(SOME, false);
    answer.send_data(SOME.into(), false).unwrap();
    end(
        &mut answer,
        &[("grpc-status", "10"), ("grpc-message", "so")],
    );
    assert_eq!(call.next().await.unwrap(), SOME);
    let status = call.end().await;
    assert_eq!((status.code(), status.message()), (Code::Aborted, "so"));
    // One that says that it does not lead any more.
    let mut call = wire.call(GET, Said::all(&[8, 7])).await;
    let mut heard = played.hears().await;
    heard.ends(&[("grpc-status", "14"), ("grpc-message", "not now")]);
    let status = call.end().await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "not now")
    );
}

#[tokio::test]
async fn calls_at_a_leader_that_is_killed_end_and_the_next_ones_go_to_the_next() {
    let mut played = PlayedLeader::listen().await;
    let mut front = Front::before(&played.url).await;
    let wire = front.wire().await;
    let former = played.url.clone();
    let (mut stream, _heard, _answer) = begun(&mut played, &wire).await;
    let mut call = wire.call(GET, Said::all(&[8, 7])).await;
    played.hears().await;

    drop(played);

    for call in [&mut stream, &mut call] {
        assert_eq!(leader(&call.end().await), Some(former.clone()));
    }
    let next = Site::start().await;
    front.led_by(Some(&format!("http://{}", next.address)));
    let status = wire.ends(GET, Said::all(&[8, 7])).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
}

/// Nothing tells of it but its silence, and that another one leads.
#[tokio::test]
async fn calls_at_a_former_leader_that_does_not_end_them_are_ended() {
    let mut former = PlayedLeader::listen().await;
    let next = PlayedLeader::listen().await;
    let mut front = Front::before(&former.url).await;
    let wire = front.wire().await;
    let (mut stream, mut heard, _answer) = begun(&mut former, &wire).await;
    let mut call = wire.call(GET, Said::all(&[8, 7])).await;
    let mut asked = former.hears().await;

    front.led_by(Some(&next.url));

    for call in [&mut stream, &mut call] {
        assert_eq!(leader(&call.end().await), Some(former.url.clone()));
    }
    asked.given_up().await;
    heard.given_up_asking().await;
}

#[tokio::test]
async fn a_call_waits_for_a_leader_and_not_for_ever() {
    let wait = Duration::from_millis(300);
    let mut front = Front::with(ClientTls::none(NAMES), |it| it.call_wait = wait).await;
    let wire = front.wire().await;
    for (url, told) in [
        (None, "no node leads"),
        (Some("http://127.0.0.1:1"), "refused"),
        (Some("https://127.0.0.1:1"), "--peer-ca"),
        (Some("what is this"), "invalid"),
    ] {
        front.led_by(url);
        let status = wire.ends(GET, Said::all(&[8, 7])).await;
        assert_eq!(leader(&status).as_deref(), url);
        assert!(status.message().contains(told), "{status:?}");
    }

    let mut front = Front::with(ClientTls::none(NAMES), |_| ()).await;
    let mut presence = PresenceServiceClient::new(front.channel().await);
    let asked = presence.get_user_status(GetUserStatusRequest {
        user_id: 7,
        ..GetUserStatusRequest::default()
    });
    let next = Site::start().await;
    let (told, ()) = tokio::join!(asked, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        front.led_by(Some(&format!("http://{}", next.address)));
    });
    told.unwrap();
}

/// Each waits for its own caller: neither its node nor another caller keeps what he does not read.
#[tokio::test]
async fn a_caller_who_reads_nothing_takes_little_and_nothing_from_others() {
    let mut played = PlayedLeader::listen().await;
    let front = Front::before(&played.url).await;
    let (deaf, wire) = (front.wire().await, front.wire().await);
    let mut deaf_ones = Vec::new();
    for _ in 0..20 {
        let call = deaf.call(WATCH, Said::all(b"")).await;
        let mut heard = played.hears().await;
        let mut answer = heard.begins();
        let poured = pour(&mut answer, 64 << 20).await;
        assert!(poured < 1 << 20, "{poured} bytes are held for one caller");
        deaf_ones.push((call, heard, answer));
    }
    let (mut call, _heard, mut answer) = begun(&mut played, &wire).await;
    let reads = tokio::spawn(async move { while call.next().await.is_some() {} });
    let much = 2 << 20;
    assert!(pour(&mut answer, much).await >= much);
    reads.abort();
}

/// The places are those of a leader's streams.
#[tokio::test]
async fn streams_that_are_passed_on_have_places() {
    let mut played = PlayedLeader::listen().await;
    let mut front = Front::with(ClientTls::none(NAMES), |it| it.max_streams = 1).await;
    front.led_by(Some(&played.url));
    let wire = front.wire().await;
    let (call, _heard, _answer) = begun(&mut played, &wire).await;
    let status = wire.ends(WATCH, Said::all(b"")).await;
    assert_eq!(reason(&status), "STREAM_LIMIT", "{status:?}");
    drop(call);
    let free = async {
        while wire.ends(WATCH, Said::all(b"").within(50)).await.code() != Code::DeadlineExceeded {}
    };
    soon("a free place", free).await;
}

#[tokio::test]
async fn a_standby_that_drains_ends_what_it_passes_on() {
    let mut played = PlayedLeader::listen().await;
    let front = Front::before(&played.url).await;
    let wire = front.wire().await;
    let (mut stream, mut heard, _answer) = begun(&mut played, &wire).await;
    front.shutdown.begin();
    let status = stream.end().await;
    assert_eq!(reason(&status), "DRAINING", "{status:?}");
    heard.given_up_asking().await;
}

/// As many as a node lets one connection give up at a time, of three connections.
#[tokio::test]
async fn calls_that_are_given_up_again_and_again_end_nobody_elses() {
    let (site, mut gateway) = Played::one(&[7]).await;
    let front = Front::before(&format!("http://{}", site.address)).await;
    let wire = front.wire().await;
    let watches = WatchUserStatusRequest {
        user_ids: vec![7],
        ..WatchUserStatusRequest::default()
    };
    let mut presence = PresenceServiceClient::new(front.channel().await);
    let goes_on = soon("a stream", presence.watch_user_status(watches.clone())).await;
    let mut goes_on = goes_on.unwrap().into_inner();
    let watches = watches.encode_to_vec();
    for _ in 0..3 {
        let hostile = front.wire().await;
        for _ in 0..500 {
            drop(hostile.call(WATCH, Said::all(&watches)).await);
        }
    }
    let status = wire.ends(GET, Said::all(&[8, 7])).await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    gateway.update(1, 7, 1, 3).await;
    let told = async {
        while !matches!(
            goes_on.message().await.unwrap().unwrap().message,
            Some(Message::Change(_))
        ) {}
    };
    soon("a change", told).await;
}
