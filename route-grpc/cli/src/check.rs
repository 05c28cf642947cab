//! `route-grpc check`: does it work, end to end? For scripts, probes from outside, and `helm test`.
//!
//! It disturbs nobody and leaves nothing behind. It plays two MsgServers (see [`msg_server`]). Each
//! holds one reserved user, unseen, and sends the other one a command that other MsgServers ignore.

mod msg_server;
mod standing;
mod steps;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::Args;
use route_dialect::Dialect;
use route_proto::attach::v1::attach_service_server;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{
    EventFilter, EventKind, SubscribeRequest, SubscribeResponse, broadcast_service_server,
    presence_service_server,
};
use route_runtime::flags::duration;
use serde_json::json;
use tonic::Streaming;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::client::ClientArgs;
use crate::connection::Connection;
use crate::failure::{Failure, Trouble};
use msg_server::MsgServer;
use standing::Standing;
use steps::Steps;

const HELP: &str = "\
Disturbs nobody: its two MsgServers hold users that nobody has, invisibly, and do not claim. Beside a \
MsgServer's claimed connection, which stands for all of its address, and at a port with a name (--listen ADDR=NAME), \
whose connections are one MsgServer's, only queries are checked.

Exit codes:
  0  all is well
  1  something else went wrong
  2  the command line is wrong
  3  unreachable: the node, or the gateway, takes no connection, or no gRPC is at --address
  4  unhealthy: the node says so, or does not answer
  5  the PDU round trip failed: no answer, or no delivery
  6  the subscription failed: refused, ended, or blind to what was routed";

/// The names in `grpc.health.v1` under which a node has to be serving.
const HEALTH: [&str; 5] = [
    "liveness",
    "readiness",
    presence_service_server::SERVICE_NAME,
    broadcast_service_server::SERVICE_NAME,
    attach_service_server::SERVICE_NAME,
];

const STOOD_FOR: &str = "\
another connection stands for those of the check: a MsgServer has claimed at this address, or the port has a name \
(--listen ADDR=NAME); to check deliveries too, check from elsewhere, or at a port without a name";

/// Flags of `check`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct CheckArgs {
    /// Where a gateway listens for MsgServers; without it, only the node is checked
    #[arg(long, value_name = "HOST:PORT")]
    pdu: Option<String>,
    /// Ask the gateway, but send nothing through it
    #[arg(long, requires = "pdu")]
    query_only: bool,
    /// What the gateway speaks, as its own --dialect: teamtalk, proto3, 0x08xx, or a file
    #[arg(long, value_name = "NAME|FILE", value_parser = Dialect::named, default_value = "teamtalk")]
    dialect: Dialect,
    /// The first of two user ids that nobody has
    #[arg(long, value_name = "USER", value_parser = first_of_two, default_value = "4294967040")]
    reserved_users: u32,
    /// How long the whole check may take
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "10s")]
    deadline: Duration,
    #[command(flatten)]
    client: ClientArgs,
}

fn first_of_two(text: &str) -> Result<u32, String> {
    let user: u32 = text.parse().map_err(|_| "not a user id".to_owned())?;
    match user.checked_add(1) {
        Some(_) => Ok(user),
        None => Err("there is none after it".to_owned()),
    }
}

/// Checks one thing after the other, and stops at the first that is wrong.
pub(crate) async fn run(args: CheckArgs) -> Result<(), Failure> {
    let steps = Steps::within(args.deadline, args.client.json);
    let channel = steps
        .take("node", Trouble::Unreachable, args.client.connect())
        .await?;
    for name in HEALTH {
        let step = format!("health {name}");
        let serves = serves(&args.client, channel.clone(), name);
        steps.take(&step, Trouble::Unhealthy, serves).await?;
    }
    let users = [args.reserved_users, args.reserved_users + 1];
    let subscribing = Subscriber::start(channel.clone(), users);
    let mut subscriber = steps
        .take("subscribe", Trouble::Subscription, subscribing)
        .await?;
    let Some(address) = &args.pdu else {
        return steps.skip("pdu", "without --pdu");
    };

    let mut standing = Standing::new(channel, users);
    steps
        .take("standing", Trouble::RoundTrip, standing.begin())
        .await?;
    let connecting = connect_both(address, users, &args.dialect);
    let mut msg_servers = steps
        .take("gateway", Trouble::Unreachable, connecting)
        .await?;
    let nonce = format!("{:016x}", fastrand::u64(..));
    let asking = ask(&mut msg_servers, users, &nonce);
    steps.take("query", Trouble::RoundTrip, asking).await?;
    let stands = standing.is_given();
    if args.query_only {
        steps.skip("delivery", "because of --query-only")?;
    } else if !steps.take("standing", Trouble::RoundTrip, stands).await? {
        steps.skip("delivery", STOOD_FOR)?;
    } else {
        // Both ways: behind one address there may be several gateways.
        for (from, to) in [(0, 1), (1, 0)] {
            let sending = send(&mut msg_servers, users, (from, to), &nonce);
            let sent = steps.take("delivery", Trouble::RoundTrip, sending).await?;
            let seeing = subscriber.sees(&sent);
            steps.take("event", Trouble::Subscription, seeing).await?;
        }
    }
    for msg_server in msg_servers {
        msg_server.close().await;
    }
    Ok(())
}

