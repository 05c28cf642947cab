//! A played gateway: sends what it is told to, shows what it gets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use prost::Message as _;
use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, AttachRequest, AttachResponse, AttachWelcome, AudienceScope, DeliveryRun,
    Downlink, Envelope, LinkClosed, LinkOpened, LookAtLinks, RestoredLink, RoleReport, SessionList,
    SessionUpdate, StatusAnswer, StatusQuery, Uplink, UplinkEntry, attach_request, attach_response,
    delivery, downlink_entry,
};
use route_proto::pdu::{self, command};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::site::{Site, soon};

/// A fresh incarnation, greater than all before.
pub(crate) fn incarnation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 20);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn hello(id: &str, incarnation: u64, attempt: u64) -> AttachHello {
    AttachHello {
        gateway_id: id.to_owned(),
        incarnation,
        attempt,
        description: "played".to_owned(),
        ..AttachHello::default()
    }
}

/// Opens a stream that begins with `first`.
pub(crate) async fn stream(
    site: &Site,
    first: AttachRequest,
) -> (mpsc::Sender<AttachRequest>, Streaming<AttachResponse>) {
    stream_over(site.channel().await, first).await.unwrap()
}

async fn stream_over(
    channel: Channel,
    first: AttachRequest,
) -> Result<(mpsc::Sender<AttachRequest>, Streaming<AttachResponse>), Status> {
    let (requests, receiver) = mpsc::channel(64);
    requests.send(first).await.unwrap();
    let mut links = AttachServiceClient::new(channel)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    let responses = soon("an answer", links.attach(ReceiverStream::new(receiver))).await?;
    Ok((requests, responses.into_inner()))
}

/// One delivery as a gateway sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delivered {
    pub(crate) targets: Vec<u64>,
    pub(crate) origin: u64,
    pub(crate) sequence: u64,
    pub(crate) index: u32,
    pub(crate) payload: delivery::Payload,
    /// Of the run's first one.
    pub(crate) position: u64,
    pub(crate) read_at_micros: i64,
}

impl Delivered {
    pub(crate) fn pdu(&self) -> &Bytes {
        match &self.payload {
            delivery::Payload::Pdu(pdu) => pdu,
            other => panic!("a notice: {other:?}"),
        }
    }
}

pub(crate) fn numbered(link: u64, sequence: u64, entry: Entry) -> UplinkEntry {
    UplinkEntry {
        link,
        sequence,
        entry: Some(entry),
        ..UplinkEntry::default()
    }
}

/// Everything that has to be sent again.
pub(crate) fn caught_up(entries: Vec<UplinkEntry>) -> Uplink {
    Uplink {
        entries,
        caught_up: true,
        ..Uplink::default()
    }
}

pub(crate) struct Played {
    pub(crate) incarnation: u64,
    pub(crate) welcome: AttachWelcome,
    requests: mpsc::Sender<AttachRequest>,
    responses: mpsc::UnboundedReceiver<Result<AttachResponse, Status>>,
    takes: Arc<AtomicBool>,
    _pump: AbortOnDropHandle<()>,
    sequences: HashMap<u64, u64>,
    deliveries: Vec<Delivered>,
    answers: Vec<StatusAnswer>,
    confirmed: HashMap<u64, u64>,
    pub(crate) pauses: HashMap<u64, bool>,
    /// What it was asked about its links.
    pub(crate) looks: Vec<LookAtLinks>,
    pub(crate) roster: Vec<String>,
    pub(crate) runs: usize,
    pub(crate) ended: Vec<u64>,
    /// Of the last Downlink that was read.
    pub(crate) number: u64,
    /// None: that is not expected.
    pub(crate) asked_to_close: Option<Vec<u64>>,
    /// An operator drains it, as it was told last.
    pub(crate) draining: Option<bool>,
}

impl Played {
    /// A gateway that has nothing to send again.
    pub(crate) async fn attach(site: &Site, id: &str) -> Self {
        let hello = hello(id, incarnation(), 1);
        let attached = Self::attach_as(site, hello).await.unwrap();
        attached.send(caught_up(Vec::new())).await;
        attached
    }

    /// A node, and a gateway with a MsgServer that has these users.
    pub(crate) async fn one(users: &[u32]) -> (Site, Self) {
        let site = Site::start().await;
        let mut a = Self::attach(&site, "a").await;
        a.open_with(1, users).await;
        (site, a)
    }

