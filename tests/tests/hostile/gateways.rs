//! Attackers that attach as gateways. Each goes on until it is dropped.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use route_proto::attach::v1::attach_request::Frame;
use route_proto::attach::v1::attach_response::Frame as Answer;
use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, AttachRequest, AttachResponse, AudienceScope, Envelope, LinkOpened, RoleReport,
    SessionList, SessionUpdate, Uplink, UplinkEntry,
};
use system_tests::player::messages::{self, Client, SINGLE_TEXT, Status as Reported};
use system_tests::player::pdu::command;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::kinds::Target;
use crate::peers::again;

/// Until the node has ended what it ends.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that wait for one that takes nothing.
const PACE: Duration = Duration::from_millis(20);
/// The user of one that takes nothing.
const USER: u32 = 3_200_000_000;

/// One stream.
struct Stream {
    requests: mpsc::Sender<AttachRequest>,
    responses: Streaming<AttachResponse>,
}

impl Stream {
    /// The node has welcomed it.
    async fn begin(at: Target, hello: AttachHello) -> io::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{}", at.grpc));
        let endpoint = endpoint.map_err(io::Error::other)?;
        let channel = endpoint.connect().await.map_err(io::Error::other)?;
        let mut node = AttachServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        let (requests, receiver) = mpsc::channel(16);
        let frame = Some(Frame::Hello(hello));
        requests
            .send(AttachRequest { frame })
            .await
            .map_err(io::Error::other)?;
        let responses = node.attach(ReceiverStream::new(receiver)).await;
        let mut stream = Self {
            requests,
            responses: responses.map_err(io::Error::other)?.into_inner(),
        };
        stream.next().await?;
        Ok(stream)
    }

    async fn next(&mut self) -> io::Result<AttachResponse> {
        let response = timeout(PATIENCE, self.responses.message()).await?;
        let response = response.map_err(io::Error::other)?;
        response.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn send(&self, uplink: Uplink) -> io::Result<()> {
        let frame = Some(Frame::Uplink(uplink));
        let sent = self.requests.send(AttachRequest { frame }).await;
        sent.map_err(io::Error::other)
    }

    /// Reads, and says that it has, until the node ends it.
    async fn takes(&mut self) -> io::Error {
        loop {
            let Ok(response) = timeout(PACE, self.next()).await else {
                continue;
            };
            let taken = match response.map(|it| it.frame) {
                Ok(Some(Answer::Downlink(downlink))) => downlink.number,
                Ok(_) => continue,
                Err(end) => return end,
            };
            let uplink = Uplink {
                taken,
                ..Uplink::default()
            };
            if let Err(end) = self.send(uplink).await {
                return end;
            }
        }
    }

    /// Reads until the node ends it.
    async fn ends(&mut self) {
        while self.next().await.is_ok() {}
    }
}

/// Of a new life of this gateway.
fn hello(id: &str) -> AttachHello {
    AttachHello {
        gateway_id: id.to_owned(),
        incarnation: fastrand::u64(1..1 << 62),
        attempt: 1,
        secret: Bytes::from_static(b"mine"),
        ..AttachHello::default()
    }
}

/// Some name that nobody has.
fn some_id() -> String {
    format!("stranger-{:016x}", fastrand::u64(..))
}

/// Link 1, by these entries, with nothing to be sent again.
fn first_entries(entries: Vec<Entry>) -> Uplink {
    let opened = Entry::Opened(LinkOpened {
        peer: "10.9.9.9:4000".to_owned(),
        ..LinkOpened::default()
    });
    let entries = std::iter::once(opened).chain(entries).zip(1..);
    Uplink {
        entries: entries
            .map(|(entry, sequence)| UplinkEntry {
                link: 1,
                sequence,
                entry: Some(entry),
                ..UplinkEntry::default()
            })
            .collect(),
        caught_up: true,
        ..Uplink::default()
    }
}

/// Hellos and entries that no gateway sends, each on a stream of its own.
pub(crate) async fn impossible_frames(at: Target) {
    again(async || {
        for bad in bad_hellos() {
            let _refused = Stream::begin(at, bad).await;
        }
        for bad in bad_entries() {
            let mut stream = Stream::begin(at, hello(&some_id())).await?;
            stream.send(first_entries(vec![bad])).await?;
            stream.ends().await;
        }
        Ok(())
    })
    .await;
}

