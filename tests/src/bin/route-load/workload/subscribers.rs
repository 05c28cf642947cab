//! Chat messages at a fixed rate from one MsgServer, streamed over gRPC to services that subscribe
//! to all of them; beside a NATS server that delivers as many bytes to as many subscribers.
//!
//! Subscribers have a connection each, and do no more than count and look at the time. They run on as
//! many threads as there are processors: on one they would be slower than the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prost::Message as _;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::event::Body as Content;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{
    ChatMessage, Event, EventFilter, EventKind, SubscribeRequest, SubscribeResponse,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Workload, group_message};
use crate::figures::Figures;
use crate::server::{Kind, Server};

/// Deliveries to all subscribers together, in a second.
const DELIVERIES: u64 = 20_000;
/// Bytes of a message's content.
const CONTENT: usize = 200;
/// Length of a position, about.
const POSITION: usize = 32;
const PACE: Duration = Duration::from_millis(1);
/// Nothing more comes, or connecting has failed.
const STALL: Duration = Duration::from_secs(30);
/// What everybody subscribes to at the NATS server.
const SUBJECT: &str = "chat";

struct Subscribers {
    count: usize,
    duration: Duration,
}

/// Few to many.
pub(super) fn all(duration: Duration) -> impl Iterator<Item = Box<dyn Workload>> {
    [4, 40, 200, 1000]
        .into_iter()
        .map(move |count| Box::new(Subscribers { count, duration }) as Box<dyn Workload>)
}

impl Workload for Subscribers {
    fn label(&self) -> String {
        format!("{DELIVERIES} deliveries/s to {} subscribers", self.count)
    }

    fn is_for(&self, kind: Kind) -> bool {
        kind != Kind::Relay
    }

    fn run(&self, server: &Server) -> anyhow::Result<Figures> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.play(server))
    }
}

impl Subscribers {
    async fn play(&self, server: &Server) -> anyhow::Result<Figures> {
        let is_nats = server.kind == Kind::Nats;
        let rate = (DELIVERIES / self.count as u64).max(1);
        let total = (rate as f64 * self.duration.as_secs_f64()) as u64;
        let start = Instant::now();
        let mut readers = JoinSet::new();
        for _ in 0..self.count {
            if is_nats {
                let stream = subscribe_nats(server.address).await?;
                readers.spawn(read_nats(stream, total, start));
            } else {
                let stream = subscribe(server).await?;
                readers.spawn(read(stream, total, start));
            }
        }
        let mut publisher = TcpStream::connect(server.address).await?;
        publisher.set_nodelay(true)?;

        let before = server.cpu()?;
        let began = Instant::now();
        let mut clock = interval(PACE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = 0;
        while sent < total {
            clock.tick().await;
            let due = ((began.elapsed().as_secs_f64() * rate as f64) as u64).min(total);
            let mut data = Vec::new();
            for _ in sent..due {
                data.extend(encoded(is_nats, start.elapsed()));
            }
            sent = due;
            publisher.write_all(&data).await?;
        }
        let mut times = Vec::new();
        let mut bytes = 0;
        while let Some(read) = readers.join_next().await {
            let (came, length) = read??;
            times.extend(came);
            bytes = length;
        }
        let elapsed = began.elapsed();
        let usage = server.usage_since(&before)?;

        let mut figures = Figures::default();
        let received = times.len() as u64;
        figures.add_percentiles(times);
        figures.add("message_bytes", bytes as f64);
        figures.add_cost("server_us_per_delivery", &usage, received);
        figures.add_share(&usage, elapsed);
        figures.add("lost", (total * self.count as u64 - received) as f64);
        Ok(figures)
    }
}

/// One message, as the server takes it.
fn encoded(is_nats: bool, now: Duration) -> Vec<u8> {
    let mut content = vec![b'x'; CONTENT];
    content[..8].copy_from_slice(&(now.as_nanos() as u64).to_be_bytes());
    if !is_nats {
        return group_message(&content);
    }
    content.resize(message_bytes(), b'x');
    let mut data = format!("PUB {SUBJECT} {}\r\n", content.len()).into_bytes();
    data.extend(content);
    data.extend(b"\r\n");
    data
}

/// Length of what a gRPC subscriber gets of one message.
fn message_bytes() -> usize {
    let event = Event {
        kind: EventKind::ChatMessage.into(),
        origin_link: "0123456789abcdef-1".to_owned(),
        origin_msg_server: "127.0.0.1".to_owned(),
        body: Some(Content::ChatMessage(ChatMessage {
            from_user_id: super::FIRST_USER,
            to_id: super::GROUP,
            message_id: super::MESSAGE,
            create_time: Some(prost_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 0,
            }),
            conversation_type: 2,
            message_type: 0x11,
            content: vec![0; CONTENT].into(),
            ..ChatMessage::default()
        })),
        ..Event::default()
    };
    let response = SubscribeResponse {
        position: "0".repeat(POSITION),
        // As long as any since 2001.
        node_time: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 999_999_000,
        }),
        message: Some(Message::Event(event)),
    };
    response.encoded_len()
}