    /// Two gateways, each with a MsgServer that has user 1, or 2.
    pub(crate) async fn two(site: &Site) -> [Self; 2] {
        let mut a = Self::attach(site, "a").await;
        let mut b = Self::attach(site, "b").await;
        a.open_with(1, &[1]).await;
        b.open_with(1, &[2]).await;
        [a, b]
    }

    pub(crate) async fn attach_as(site: &Site, hello: AttachHello) -> Result<Self, Status> {
        Self::attach_over(site.channel().await, hello).await
    }

    pub(crate) async fn attach_over(channel: Channel, hello: AttachHello) -> Result<Self, Status> {
        let incarnation = hello.incarnation;
        let first = AttachRequest {
            frame: Some(attach_request::Frame::Hello(hello)),
        };
        let (requests, mut responses) = stream_over(channel, first).await?;
        let response = soon("a welcome", responses.message()).await?;
        let Some(attach_response::Frame::Welcome(welcome)) = response.unwrap().frame else {
            panic!("the first message is no welcome");
        };
        let takes = Arc::new(AtomicBool::new(true));
        let (up, taken) = (requests.downgrade(), Arc::clone(&takes));
        let (down, received) = mpsc::unbounded_channel();
        let pump = tokio::spawn(pump(responses, up, taken, down));
        Ok(Self {
            incarnation,
            roster: welcome.roster.clone(),
            welcome,
            requests,
            responses: received,
            takes,
            _pump: AbortOnDropHandle::new(pump),
            sequences: HashMap::new(),
            deliveries: Vec::new(),
            answers: Vec::new(),
            confirmed: HashMap::new(),
            pauses: HashMap::new(),
            looks: Vec::new(),
            runs: 0,
            ended: Vec::new(),
            number: 0,
            asked_to_close: None,
            draining: None,
        })
    }

    /// From now on it is handed things and does not say that it has taken them.
    pub(crate) fn takes_nothing(&self) {
        self.takes.store(false, Ordering::Relaxed);
    }

    /// Says that it has taken everything up to this Downlink.
    pub(crate) async fn takes(&self, number: u64) {
        self.send(Uplink {
            taken: number,
            ..Uplink::default()
        })
        .await;
    }

    // ---- up

    /// Ends its side of the stream.
    pub(crate) fn finish(&mut self) {
        self.requests = mpsc::channel(1).0;
    }

    pub(crate) async fn send(&self, uplink: Uplink) {
        let request = AttachRequest {
            frame: Some(attach_request::Frame::Uplink(uplink)),
        };
        soon("room", self.requests.send(request)).await.unwrap();
    }

    pub(crate) async fn send_entries(&self, entries: Vec<UplinkEntry>) {
        self.send(Uplink {
            entries,
            ..Uplink::default()
        })
        .await;
    }

    /// The next entry of a link.
    pub(crate) fn entry(&mut self, link: u64, entry: Entry) -> UplinkEntry {
        let sequence = self.sequences.entry(link).or_default();
        *sequence += 1;
        numbered(link, *sequence, entry)
    }

    pub(crate) async fn tell(&mut self, link: u64, entry: Entry) -> u64 {
        let entry = self.entry(link, entry);
        let sequence = entry.sequence;
        self.send_entries(vec![entry]).await;
        sequence
    }

    pub(crate) async fn open(&mut self, link: u64) -> u64 {
        self.tell(link, opened(self.incarnation, link)).await
    }

    /// Opens a link whose MsgServer claims and lists these desktop clients.
    pub(crate) async fn open_with(&mut self, link: u64, users: &[u32]) {
        let entries = vec![
            self.entry(link, opened(self.incarnation, link)),
            self.entry(link, Entry::Role(RoleReport { claimed: true })),
            self.entry(link, list(users)),
        ];
        self.send_entries(entries).await;
        self.confirmed(link).await;
    }

    /// Opens a link of the MsgServer that has this other one, of this life of a gateway, and these users;
    /// it has not claimed.
    pub(crate) async fn open_sibling(&mut self, link: u64, of: (u64, u64), users: &[u32]) {
        let entries = vec![
            self.entry(link, opened(of.0, of.1)),
            self.entry(link, list(users)),
        ];
        self.send_entries(entries).await;
        self.confirmed(link).await;
    }