async fn serves(client: &ClientArgs, channel: Connection, name: &str) -> anyhow::Result<()> {
    let request = client.request(HealthCheckRequest {
        service: name.to_owned(),
    });
    let answer = HealthClient::new(channel).check(request).await;
    let status = answer.map_err(Failure::from)?.into_inner().status;
    ensure!(status == ServingStatus::Serving as i32, "not serving");
    Ok(())
}

async fn connect_both(
    address: &str,
    users: [u32; 2],
    dialect: &Dialect,
) -> anyhow::Result<[MsgServer; 2]> {
    let mut connected = Vec::with_capacity(users.len());
    for user in users {
        let problem = || format!("no gateway takes connections at {address}");
        connected.push(
            MsgServer::connect(address, user, dialect.clone())
                .await
                .with_context(problem)?,
        );
    }
    connected
        .try_into()
        .map_err(|_| anyhow::anyhow!("one connection for each user"))
}

/// Each reports its user and asks for both. The answer also says that the report has been applied.
async fn ask(msg_servers: &mut [MsgServer; 2], users: [u32; 2], nonce: &str) -> anyhow::Result<()> {
    for msg_server in msg_servers {
        let asked = async {
            // Nothing is reported before it is known that these users do not exist.
            in_use(&msg_server.online(&users, nonce).await?)?;
            msg_server.list().await?;
            in_use(&msg_server.online(&users, nonce).await?)
        };
        let hint = "a status query was not answered as it should be; if the connection was closed at once, see \
                    --allow-cidr and --max-connections of the gateway";
        asked.await.context(hint)?;
    }
    Ok(())
}

fn in_use(online: &[u32]) -> anyhow::Result<()> {
    let Some(user) = online.first() else {
        return Ok(());
    };
    bail!("user {user} is online, so this id is not free: give others with --reserved-users")
}

/// One sends a command to the other's user.
async fn send(
    msg_servers: &mut [MsgServer; 2],
    users: [u32; 2],
    (from, to): (usize, usize),
    nonce: &str,
) -> anyhow::Result<Bytes> {
    let text = json!({ "routeCheck": nonce }).to_string();
    let sent = msg_servers[from].command(users[to], &text).await?;
    msg_servers[to].gets(&sent).await?;
    Ok(sent)
}

/// A service that reads commands between the reserved users.
struct Subscriber {
    events: Streaming<SubscribeResponse>,
}

impl Subscriber {
    /// Returns when the stream has begun: nothing that follows is missed.
    async fn start(channel: Connection, users: [u32; 2]) -> anyhow::Result<Self> {
        let request = SubscribeRequest {
            filters: vec![EventFilter {
                kinds: vec![EventKind::P2pCommand.into()],
                user_ids: users.to_vec(),
                ..EventFilter::default()
            }],
            include_raw_pdu: true,
            ..SubscribeRequest::default()
        };
        let mut broadcast = BroadcastServiceClient::new(channel);
        let events = broadcast.subscribe(request).await.map_err(Failure::from)?;
        let mut this = Self {
            events: events.into_inner(),
        };
        let first = this.next().await?;
        ensure!(
            matches!(first, Message::Subscribed(_)),
            "the stream begins with {first:?}"
        );
        Ok(this)
    }

    /// Waits for the event that was this PDU.
    async fn sees(&mut self, pdu: &Bytes) -> anyhow::Result<()> {
        loop {
            match self.next().await? {
                Message::Event(event) if event.raw_pdu == pdu => return Ok(()),
                Message::Event(_) | Message::Watermark(_) => {}
                Message::Draining(_) => bail!("the node drains"),
                Message::Gap(gap) => bail!("the stream has a gap of {} events", gap.missed_count),
                other @ (Message::Subscribed(_) | Message::Resumed(_)) => {
                    bail!("the stream goes on with {other:?}")
                }
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<Message> {
        let next = self.events.message().await.map_err(Failure::from)?;
        let response = next.context("the stream has ended")?;
        response.message.context("an empty response")
    }
}