fn bad_hellos() -> Vec<AttachHello> {
    let good = || hello(&some_id());
    vec![
        hello(""),
        hello(&"x".repeat(129)),
        AttachHello {
            incarnation: 0,
            ..good()
        },
        AttachHello {
            dialect: "x".repeat((64 << 10) + 1),
            ..good()
        },
        AttachHello {
            taken: u64::MAX,
            ..good()
        },
    ]
}

fn bad_entries() -> Vec<Entry> {
    let envelope = |pdu: &'static [u8]| Envelope {
        command: command::P2P_COMMAND.into(),
        scope: AudienceScope::Others.into(),
        pdu: Bytes::from_static(pdu),
        ..Envelope::default()
    };
    let whole = messages::p2p(1, 2, "{}").encode();
    vec![
        Entry::Envelope(envelope(b"")),
        Entry::Envelope(envelope(b"seven b")),
        Entry::Envelope(Envelope {
            traceparent: "0".repeat(4 << 20),
            pdu: whole.clone().into(),
            ..envelope(b"")
        }),
        Entry::Envelope(Envelope {
            scope: 99,
            pdu: whole.into(),
            ..envelope(b"")
        }),
        Entry::List(SessionList {
            user_ids: vec![1, 2],
            client_types: vec![1],
            statuses: vec![1, 1],
            last: true,
        }),
        Entry::Update(SessionUpdate {
            user_id: 1,
            client_type: 1,
            status: 99,
        }),
    ]
}

/// Takes the place of one that is here: by its id, and by its life, which logs show.
pub(crate) async fn with_anothers_id(at: Target) {
    let own = hello(&some_id());
    again(async || {
        let mut owner = Stream::begin(at, own.clone()).await?;
        owner.send(first_entries(Vec::new())).await?;
        let strangers = async {
            loop {
                let guessed = AttachHello {
                    attempt: 2,
                    secret: Bytes::from_static(b"guessed"),
                    ..own.clone()
                };
                let later = AttachHello {
                    attempt: u64::MAX,
                    ..guessed.clone()
                };
                for stranger in [hello(&own.gateway_id), guessed, later] {
                    let taken = Stream::begin(at, stranger).await;
                    assert!(taken.is_err(), "a stranger has its place");
                }
            }
        };
        tokio::select! {
            () = strangers => Ok(()),
            end = owner.takes() => Err(end),
        }
    })
    .await;
}

/// More than a node takes.
pub(crate) async fn many(at: Target) {
    again(async || {
        let mut all = Vec::new();
        for _ in 0..100 {
            all.push(Stream::begin(at, hello(&some_id())).await);
        }
        Ok(())
    })
    .await;
}

/// One that goes on sending what it had read before.
pub(crate) async fn never_caught_up(at: Target) {
    again(async || {
        let mut stream = Stream::begin(at, hello(&some_id())).await?;
        stream
            .send(Uplink {
                caught_up: false,
                ..first_entries(Vec::new())
            })
            .await?;
        stream.ends().await;
        Ok(())
    })
    .await;
}

/// One that has a user to whom much is sent, reads it, and never says that it has.
pub(crate) async fn take_nothing(at: Target) {
    again(async || {
        let mut stream = Stream::begin(at, hello(&some_id())).await?;
        let list = Entry::List(SessionList {
            user_ids: vec![USER],
            client_types: vec![Client::Windows as u32],
            statuses: vec![Reported::Online as i32],
            last: true,
        });
        let claim = Entry::Role(RoleReport { claimed: true });
        stream.send(first_entries(vec![claim, list])).await?;
        let sender = Stream::begin(at, hello(&some_id())).await?;
        sender.send(first_entries(Vec::new())).await?;
        let chat = messages::message(1, USER, 1, SINGLE_TEXT, b"text").encode();
        let message = Entry::Envelope(Envelope {
            command: command::MESSAGE.into(),
            scope: AudienceScope::Users.into(),
            user_ids: vec![USER],
            pdu: chat.into(),
            ..Envelope::default()
        });
        for sequence in 2.. {
            sender
                .send(Uplink {
                    entries: vec![UplinkEntry {
                        link: 1,
                        sequence,
                        entry: Some(message.clone()),
                        ..UplinkEntry::default()
                    }],
                    ..Uplink::default()
                })
                .await?;
            if let Ok(Err(_)) = timeout(PACE, stream.next()).await {
                return Ok(());
            }
            sleep(PACE).await;
        }
        Ok(())
    })
    .await;
}
