//! Mutated bodies: what a gateway routes by and what a node shows to subscribers is the same. Who got a
//! PDU is whom its event names, and what is shown as not read went to all others.

use fastrand::Rng;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::subscribe_response::Message as Said;
use route_proto::v1::{ConversationType, Event, SubscribeRequest, SubscribeResponse};
use system_tests::deployment::{Deployment, FanOut, Setup};
use system_tests::player::connection::{BARRIER_LIMIT, Connection};
use system_tests::player::messages::{self, Client, GROUP_TEXT, SINGLE_TEXT};
use system_tests::player::pdu::Pdu;
use system_tests::player::schema;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::{from_own_address, mutated};

const BODIES: usize = 6_000;
/// Sent before it is looked what has come.
const AT_ONCE: usize = 100;
/// At the MsgServers that do not send.
const BOB: u32 = 2;
const CAT: u32 = 3;
/// At none.
const DAN: u32 = 4;
/// The sender's own.
const ANN: u32 = 1;

system_tests::in_both_setups! {
    mutated_bodies_are_read_alike: play("teamtalk");
    mutated_bodies_are_read_alike_without_zeros: play("proto3");
}

async fn play(setup: Setup, dialect: &str) {
    let flag = format!("--dialect={dialect}");
    let site = Site::start(setup, &flag).await;
    let mut events = site.subscribe().await;
    let mut dice = Rng::with_seed(7);
    let (mut read, mut unread) = (0, 0);
    let mut sequence: u16 = 0;
    for _ in 0..BODIES / AT_ONCE {
        let mut sent = Vec::new();
        for _ in 0..AT_ONCE {
            let pdu = random(&mut dice);
            sent.push(mutated(&mut dice, &pdu).sequence(sequence));
            sequence += 1;
        }
        let bytes: Vec<_> = sent.iter().flat_map(Pdu::encode).collect();
        site.all[0].write(&bytes).await.expect("it is connected");
        site.settle().await;

        let mut expected = [const { Vec::new() }; 4];
        for pdu in &sent {
            let event = next(&mut events).await;
            assert_eq!(event.raw_pdu, pdu.encode());
            let schema = schema::of_command(pdu.command).expect("it is forwarded");
            if dialect == "teamtalk" {
                let is_read = schema.read_strictly(&pdu.body).is_ok();
                assert_eq!(is_read, !event.unparsed, "{event:?}");
            }
            match event.unparsed {
                true => unread += 1,
                false => read += 1,
            }
            for (to, expected) in expected.iter_mut().enumerate() {
                if is_for(&event, to) {
                    expected.push(pdu.encode());
                }
            }
        }
        for (to, expected) in expected.iter().enumerate() {
            let got = site.all[to].received();
            site.all[to].forget();
            assert_eq!(&got, expected, "MsgServer {to}");
        }
    }
    assert!(
        read > BODIES / 10 && unread > BODIES / 10,
        "{read} {unread}"
    );
}

/// Whether the MsgServer of this number gets it: Ann's, which has sent it, Bob's, Cat's, and one that has never
/// reported a user.
fn is_for(event: &Event, to: usize) -> bool {
    let users = match event.body.as_ref() {
        None | Some(Typed::Kick(_)) => return to != 0,
        Some(Typed::SignatureChange(_)) => return to != 3,
        Some(Typed::ChatMessage(chat)) if chat.conversation_type() == ConversationType::Group => {
            return to == 1 || to == 2;
        }
        Some(Typed::ChatMessage(chat)) => vec![chat.from_user_id, chat.to_id],
        Some(Typed::P2pCommand(p2p)) => vec![p2p.from_user_id, p2p.to_user_id],
        Some(Typed::ReadReceipt(receipt)) => vec![receipt.user_id],
        Some(Typed::ConversationRemoval(removed)) => vec![removed.user_id],
        Some(Typed::FileNotice(file)) => vec![file.to_user_id],
        Some(Typed::GroupChange(group)) => [&group.member_ids[..], &group.changed_ids[..]].concat(),
        Some(Typed::OtherCommand(_) | Typed::StatusChange(_) | Typed::DesktopLoginChange(_)) => {
            panic!("nobody has sent that: {event:?}")
        }
    };
    match to {
        1 => users.contains(&BOB),
        2 => users.contains(&CAT),
        _ => false,
    }
}

fn random(dice: &mut Rng) -> Pdu {
    let mut user = || dice.u32(ANN..=DAN);
    let (one, other) = (user(), user());
    match dice.u8(..9) {
        0 => messages::message(one, other, 1, GROUP_TEXT, b"text"),
        1 => messages::message(one, other, 1, SINGLE_TEXT, b"text"),
        2 => messages::p2p(one, other, "{}"),
        3 => messages::read(one, other, 1),
        4 => messages::remove_session(one, other),
        5 => messages::kick(one, Client::Windows),
        6 => messages::group_change(one, 900, &[one], &[other]),
        7 => messages::file(one, other),
        _ => messages::sign_info(one, "s"),
    }
}

struct Site {
    servers: Deployment,
    all: [Connection; 4],
}

impl Site {
    async fn start(setup: Setup, flag: &str) -> Self {
        let servers = Deployment::start_with(setup, FanOut::Directed, &[flag]).await;
        let address = servers.pdu_address();
        let connect = async |number, user| {
            let (options, list) = (from_own_address(number), messages::online(&[user]));
            let joined = Connection::of_msg_server(address, options, true, &list).await;
            joined.expect("it is served")
        };
        let silent = Connection::open(
            address,
            from_own_address(4),
            tokio::sync::watch::Sender::new(()),
        );
        let all = [
            connect(1, ANN).await,
            connect(2, BOB).await,
            connect(3, CAT).await,
            silent.await.expect("it is let in"),
        ];
        let site = Self { servers, all };
        site.settle().await;
        site.all.iter().for_each(Connection::forget);
        site
    }

    async fn subscribe(&self) -> Streaming<SubscribeResponse> {
        let node = Endpoint::from_shared(format!("http://{}", self.servers.grpc_address()));
        let node = node.expect("a URL").connect().await.expect("a node");
        let request = SubscribeRequest {
            include_raw_pdu: true,
            ..SubscribeRequest::default()
        };
        let answer = BroadcastServiceClient::new(node).subscribe(request).await;
        let mut stream = answer.expect("a stream").into_inner();
        stream.message().await.expect("it has begun");
        stream
    }

    /// Everything that was sent has arrived.
    async fn settle(&self) {
        for server in &self.all {
            assert!(server.barrier(BARRIER_LIMIT).await, "it is answered");
        }
    }
}

async fn next(stream: &mut Streaming<SubscribeResponse>) -> Event {
    loop {
        let response = timeout(BARRIER_LIMIT, stream.message()).await;
        let response = response.expect("in time").expect("it goes on");
        if let Some(Said::Event(event)) = response.expect("it goes on").message {
            return event;
        }
    }
}
