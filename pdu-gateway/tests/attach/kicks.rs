//! Kicks that come late: a client that has logged in since they were read is not thrown out by them.

use route_proto::attach::v1::DeliveryRun;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::pdu::command;

use super::{assert_closed, assert_gives_last_back, ended, update};
use crate::CloseReason;
use crate::harness::{Harness, MsgServer, NodeStream, pdu, run};

const WINDOWS: u8 = 0x01;
const MAC: u8 = 0x02;
const IOS: u8 = 0x11;
const SECOND: i64 = 1_000_000;

#[tokio::test]
async fn an_old_kick_spares_a_user_who_has_logged_in_since() {
    let mut played = Played::start().await;
    let (mut back, back_link) = played.msg_server().await;
    let (mut gone, gone_link) = played.msg_server().await;
    played.log_in(&mut back, 42).await;

    let messages = [b"a", b"b"].map(|body| pdu(command::MESSAGE, 0, body));
    let kick = kick(42, MAC);
    let sent = [messages[0].clone(), kick.clone(), messages[1].clone()];
    let old = read_at(
        run(&[back_link, gone_link], 1, &sent),
        1,
        played.start - 3 * SECOND,
    );
    played.node.deliver(old.clone()).await;

    for expected in [&messages[0], &messages[1]] {
        assert_eq!(back.receive().await, *expected);
    }
    for expected in &sent {
        assert_eq!(gone.receive().await, *expected);
    }
    // It counts as taken: the node is told so, and a repetition finds nothing new.
    played.node.all_taken().await;
    played.gateway.shows("teamtalk_pdu_kicks_dropped_total 1");
    played.node.deliver(old).await;
    played.node.all_taken().await;
    played.gateway.shows("teamtalk_pdu_repeated_total 6");
    played.gateway.shows("teamtalk_pdu_kicks_dropped_total 1");
}

/// Who logged in before the kick was read is meant by it, however late it comes; so is who is only listed: since when is
/// not known.
#[tokio::test]
async fn an_old_kick_reaches_whom_it_is_for() {
    let mut played = Played::start().await;
    let (mut msg_server, link) = played.msg_server().await;
    let list = [0x0a, 6, 0x08, 44, 0x10, 1, 0x18, WINDOWS];
    msg_server
        .send(&pdu(command::ONLINE_USER_LIST, 0, &list))
        .await;
    played.node.entry().await;
    let long_ago = played.start - 3 * SECOND;
    played.log_in(&mut msg_server, 42).await;
    // What another MsgServer sends after that tells what the gateway's clock shows.
    let (mut other, _) = played.msg_server().await;
    other.send(&kick(42, WINDOWS)).await;
    let Some(Entry::Envelope(envelope)) = played.node.entry().await.entry else {
        panic!("a kick is forwarded");
    };
    let after_the_login = i64::try_from(envelope.read_at_micros).unwrap();
    played.log_in(&mut msg_server, 43).await;

    let kicks = [
        (kick(42, WINDOWS), after_the_login),
        (kick(43, IOS), long_ago),
        (kick(44, WINDOWS), long_ago),
        (kick(45, WINDOWS), long_ago),
        // Of a MsgServer, or a node, that does not tell.
        (kick(43, WINDOWS), 0),
    ];
    for (sequence, (kick, at)) in (1..).zip(&kicks) {
        let old = read_at(run(&[link], sequence, std::slice::from_ref(kick)), 0, *at);
        played.node.deliver(old).await;
    }

    for (kick, _) in &kicks {
        assert_eq!(msg_server.receive().await, *kick);
    }
}

/// The link's own gateway is the one that knows; what it does not drop comes back with its time.
#[tokio::test]
async fn a_link_that_is_gone_gives_back_only_what_is_still_of_use() {
    let mut played = Played::start().await;
    let (mut msg_server, link) = played.msg_server().await;
    played.log_in(&mut msg_server, 42).await;
    drop(msg_server);
    assert_closed(&played.node.entry().await, CloseReason::Peer);

    let long_ago = played.start - 3 * SECOND;
    for (sequence, user) in [(1, 42), (2, 43)] {
        let old = read_at(run(&[link], sequence, &[kick(user, WINDOWS)]), 0, long_ago);
        played.node.deliver(old).await;
    }

    let Some(Entry::Returned(back)) = played.node.entry().await.entry else {
        panic!("it gives back what it cannot write");
    };
    let [only] = &back.runs[0].deliveries[..] else {
        panic!("one was not for anybody new: {back:?}");
    };
    assert_eq!((only.sequence, only.read_at_micros), (2, long_ago));
    played.node.downlink(vec![ended(link)], &[]).await;
    assert_gives_last_back(&mut played.node, link).await;
    played.gateway.shows("teamtalk_pdu_kicks_dropped_total 1");
}

struct Played {
    gateway: Harness,
    node: NodeStream,
    /// A moment of the gateway's clock before any login, microseconds.
    start: i64,
}

impl Played {
    async fn start() -> Self {
        let mut gateway = Harness::start(&[]).await;
        let (node, hello) = gateway.attaching().await;
        node.welcome(1, &[]).await;
        gateway.ready().await;
        Self {
            gateway,
            node,
            start: i64::try_from(hello.clock_micros).unwrap(),
        }
    }

    async fn msg_server(&mut self) -> (MsgServer, u64) {
        self.gateway.msg_server(&mut self.node).await
    }

    /// A desktop client.
    async fn log_in(&mut self, msg_server: &mut MsgServer, user: u8) {
        msg_server.send(&update(user, 1)).await;
        let login = self.node.entry().await;
        assert!(matches!(login.entry, Some(Entry::Update(_))), "{login:?}");
    }
}

/// The delivery at this place was read then.
fn read_at(mut run: DeliveryRun, place: usize, micros: i64) -> DeliveryRun {
    run.deliveries[place].read_at_micros = micros;
    run
}

fn kick(user: u8, client_type: u8) -> Vec<u8> {
    pdu(
        command::KICK_USER,
        0,
        &[0x08, user, 0x10, client_type, 0x18, 1],
    )
}
