//! MsgServers of forks: with their dialect they are served as those of TeamTalk are. Bodies come from
//! the forks' own messages, and what we send is read by them.

use std::time::Duration;

use prost::Message;
use route_proto::legacy::im;
use route_proto::pdu::command;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::subscribe_response::Message as Said;
use route_proto::v1::{
    self as api, BatchGetUserStatusRequest, Event, EventFilter, PresenceStatus, PublishRequest,
    SubscribeRequest,
};
use system_tests::deployment::process::Surroundings;
use system_tests::deployment::{Deployment, FanOut, Setup, ports, probes, ready, start_gateway};
use system_tests::dice::Dice;
use system_tests::forks::{
    Concerns, Sample, app_ids, proto3, server_commands_at_0x08xx as server_commands,
};
use system_tests::player::connection::{BARRIER_LIMIT, Connection};
use system_tests::player::messages::{self, Client, SINGLE_TEXT};
use system_tests::player::pdu::Pdu;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use crate::from_own_address;

const ANN: u32 = 101;
const BOB: u32 = 102;
const CAT: u32 = 103;
/// At the second gateway.
const DAN: u32 = 104;

const LIMIT: Duration = Duration::from_secs(10);

/// How MsgServers of a fork write what every MsgServer writes.
#[derive(Clone, Copy)]
struct Fork {
    /// What `--dialect` says.
    dialect: &'static str,
    role: u16,
    list: fn(u32) -> Pdu,
    offline: fn(u32) -> Pdu,
    samples: fn(&mut Dice, u32, u32) -> Vec<Sample>,
}

const SERVER_COMMANDS: Fork = Fork {
    dialect: "0x08xx",
    role: 0x0807,
    list: |user| {
        let user_stat_list = vec![server_commands::UserStat {
            user_id: user,
            status: 1,
            client_type: Some(1),
        }];
        let list = server_commands::OnlineUserInfo { user_stat_list };
        messages::encoded(0x0808, &list)
    },
    offline: |user| {
        let update = server_commands::StatusUpdate {
            user_status: 2,
            user_id: user,
            client_type: 1,
            user_uid: Some(7),
        };
        messages::encoded(0x080a, &update)
    },
    samples: server_commands::samples,
};

const APP_IDS: Fork = Fork {
    dialect: concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dialects/app-id.toml"),
    role: command::ROLE_SET,
    list: |user| {
        let user_stat_list = vec![app_ids::OnlineUser {
            user_id: user,
            status: 1,
            app_id: 23,
            domain_id: 1200,
        }];
        let list = app_ids::OnlineUserInfo { user_stat_list };
        messages::encoded(command::ONLINE_USER_LIST, &list)
    },
    offline: |user| {
        let update = app_ids::StatusUpdate {
            user_status: 2,
            user_id: user,
            app_id: 23,
            domain_id: 1200,
        };
        messages::encoded(command::USER_STATUS_UPDATE, &update)
    },
    samples: app_ids::samples,
};

const PROTO3: Fork = Fork {
    dialect: "proto3",
    role: command::ROLE_SET,
    // A client of no type, of which nothing is said but whose it is.
    list: |user| {
        let user_stat_list = vec![proto3::OnlineUser {
            user_id: user,
            ..proto3::OnlineUser::default()
        }];
        let list = proto3::OnlineUserInfo { user_stat_list };
        messages::encoded(command::ONLINE_USER_LIST, &list)
    },
    offline: |user| {
        let update = proto3::StatusUpdate {
            user_status: 2,
            user_id: user,
            client_type: 0,
        };
        messages::encoded(command::USER_STATUS_UPDATE, &update)
    },
    samples: proto3::samples,
};

const TEAMTALK: Fork = Fork {
    dialect: "teamtalk",
    role: command::ROLE_SET,
    list: |user| messages::online(&[user]),
    offline: |user| messages::update(user, messages::Status::Offline, Client::Windows),
    samples: |_, _, _| Vec::new(),
};

system_tests::in_both_setups! {
    server_commands_at_0x08xx: a_fork(SERVER_COMMANDS);
    app_ids_instead_of_client_types: a_fork(APP_IDS);
    proto3_with_zeros_left_out: a_fork(PROTO3);
    without_its_dialect_a_fork_is_told_which_to_take: unknown();
    without_its_dialect_what_a_fork_lists_is_refused_aloud: app_ids_unread();
    what_teamtalk_does_not_name_goes_where_it_should: odd();
}