    pub(crate) async fn update(&mut self, link: u64, user_id: u32, client_type: u32, status: i32) {
        let update = SessionUpdate {
            user_id,
            client_type,
            status,
        };
        self.tell(link, Entry::Update(update)).await;
    }

    /// The desktop client of a user of link 1 goes away and comes back, so many times in all.
    pub(crate) async fn blinks(&mut self, user_id: u32, changes: u64) {
        let statuses: Vec<_> = [3, 1].into_iter().cycle().take(changes as usize).collect();
        for statuses in statuses.chunks(1000) {
            let updates = statuses.iter().map(|&status| {
                Entry::Update(SessionUpdate {
                    user_id,
                    client_type: 1,
                    status,
                })
            });
            let entries = updates.map(|update| self.entry(1, update)).collect();
            self.send_entries(entries).await;
        }
    }

    pub(crate) async fn ask(&mut self, link: u64, user_ids: &[u32]) -> u64 {
        let user_ids = user_ids.to_vec();
        self.tell(
            link,
            Entry::Query(StatusQuery {
                user_ids,
                traceparent: String::new(),
            }),
        )
        .await
    }

    pub(crate) async fn route(&mut self, link: u64, envelope: Envelope) -> u64 {
        self.tell(link, Entry::Envelope(envelope)).await
    }

    pub(crate) async fn close(&mut self, link: u64) {
        self.tell(link, Entry::Closed(LinkClosed { reason: 1 }))
            .await;
    }

    // ---- down

    async fn read(&mut self) {
        let response = soon("a downlink", self.responses.recv()).await;
        let Some(attach_response::Frame::Downlink(downlink)) = response.unwrap().unwrap().frame
        else {
            panic!("no downlink");
        };
        self.sort(downlink);
    }

    fn sort(&mut self, downlink: Downlink) {
        for entry in downlink.entries {
            match entry.entry.unwrap() {
                downlink_entry::Entry::Run(run) => self.sort_run(run),
                downlink_entry::Entry::Answer(answer) => self.answers.push(answer),
                downlink_entry::Entry::Ended(ended) => self.ended.push(ended.link),
                downlink_entry::Entry::TakenOver(_) => {}
                downlink_entry::Entry::Close(close) => match &mut self.asked_to_close {
                    Some(asked) => asked.push(close.link),
                    None => panic!("asked to close: {close:?}"),
                },
            }
        }
        self.number = downlink.number;
        let confirmed = downlink.confirmations.iter();
        self.confirmed
            .extend(confirmed.map(|c| (c.link, c.sequence)));
        let pauses = downlink.pauses.iter();
        self.pauses
            .extend(pauses.map(|pause| (pause.link, pause.on)));
        self.looks.extend(downlink.looks);
        self.draining = downlink.draining.or(self.draining);
        if let Some(roster) = downlink.roster {
            self.roster = roster.gateway_ids;
        }
    }

    fn sort_run(&mut self, run: DeliveryRun) {
        self.runs += 1;
        for delivery in run.deliveries {
            self.deliveries.push(Delivered {
                targets: run.targets.clone(),
                origin: run.origin.unwrap().number,
                sequence: delivery.sequence,
                index: delivery.index,
                payload: delivery.payload.unwrap(),
                read_at_micros: delivery.read_at_micros,
                position: run.position,
            });
        }
    }

    /// The next deliveries, exactly so many.
    pub(crate) async fn deliveries(&mut self, count: usize) -> Vec<Delivered> {
        while self.deliveries.len() < count {
            self.read().await;
        }
        self.deliveries.drain(..count).collect()
    }

    pub(crate) async fn delivery(&mut self) -> Delivered {
        self.deliveries(1).await.remove(0)
    }

    pub(crate) async fn answer(&mut self) -> StatusAnswer {
        while self.answers.is_empty() {
            self.read().await;
        }
        self.answers.remove(0)
    }

    /// Waits until everything that was sent for a link has been confirmed.
    pub(crate) async fn confirmed(&mut self, link: u64) {
        let sent = self.sequences[&link];
        while self.confirmed.get(&link).copied().unwrap_or_default() < sent {
            self.read().await;
        }
    }

    pub(crate) fn confirmed_so_far(&self, link: u64) -> u64 {
        self.confirmed.get(&link).copied().unwrap_or_default()
    }