/// How long ago it was sent, by the start of its content.
fn age(content: &[u8], start: Instant) -> Duration {
    let stamp = content.first_chunk().copied().unwrap_or_default();
    let sent = Duration::from_nanos(u64::from_be_bytes(stamp));
    start.elapsed().saturating_sub(sent)
}

/// The age of each message, and the length of the last one.
type Read = (Vec<Duration>, usize);

async fn subscribe(server: &Server) -> anyhow::Result<tonic::Streaming<SubscribeResponse>> {
    let channel = timeout(STALL, server.connect()).await??;
    let request = SubscribeRequest {
        filters: vec![EventFilter {
            kinds: vec![EventKind::ChatMessage.into()],
            ..EventFilter::default()
        }],
        ..SubscribeRequest::default()
    };
    let mut client = BroadcastServiceClient::new(channel);
    let mut stream = client.subscribe(request).await?.into_inner();
    stream.message().await?.context("no first message")?;
    Ok(stream)
}

async fn read(
    mut stream: tonic::Streaming<SubscribeResponse>,
    total: u64,
    start: Instant,
) -> anyhow::Result<Read> {
    let mut came = Vec::with_capacity(total as usize);
    let mut length = 0;
    while came.len() < total as usize {
        let Ok(response) = timeout(STALL, stream.message()).await else {
            break;
        };
        let response = response?.context("the stream ended")?;
        if let Some(Message::Event(Event {
            body: Some(Content::ChatMessage(chat)),
            ..
        })) = &response.message
        {
            came.push(age(&chat.content, start));
            length = response.encoded_len();
        }
    }
    Ok((came, length))
}

async fn subscribe_nats(server: SocketAddr) -> anyhow::Result<BufReader<TcpStream>> {
    let mut stream = BufReader::new(TcpStream::connect(server).await?);
    stream.get_ref().set_nodelay(true)?;
    let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB {SUBJECT} 1\r\nPING\r\n");
    stream.write_all(hello.as_bytes()).await?;
    let mut line = String::new();
    while line != "PONG\r\n" {
        line.clear();
        let size = timeout(STALL, stream.read_line(&mut line)).await??;
        anyhow::ensure!(size > 0, "the NATS server closed the connection");
    }
    Ok(stream)
}

async fn read_nats(
    mut stream: BufReader<TcpStream>,
    total: u64,
    start: Instant,
) -> anyhow::Result<Read> {
    let mut came = Vec::with_capacity(total as usize);
    let mut line = String::new();
    let mut payload = Vec::new();
    while came.len() < total as usize {
        line.clear();
        let Ok(size) = timeout(STALL, stream.read_line(&mut line)).await else {
            break;
        };
        anyhow::ensure!(size? > 0, "the NATS server closed the connection");
        if line == "PING\r\n" {
            stream.write_all(b"PONG\r\n").await?;
        }
        if let Some(length) = line
            .strip_prefix("MSG ")
            .and_then(|l| l.split_whitespace().last())
        {
            payload.resize(length.parse::<usize>()? + 2, 0);
            stream.read_exact(&mut payload).await?;
            came.push(age(&payload, start));
        }
    }
    Ok((came, payload.len().saturating_sub(2)))
}