async fn a_fork(setup: Setup, fork: Fork) {
    let flag = format!("--dialect={}", fork.dialect);
    let site = Site::start(setup, fork, &[&flag]).await;
    site.everybody_is_online().await;
    let mut all = site.subscribe(&[]).await;
    let mut of_bob = site.subscribe(&[BOB]).await;
    let mut dice = Dice::new(1);
    for round in 0..20 {
        for sample in (fork.samples)(&mut dice, ANN, BOB) {
            let what = format!("{round}: {sample:02x?}");
            let pdu = Pdu::new(sample.command, sample.body.clone()).encode();
            site.ann.write(&pdu).await.expect("it is connected");
            site.settle().await;
            let [to_ann, to_bob, to_cat] = match &sample.concerns {
                Concerns::Users(users) => [false, users.contains(&BOB), users.contains(&CAT)],
                Concerns::Reporters | Concerns::Others => [false, true, true],
                Concerns::Sessions => [true; 3],
            };
            assert_eq!(
                got(&site.ann),
                Vec::from_iter(to_ann.then_some(&pdu[..])),
                "{what}"
            );
            assert_eq!(
                got(&site.bob),
                Vec::from_iter(to_bob.then_some(&pdu[..])),
                "{what}"
            );
            assert_eq!(
                got(&site.cat),
                Vec::from_iter(to_cat.then_some(&pdu[..])),
                "{what}"
            );

            let event = next(&mut all).await;
            assert!(!event.unparsed, "{what}: {event:?}");
            assert_eq!(event.raw_pdu, pdu, "{what}");
            // Kicks and what goes to all name their user, too.
            let names_bob = match &sample.concerns {
                Concerns::Users(users) => users.contains(&BOB),
                Concerns::Reporters | Concerns::Sessions => false,
                Concerns::Others => matches!(event.body, Some(Typed::Kick(_))),
            };
            if names_bob {
                assert_eq!(next(&mut of_bob).await, event, "{what}");
            }
        }
    }
    told_of_a_logout(&site, fork).await;
}

async fn told_of_a_logout(site: &Site, fork: Fork) {
    site.forget();
    let offline = (fork.offline)(CAT).encode();
    site.cat.write(&offline).await.expect("it is connected");
    let notice = site.ann.comes(command::STATUS_NOTICE, LIMIT).await;
    let notice = Pdu::parse(&notice.expect("a notice"));
    let read = server_commands::StatusNotice::decode(notice.body).expect("it can be read");
    assert_eq!((read.user_stat.user_id, read.user_stat.status), (CAT, 2));
}

/// What services publish comes as each fork reads it; what it does not know does not come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_dialects_in_one_site() {
    let flag = format!("--dialect={}", SERVER_COMMANDS.dialect);
    let site = Site::start(Setup::TwoProcesses, SERVER_COMMANDS, &[&flag]).await;
    let [pdu, probes] = ports::free().expect("free ports");
    let upstream = format!("--upstream=http://{}", site.servers.grpc_address());
    let flags = [upstream, "--client-types=0x21".to_owned()];
    let second = start_gateway(&Surroundings::default(), pdu, probes, &flags).expect("a gateway");
    ready(probes, [&second]).await.expect("it attaches");
    let dan = Site::connect(pdu, 9, TEAMTALK, DAN).await;
    let dan = dan.expect("the second gateway listens");
    each_is_told_in_its_own_way(&site, &dan).await;

    // Cat is on either side now.
    let also = (TEAMTALK.list)(CAT).encode();
    dan.write(&also).await.expect("it is connected");
    assert!(dan.barrier(LIMIT).await);
    each_gets_a_kick_that_it_reads(&site, &dan).await;
    each_gets_a_change_of_a_group_that_it_reads(&site, &dan).await;
    one_gets_what_only_it_knows(&site, &dan).await;
}

