//! A played gateway that sends as fast as it can, and takes what it is handed.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, AttachRequest, AttachResponse, AudienceScope, Envelope, LinkClosed, LinkOpened,
    ReportedStatus, RoleReport, SessionList, SessionUpdate, Uplink, UplinkEntry, attach_request,
    attach_response,
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;

use crate::node::Node;

/// Entries in one message.
const BATCH: usize = 2048;
/// Users in one part of a list.
const PART: u32 = 10_000;
/// A Windows client.
const DESKTOP: u32 = 1;
/// A message between two users.
const MESSAGE: u16 = 0x0301;

/// The name of another life.
pub(crate) fn life() -> u64 {
    static LIVES: AtomicU64 = AtomicU64::new(1 << 20);
    LIVES.fetch_add(1, Ordering::Relaxed)
}

/// A stream. Its end is that of the gateway.
pub(crate) struct Gateway {
    requests: mpsc::Sender<AttachRequest>,
    _takes: AbortOnDropHandle<()>,
    sequences: Vec<u64>,
    batch: Vec<UplinkEntry>,
    most: usize,
}

impl Gateway {
    /// Attaches; `roster` are the gateways that it knows.
    pub(crate) async fn attach(node: &Node, id: &str, roster: &[&str]) -> Self {
        let hello = AttachHello {
            gateway_id: id.to_owned(),
            incarnation: life(),
            attempt: 1,
            roster: roster.iter().map(|&id| id.to_owned()).collect(),
            ..AttachHello::default()
        };
        let (requests, receiver) = mpsc::channel(4);
        let frame = Some(attach_request::Frame::Hello(hello));
        requests.send(AttachRequest { frame }).await.expect("room");
        let mut client = AttachServiceClient::new(node.channel().await);
        let requested = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut answers = client.attach(requested).await.expect("it is let in");
        let welcome = answers.get_mut().message().await;
        welcome.expect("it is well").expect("a welcome");
        let takes = tokio::spawn(take(answers.into_inner(), requests.clone()));
        Self {
            requests,
            _takes: AbortOnDropHandle::new(takes),
            sequences: Vec::new(),
            batch: Vec::new(),
            most: BATCH,
        }
    }

    /// Each message carries so many entries.
    pub(crate) fn in_batches_of(&mut self, most: usize) {
        self.most = most;
    }

    /// It has sent everything that it had before.
    pub(crate) async fn caught_up(&mut self) {
        self.flush(true).await;
    }

    /// Opens a link, its number is the next one.
    pub(crate) async fn open(&mut self, host: u8) {
        let link = self.sequences.len() + 1;
        self.sequences.push(0);
        let opened = LinkOpened {
            peer: format!("10.0.0.{host}:{}", 10_000 + link),
            ..LinkOpened::default()
        };
        self.tell(link, Entry::Opened(opened)).await;
    }

    /// The link claims, and lists these users, one of each.
    pub(crate) async fn claim_with(&mut self, link: usize, users: std::ops::Range<u32>) {
        self.tell(link, Entry::Role(RoleReport { claimed: true }))
            .await;
        self.list(link, users).await;
    }

    /// The link lists these users, one of each, in parts.
    pub(crate) async fn list(&mut self, link: usize, users: std::ops::Range<u32>) {
        let mut first = users.start;
        while first < users.end {
            let next = users.end.min(first + PART);
            let list = SessionList {
                client_types: vec![DESKTOP; (first..next).len()],
                statuses: vec![ReportedStatus::Online.into(); (first..next).len()],
                user_ids: (first..next).collect(),
                last: next == users.end,
            };
            self.tell(link, Entry::List(list)).await;
            self.flush(false).await;
            first = next;
        }
    }

    /// A user of the link comes, or goes: notices for all other links.
    pub(crate) async fn update(&mut self, link: usize, user_id: u32, online: bool) {
        let status = match online {
            true => ReportedStatus::Online,
            false => ReportedStatus::Offline,
        };
        let update = SessionUpdate {
            user_id,
            client_type: DESKTOP,
            status: status.into(),
        };
        self.tell(link, Entry::Update(update)).await;
    }

    /// A message of so many bytes for a user.
    pub(crate) async fn message(&mut self, link: usize, user: u32, bytes: usize) {
        let envelope = Envelope {
            command: MESSAGE.into(),
            scope: AudienceScope::Users.into(),
            user_ids: vec![user],
            pdu: pdu(bytes),
            ..Envelope::default()
        };
        self.tell(link, Entry::Envelope(envelope)).await;
    }

    /// The link's connection ends.
    pub(crate) async fn close(&mut self, link: usize) {
        self.tell(link, Entry::Closed(LinkClosed { reason: 1 }))
            .await;
        self.flush(false).await;
    }

    async fn tell(&mut self, link: usize, entry: Entry) {
        self.sequences[link - 1] += 1;
        self.batch.push(UplinkEntry {
            link: link as u64,
            sequence: self.sequences[link - 1],
            entry: Some(entry),
            ..UplinkEntry::default()
        });
        if self.batch.len() >= self.most {
            self.flush(false).await;
        }
    }

    /// Sends what is left.
    pub(crate) async fn flush(&mut self, caught_up: bool) {
        let uplink = Uplink {
            entries: std::mem::take(&mut self.batch),
            caught_up,
            ..Uplink::default()
        };
        let frame = Some(attach_request::Frame::Uplink(uplink));
        let sent = self.requests.send(AttachRequest { frame }).await;
        sent.expect("the stream goes on");
    }
}

async fn take(mut answers: Streaming<AttachResponse>, requests: mpsc::Sender<AttachRequest>) {
    // Whoever sends notices the end.
    while let Ok(Some(answer)) = answers.message().await {
        let Some(attach_response::Frame::Downlink(downlink)) = answer.frame else {
            continue;
        };
        let uplink = Uplink {
            taken: downlink.number,
            ..Uplink::default()
        };
        let frame = Some(attach_request::Frame::Uplink(uplink));
        if requests.send(AttachRequest { frame }).await.is_err() {
            return;
        }
    }
}

/// A PDU of so many bytes.
fn pdu(bytes: usize) -> Bytes {
    let length = u32::try_from(bytes).expect("a short one");
    let mut pdu = length.to_be_bytes().to_vec();
    for word in [1, 0, 3, MESSAGE, 0, 0] {
        pdu.extend_from_slice(&word.to_be_bytes());
    }
    pdu.resize(bytes, 7);
    pdu.into()
}
