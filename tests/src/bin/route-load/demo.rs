//! Shows that a running server works: two MsgServers, a message between them, a service that sees
//! it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use prost::Message as _;
use route_proto::legacy::im::base_define::UserStat;
use route_proto::legacy::im::buddy::ImUsersStatRsp;
use route_proto::v1;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::presence_service_client::PresenceServiceClient;
use route_proto::v1::subscribe_response::Message as Subscribed;
use system_tests::player::connection::{Connection, Options};
use system_tests::player::messages::{self, SINGLE_TEXT, Status};
use system_tests::player::pdu::{HEADER, command};
use tokio::time::timeout;
use tonic::{Request, Streaming};

use crate::cli::DemoOptions;
use crate::service;

const ALICE: u32 = 9_001_001;
const BOB: u32 = 9_001_002;
const TEXT: &str = "hello, Bob";

/// Everything is on one machine or near: what takes longer will not come.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// Between two messages of those who stay: less than what a gateway takes for silence.
const PAUSE: Duration = Duration::from_secs(5);

/// Plays the scene and prints it; an error says which step failed.
pub(crate) fn run(options: &DemoOptions) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(play(options))?;
    Ok(true)
}

async fn play(options: &DemoOptions) -> anyhow::Result<()> {
    let DemoOptions {
        pdu: server,
        grpc,
        service,
        keep,
    } = options;

    let a = msg_server(*server, ALICE).await?;
    println!("MsgServer A has connected to {server}; Alice (user {ALICE}) is logged in there.");
    let b = msg_server(*server, BOB).await?;
    println!("MsgServer B has connected to {server}; Bob (user {BOB}) is logged in there.");

    let channel = service.connect(grpc).await?;
    let bob = within("GetUserStatus", user_status(channel.clone(), BOB)).await?;
    println!("A service asks {grpc}: Bob is {bob}.");
    let mut events = within("Subscribe", Subscriber::start(channel)).await?;
    println!("A service subscribes to the chat messages of Alice and Bob.\n");

    println!("Alice writes to Bob: \"{TEXT}\"");
    let message = messages::message(ALICE, BOB, 1, SINGLE_TEXT, TEXT).encode();
    a.write(&message).await?;

    let got = next(&b, command::MESSAGE, "the message at MsgServer B").await?;
    ensure!(got == message, "MsgServer B got other bytes than were sent");
    println!("  MsgServer B got it, all {} bytes unchanged.", got.len());

    let seen = within("the event at the subscriber", events.chat_message()).await?;
    ensure!(
        seen.from_user_id == ALICE && seen.to_id == BOB && seen.content == TEXT.as_bytes(),
        "the subscriber saw something else: {seen:?}"
    );
    println!(
        "  The subscriber saw it: chat message {} from {} to {}, \"{}\".\n\nIt works.",
        seen.message_id,
        seen.from_user_id,
        seen.to_id,
        String::from_utf8_lossy(&seen.content)
    );
    if *keep {
        stay(grpc, &a, &b).await?;
    }
    Ok(())
}

/// The users write to each other until somebody interrupts them.
async fn stay(grpc: &str, a: &Connection, b: &Connection) -> anyhow::Result<()> {
    println!(
        "\nAlice and Bob stay, and write to each other every {PAUSE:?}. Look at them:\n\n    \
         route-grpc status --address {grpc} {ALICE} {BOB}\n    \
         route-grpc subscribe --address {grpc} --user {ALICE}\n    \
         route-grpc publish --address {grpc} --dry-run \
         chat --from {ALICE} --to {BOB} --message-id 1 --text hello\n\n\
         Ctrl-C ends this."
    );
    let talk = async {
        for number in 2.. {
            tokio::time::sleep(PAUSE).await;
            a.write(&messages::message(ALICE, BOB, number, SINGLE_TEXT, "are you there?").encode())
                .await?;
            b.write(&messages::message(BOB, ALICE, number, SINGLE_TEXT, "I am").encode())
                .await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = talk => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

/// Waits for a step, and names it if it does not come.
async fn within<T>(step: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    timeout(STEP_LIMIT, work)
        .await
        .with_context(|| format!("{step} did not come within {STEP_LIMIT:?}"))?
        .with_context(|| step.to_owned())
}

/// A MsgServer that holds one user, who is online there.
async fn msg_server(server: SocketAddr, user: u32) -> anyhow::Result<Connection> {
    let list = messages::online(&[user]);
    let connection = Connection::of_msg_server(server, Options::default(), true, &list).await;
    let connection = connection.with_context(|| {
        format!("connect to {server}; is `pdu-gateway --embedded` running there?")
    })?;
    let query = messages::query(user, &[user], None).encode();
    connection.write(&query).await?;
    let answer = next(&connection, command::USERS_STATUS_ANSWER, "a status answer").await?;
    let answer = ImUsersStatRsp::decode(&answer[HEADER..])?;
    let is_online = |stat: &UserStat| stat.status == Status::Online as i32;
    ensure!(
        answer.user_stat_list.iter().all(is_online) && answer.user_stat_list.len() == 1,
        "user {user} has status {:?}",
        answer.user_stat_list
    );
    Ok(connection)
}

/// The first PDU with this command; others (notices) are skipped.
async fn next(connection: &Connection, command: u16, step: &str) -> anyhow::Result<Bytes> {
    let came = connection.comes(command, STEP_LIMIT).await;
    came.with_context(|| format!("{step} did not come within {STEP_LIMIT:?}"))
}

/// What the API says of a user, in words.
async fn user_status(channel: service::Connection, user: u32) -> anyhow::Result<String> {
    let request = v1::GetUserStatusRequest {
        user_id: user,
        include_sessions: true,
        ..Default::default()
    };
    let answer = PresenceServiceClient::new(channel)
        .get_user_status(Request::new(request))
        .await?
        .into_inner();
    let user = answer.user.context("an answer without a user")?;
    ensure!(
        user.status() == v1::PresenceStatus::Online,
        "Bob has status {:?}",
        user.status()
    );
    let session = user.sessions.first().context("no session")?;
    Ok(format!("ONLINE, at the MsgServer {}", session.msg_server))
}

/// A service that reads what is routed.
struct Subscriber {
    events: Streaming<v1::SubscribeResponse>,
}

impl Subscriber {
    /// Returns when the stream has begun: nothing that follows is missed.
    async fn start(channel: service::Connection) -> anyhow::Result<Self> {
        let request = v1::SubscribeRequest {
            filters: vec![v1::EventFilter {
                kinds: vec![v1::EventKind::ChatMessage.into()],
                user_ids: vec![ALICE, BOB],
                ..Default::default()
            }],
            ..Default::default()
        };
        let events = BroadcastServiceClient::new(channel)
            .subscribe(Request::new(request))
            .await?
            .into_inner();
        let mut this = Self { events };
        let first = this.next().await?;
        ensure!(
            matches!(first, Subscribed::Subscribed(_)),
            "the stream begins with {first:?}"
        );
        Ok(this)
    }

    /// The next chat message; what else the stream may say is of no interest here.
    async fn chat_message(&mut self) -> anyhow::Result<v1::ChatMessage> {
        loop {
            let Subscribed::Event(event) = self.next().await? else {
                continue;
            };
            if let Some(v1::event::Body::ChatMessage(message)) = event.body {
                return Ok(message);
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<Subscribed> {
        let response = self.events.message().await?.context("the stream ended")?;
        response.message.context("an empty response")
    }
}