async fn each_is_told_in_its_own_way(site: &Site, dan: &Connection) {
    site.forget();
    dan.forget();
    let offline = (SERVER_COMMANDS.offline)(BOB).encode();
    site.bob.write(&offline).await.expect("it is connected");
    for server in [&site.ann, dan] {
        let notice = server.comes(command::STATUS_NOTICE, LIMIT).await;
        let notice = Pdu::parse(&notice.expect("a notice")).body;
        let read = im::buddy::ImUserStatNotify::decode(notice).expect("it can be read");
        assert_eq!(read.user_stat.user_id, BOB);
    }
}

async fn each_gets_a_kick_that_it_reads(site: &Site, dan: &Connection) {
    let kick = Typed::Kick(api::Kick {
        user_id: CAT,
        client_type: 1,
        reason: 2,
    });
    assert_eq!(site.publish(kick).await.link_count, 4);
    for (server, id) in [(&site.cat, 0x080d), (dan, command::KICK_USER)] {
        let kick = Pdu::parse(&server.comes(id, LIMIT).await.expect("a kick"));
        assert_eq!(kick.service, 7);
        let read = im::server::ImServerKickUser::decode(kick.body).expect("it can be read");
        assert_eq!((read.user_id, read.client_type), (CAT, 1));
    }
}

async fn each_gets_a_change_of_a_group_that_it_reads(site: &Site, dan: &Connection) {
    let group = Typed::GroupChange(api::GroupChange {
        user_id: ANN,
        change_type: api::GroupChangeType::Added.into(),
        group_id: 9,
        member_ids: vec![CAT],
        changed_ids: vec![DAN],
    });
    assert_eq!(site.publish(group).await.link_count, 2);
    let to_cat = site.cat.comes(command::GROUP_CHANGED, LIMIT).await;
    let read = Pdu::parse(&to_cat.expect("a change")).body;
    let read = server_commands::GroupChange::decode(read).expect("it can be read");
    assert_eq!((read.group_id, read.cur_user_id_list), (9, vec![CAT]));
    let to_dan = dan.comes(command::GROUP_CHANGED, LIMIT).await;
    let read = Pdu::parse(&to_dan.expect("a change")).body;
    let read = im::group::ImGroupChangeMemberNotify::decode(read).expect("it can be read");
    assert_eq!((read.group_id, read.chg_user_id_list), (9, vec![DAN]));
}

/// A type of client, and a command, that only the second gateway's dialect has.
async fn one_gets_what_only_it_knows(site: &Site, dan: &Connection) {
    dan.forget();
    let kick = Typed::Kick(api::Kick {
        user_id: ANN,
        client_type: 0x21,
        reason: 2,
    });
    let to_all = site.publish(kick).await.link_count;
    assert!(dan.comes(command::KICK_USER, LIMIT).await.is_some());
    let signature = Typed::SignatureChange(api::SignatureChange {
        user_id: ANN,
        signature: "new".to_owned(),
        ..api::SignatureChange::default()
    });
    let to_users = site.publish(signature).await.link_count;
    assert!(dan.comes(command::SIGNATURE_CHANGED, LIMIT).await.is_some());
    site.settle().await;
    for pdu in got(&site.ann) {
        assert_ne!(Pdu::parse(&pdu.into()).command, command::SIGNATURE_CHANGED);
    }
    let unspoken = "teamtalk_pdu_unspoken_total";
    let unspoken = probes::metric(site.servers.gateway_probes(), unspoken).await;
    // Dan's link was written both.
    let expected = f64::from(to_all - 1 + to_users - 1);
    assert!((unspoken.expect("it is scraped") - expected).abs() < 0.5);
}