    pub(crate) async fn until(&mut self, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            self.read().await;
        }
    }

    /// Everything that was sent has been confirmed, and nothing else has come.
    pub(crate) async fn got_nothing_after(&mut self, link: u64) {
        self.confirmed(link).await;
        assert_eq!(self.deliveries, []);
    }

    /// Waits for the end of the stream.
    pub(crate) async fn end(&mut self) -> Option<Status> {
        let end = async {
            loop {
                match self.responses.recv().await {
                    Some(Ok(_)) => {}
                    None => return None,
                    Some(Err(status)) => return Some(status),
                }
            }
        };
        soon("the end", end).await
    }
}

/// Takes what comes at once, as a gateway does, whether or not the test looks at it.
async fn pump(
    mut responses: Streaming<AttachResponse>,
    up: mpsc::WeakSender<AttachRequest>,
    takes: Arc<AtomicBool>,
    down: mpsc::UnboundedSender<Result<AttachResponse, Status>>,
) {
    while let Some(response) = responses.message().await.transpose() {
        if let Ok(response) = &response
            && let Some(attach_response::Frame::Downlink(downlink)) = &response.frame
            && takes.load(Ordering::Relaxed)
        {
            let uplink = Uplink {
                taken: downlink.number,
                ..Uplink::default()
            };
            let frame = Some(attach_request::Frame::Uplink(uplink));
            if let Some(up) = up.upgrade() {
                // The stream may be ending.
                let _ = up.send(AttachRequest { frame }).await;
            }
        }
        let over = response.is_err();
        if down.send(response).is_err() || over {
            return;
        }
    }
}

/// Each link's MsgServer has an IP address of its own, whatever its gateway.
pub(crate) fn opened(incarnation: u64, link: u64) -> Entry {
    Entry::Opened(LinkOpened {
        peer: format!(
            "10.{}.{}.{link}:4000",
            incarnation / 256 % 256,
            incarnation % 256
        ),
        ..LinkOpened::default()
    })
}

/// A complete list of desktop clients, all online.
pub(crate) fn list(users: &[u32]) -> Entry {
    Entry::List(SessionList {
        user_ids: users.to_vec(),
        client_types: vec![1; users.len()],
        statuses: vec![1; users.len()],
        last: true,
    })
}

/// What a restored link was.
pub(crate) fn claimed_and_listed() -> RestoredLink {
    RestoredLink {
        claimed: true,
        reported: true,
        listed: true,
        ..RestoredLink::default()
    }
}

/// A chat message between users.
pub(crate) fn chat(from: u32, to: u32, content: &[u8]) -> Envelope {
    chat_of_type(1, from, to, content)
}

/// The same, of this type, which may be one for groups.
pub(crate) fn chat_of_type(msg_type: i32, from: u32, to: u32, content: &[u8]) -> Envelope {
    let body = route_proto::legacy::im::message::ImMsgData {
        from_user_id: from,
        to_session_id: to,
        msg_id: 1,
        create_time: 2,
        msg_type,
        msg_data: Bytes::copy_from_slice(content),
        attach_data: None,
    };
    Envelope {
        command: command::MESSAGE.into(),
        scope: AudienceScope::Users.into(),
        user_ids: vec![from, to],
        pdu: pdu::framed(command::MESSAGE, 9, &body.encode_to_vec()),
        ..Envelope::default()
    }
}

/// A file of user 1 for user 2. Its name is in the encoding of its sender.
pub(crate) fn file_notice(file_name: &[u8]) -> Envelope {
    let mut body = vec![0x08, 1, 0x10, 2, 0x1a, file_name.len() as u8];
    body.extend_from_slice(file_name);
    body.extend_from_slice(b"\x20\x01\x2a\x01t\x38\x02\x40\x01");
    Envelope {
        command: command::FILE_NOTICE.into(),
        scope: AudienceScope::Users.into(),
        user_ids: vec![1, 2],
        pdu: pdu::framed(command::FILE_NOTICE, 5, &body),
        ..Envelope::default()
    }
}

/// Something for everybody else.
pub(crate) fn kick(body: &[u8]) -> Envelope {
    Envelope {
        command: command::KICK_USER.into(),
        scope: AudienceScope::Others.into(),
        pdu: pdu::framed(command::KICK_USER, 9, body),
        ..Envelope::default()
    }
}