/// A fork without its dialect is dropped, and each command that is not known is said, with the
/// dialect to take: ten lines of a MsgServer in all.
async fn unknown(setup: Setup) {
    let site = Site::start(setup, TEAMTALK, &[]).await;
    let fork = Site::open(site.servers.pdu_address(), 8).await;
    assert!(fork.barrier(LIMIT).await, "it is answered");
    for pdu in [
        Pdu::new(0x0807, messages::role(1).body),
        (SERVER_COMMANDS.list)(CAT),
        (SERVER_COMMANDS.offline)(CAT),
    ] {
        fork.write(&pdu.encode()).await.expect("it is connected");
    }
    for other in 0..20 {
        let pdu = Pdu::bare(0x0900 + other).encode();
        fork.write(&pdu).await.expect("it is connected");
        fork.write(&pdu).await.expect("it is connected");
    }
    let said = site.servers.processes()[0].says("0x0905", LIMIT).await;
    fork.barrier(LIMIT).await;
    assert!(
        said,
        "one line says that it has connected, and nine what is not known"
    );

    let output = site.servers.output();
    let lines = |text: &str| output.lines().filter(|it| it.contains(text)).count();
    for command in ["0x0807", "0x0808", "0x080a"] {
        assert_eq!(lines(command), 1, "{output}");
    }
    assert_eq!(lines("`--dialect 0x08xx` would read it"), 3, "{output}");
    assert_eq!(lines("dropping an unknown command"), 9, "{output}");
    assert_eq!(lines("0x0905"), 1, "{output}");
    assert_eq!(lines("0x0906"), 0, "{output}");
}

/// An app id stands where a client type would be, so nobody can tell what client that is. The list is dropped, and the
/// MsgServer gets everything.
async fn app_ids_unread(setup: Setup) {
    let site = Site::start(setup, TEAMTALK, &[]).await;
    let fork = Site::connect(site.servers.pdu_address(), 8, APP_IDS, DAN).await;
    let fork = fork.expect("it is let in");
    fork.forget();
    let to_bob = messages::message(ANN, BOB, 1, SINGLE_TEXT, "text").encode();
    site.ann.write(&to_bob).await.expect("it is connected");
    site.settle().await;
    assert!(fork.barrier(LIMIT).await);
    assert_eq!(got(&fork), [&to_bob[..]]);

    let output = site.servers.output();
    let mut lines = output.lines();
    let line = lines.find(|it| it.contains("dropping what cannot be read"));
    let line = line.unwrap_or_else(|| panic!("nothing is said: {output}"));
    for told in [
        "WARN",
        "0x0708",
        "client_type has no valid value",
        "127.0.0.",
    ] {
        assert!(line.contains(told), "{told} is not in {line}");
    }
}

/// Types of messages of which only bit 0x10 tells whether they are a group's; text that is not UTF-8; a number that was
/// left out. Each is typed as far as it can be, found by who asks for Bob, and said if it was a guess.
async fn odd(setup: Setup) {
    let site = Site::start(setup, TEAMTALK, &[]).await;
    let mut all = site.subscribe(&[]).await;
    let mut of_bob = site.subscribe(&[BOB]).await;
    let single = messages::message(ANN, BOB, 1, 0x03, "text");
    let group = messages::message(ANN, 900, 2, 0x13, "text");
    let mut file = messages::file(ANN, BOB).body.to_vec();
    file.extend(b"\x1a\x04\xce\xc4\xbc\xfe");
    let file = Pdu::new(command::FILE_NOTICE, file);
    let receipt = vec![0x08, BOB as u8, 0x10, ANN as u8, 0x20, 1];
    let receipt = Pdu::new(command::READ_RECEIPT, receipt);
    for (pdu, to_cat, is_of_bob) in [
        (single, false, true),
        (group, true, false),
        (file, false, true),
        (receipt, true, false),
    ] {
        let (command, pdu) = (pdu.command, pdu.encode());
        site.ann.write(&pdu).await.expect("it is connected");
        site.settle().await;
        assert_eq!(got(&site.bob), [&pdu[..]], "{command:#06x}");
        assert_eq!(
            got(&site.cat),
            Vec::from_iter(to_cat.then_some(&pdu[..])),
            "{command:#06x}"
        );
        let event = next(&mut all).await;
        assert_eq!(event.raw_pdu, pdu);
        assert_eq!(
            event.unparsed,
            command == command::READ_RECEIPT,
            "{event:?}"
        );
        if is_of_bob {
            assert_eq!(next(&mut of_bob).await, event);
        }
    }

    let output = site.servers.output();
    for (said, told) in [
        ("taking an unknown type for one user's", "message type 0x03"),
        (
            "forwarding to all others what cannot be read",
            "`--dialect proto3` would read it",
        ),
    ] {
        let line = output.lines().find(|it| it.contains(said));
        let line = line.unwrap_or_else(|| panic!("{said}: {output}"));
        assert!(line.contains("WARN") && line.contains(told), "{line}");
    }
}

/// Servers, and three MsgServers with a user each.
struct Site {
    servers: Deployment,
    node: Channel,
    ann: Connection,
    bob: Connection,
    cat: Connection,
}

impl Site {
    async fn start(setup: Setup, fork: Fork, flags: &[&str]) -> Self {
        let servers = Deployment::start_with(setup, FanOut::Directed, flags).await;
        let node = Endpoint::from_shared(format!("http://{}", servers.grpc_address()));
        let connect = |number, user| Self::connect(servers.pdu_address(), number, fork, user);
        let site = Site {
            node: node.expect("a URL").connect().await.expect("a node"),
            ann: connect(1, ANN).await.expect("it is served"),
            bob: connect(2, BOB).await.expect("it is served"),
            cat: connect(3, CAT).await.expect("it is served"),
            servers,
        };
        site.settle().await;
        site.forget();
        site
    }

    async fn open(address: std::net::SocketAddr, number: usize) -> Connection {
        let options = from_own_address(number);
        let opened = Connection::open(address, options, watch::Sender::new(())).await;
        opened.expect("it is let in")
    }

    /// A MsgServer that has claimed its connection and listed its user.
    async fn connect(
        address: std::net::SocketAddr,
        number: usize,
        fork: Fork,
        user: u32,
    ) -> Option<Connection> {
        let options = from_own_address(number);
        let server = Connection::open(address, options, watch::Sender::new(()));
        let server = server.await.ok()?;
        let role = Pdu::new(fork.role, messages::role(1).body).encode();
        let list = (fork.list)(user).encode();
        server.write(&[role, list].concat()).await.ok()?;
        server.barrier(BARRIER_LIMIT).await.then_some(server)
    }

    /// Everything that was sent has arrived.
    async fn settle(&self) {
        for server in [&self.ann, &self.bob, &self.cat] {
            assert!(server.barrier(BARRIER_LIMIT).await, "it is answered");
        }
    }

    fn forget(&self) {
        for server in [&self.ann, &self.bob, &self.cat] {
            server.forget();
        }
    }

    async fn everybody_is_online(&self) {
        let mut presence = PresenceServiceClient::new(self.node.clone());
        let request = BatchGetUserStatusRequest {
            user_ids: vec![ANN, BOB, CAT],
            ..BatchGetUserStatusRequest::default()
        };
        let answer = presence.batch_get_user_status(request).await;
        let users = answer.expect("an answer").into_inner().users;
        assert!(
            users
                .iter()
                .all(|user| user.status() == PresenceStatus::Online)
        );
    }

    async fn subscribe(&self, users: &[u32]) -> Streaming<api::SubscribeResponse> {
        let of_users = EventFilter {
            user_ids: users.to_vec(),
            ..EventFilter::default()
        };
        let request = SubscribeRequest {
            filters: if users.is_empty() {
                vec![]
            } else {
                vec![of_users]
            },
            include_raw_pdu: true,
            ..SubscribeRequest::default()
        };
        let mut broadcast = BroadcastServiceClient::new(self.node.clone());
        let answer = broadcast.subscribe(request).await;
        let mut stream = answer.expect("a stream").into_inner();
        stream.message().await.expect("it has begun");
        stream
    }

    async fn publish(&self, typed: Typed) -> api::PublishResponse {
        let request = PublishRequest {
            event: Some(Event {
                body: Some(typed),
                ..Event::default()
            }),
            ..PublishRequest::default()
        };
        let mut broadcast = BroadcastServiceClient::new(self.node.clone());
        let answer = timeout(LIMIT, broadcast.publish(request)).await;
        answer.expect("in time").expect("an answer").into_inner()
    }
}

/// What has come since it was last asked, heartbeats and answers apart.
fn got(server: &Connection) -> Vec<Vec<u8>> {
    let received = server.received();
    server.forget();
    received.iter().map(|pdu| pdu.to_vec()).collect()
}

async fn next(stream: &mut Streaming<api::SubscribeResponse>) -> Event {
    loop {
        let response = timeout(LIMIT, stream.message()).await.expect("in time");
        let response = response.expect("it goes on").expect("it goes on");
        if let Some(Said::Event(event)) = response.message {
            return event;
        }
    }
}
