//! A gateway on ports of its own, between a node and MsgServers that the test plays.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Parser;
use pdu_gateway::process::settings::Settings;
use pdu_gateway::{Running, Sockets};
use route_dialect::Dialect;
use route_proto::attach::v1::attach_service_server::{AttachService, AttachServiceServer};
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, AttachRequest, AttachResponse, AttachWelcome, Confirmation, Delivery, DeliveryRun,
    Downlink, DownlinkEntry, LinkFigures, LinkId, LookAtLinks, LookedAt, UplinkEntry,
    attach_request, attach_response, delivery, downlink_entry,
};
use route_proto::pdu::{HEADER_LEN, framed};
use route_runtime::listen;
use route_runtime::readiness::{Readiness, State};
use route_runtime::shutdown::Shutdown;
use route_runtime::telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// Nothing here takes this long; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway and the node that the test plays.
pub(crate) struct Harness {
    pub(crate) gateway: Running,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Metrics,
    pub(crate) readiness: Readiness,
    address: SocketAddr,
    streams: mpsc::Receiver<NodeStream>,
}

impl Harness {
    /// Starts a gateway with these flags beside the usual ones.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_with(Server::builder(), flags).await
    }

    /// The same with a node that is served so.
    pub(crate) async fn start_with(server: Server, flags: &[&str]) -> Self {
        let (node, streams) = node(server).await;
        Self::start_at(&node.to_string(), streams, flags).await
    }

    /// The same with nodes that are there already, at these addresses. Those that the test wants to see here open these
    /// streams.
    pub(crate) async fn start_at(
        upstreams: &str,
        streams: mpsc::Receiver<NodeStream>,
        flags: &[&str],
    ) -> Self {
        let usual = [
            "pdu-gateway",
            "--upstream",
            upstreams,
            "--listen",
            "127.0.0.1:0",
        ];
        let settings = Settings::parse_from(usual.iter().chain(flags));
        let shutdown = Shutdown::new(settings.shutdown_deadline);
        let metrics = Metrics::new("test", "0").unwrap();
        let readiness = Readiness::new();
        let meter = metrics.meter();
        let sockets = Sockets::bind(&settings, &meter).await.unwrap();
        let gateway =
            pdu_gateway::start(&settings, sockets, &meter, readiness.clone(), &shutdown).unwrap();
        Harness {
            address: gateway.pdu_addresses()[0],
            gateway,
            shutdown,
            metrics,
            readiness,
            streams,
        }
    }

    /// The next stream that the gateway opens, with its hello.
    pub(crate) async fn attaching(&mut self) -> (NodeStream, AttachHello) {
        let mut stream = within(self.streams.recv()).await.unwrap();
        let hello = stream.hello().await;
        (stream, hello)
    }

    /// The next stream, welcomed by a node of this epoch that knows so much.
    pub(crate) async fn attached(&mut self, epoch: u64, applied: &[(u64, u64)]) -> NodeStream {
        let (stream, _) = self.attaching().await;
        stream.welcome(epoch, applied).await;
        self.ready().await;
        stream
    }

    /// Waits until the gateway is ready because it has a node.
    pub(crate) async fn ready(&self) {
        let mut state = self.readiness.watch();
        let is_attached = |state: &State| state.ready && state.reason == "attached to a node";
        within(state.wait_for(is_attached)).await.unwrap();
    }

    /// Waits until the gateway takes no connections, because an operator drains it.
    pub(crate) async fn is_drained(&self) {
        let mut state = self.readiness.watch();
        let is_drained = |state: &State| !state.ready && state.reason == "drained by an operator";
        within(state.wait_for(is_drained)).await.unwrap();
        let refuses = async {
            while self.connect().await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        within(refuses).await;
    }

    /// Waits until the gateway knows that it has no node, and is ready or not all the same.
    pub(crate) async fn without_node(&self, ready: bool) {
        let mut state = self.readiness.watch();
        let is_so =
            |state: &State| state.ready == ready && state.reason.starts_with("no node is attached");
        within(state.wait_for(is_so)).await.unwrap();
    }

    /// Welcomes this stream, or the next that the gateway does not give up.
    pub(crate) async fn welcomed(
        &mut self,
        mut stream: NodeStream,
        epoch: u64,
        applied: &[(u64, u64)],
    ) -> NodeStream {
        loop {
            stream.welcome(epoch, applied).await;
            let given_up = stream.responses.clone();
            tokio::select! {
                () = self.ready() => return stream,
                () = given_up.closed() => stream = self.attaching().await.0,
            }
        }
    }

    /// A MsgServer that connects, and the entry that tells the node.
    pub(crate) async fn msg_server(&self, node: &mut NodeStream) -> (MsgServer, u64) {
        let msg_server = self.connect().await.unwrap();
        let opened = node.entry().await;
        assert!(matches!(opened.entry, Some(Entry::Opened(_))));
        (msg_server, opened.link)
    }

    /// Its metrics say this line.
    pub(crate) fn shows(&self, line: &str) {
        let scraped = self.metrics.render();
        assert!(
            scraped.lines().any(|it| it == line),
            "{line} is not in\n{scraped}"
        );
    }

    /// Waits until its metrics say this line.
    pub(crate) async fn comes_to_show(&self, line: &str) {
        let shown = async {
            while !self.metrics.render().lines().any(|it| it == line) {
                tokio::task::yield_now().await;
            }
        };
        within(shown).await;
    }

    /// So many connections were refused for this reason.
    pub(crate) fn refused(&self, reason: &str, count: usize) {
        self.shows(&format!(
            "teamtalk_pdu_connections_refused_total{{reason=\"{reason}\"}} {count}"
        ));
    }

    /// It has nothing more to do after its drain.
    pub(crate) async fn has_drained(self) {
        within(self.gateway.ended()).await.unwrap();
        assert!(within(self.shutdown.finish()).await);
    }

    pub(crate) async fn connect(&self) -> std::io::Result<MsgServer> {
        self.connect_to(self.address, Ipv4Addr::LOCALHOST).await
    }

    /// Connects to a listener, from this address of the host.
    pub(crate) async fn connect_to(
        &self,
        listener: SocketAddr,
        from: Ipv4Addr,
    ) -> std::io::Result<MsgServer> {
        let connect = async || {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((from, 0)))?;
            socket.connect(listener).await
        };
        // Listening begins a moment after the welcome.
        let mut connected = connect().await;
        if self.readiness.is_ready() {
            for _ in 0..200 {
                if connected.is_ok() {
                    break;
                }
                tokio::task::yield_now().await;
                connected = connect().await;
            }
        }
        Ok(MsgServer { stream: connected? })
    }
}

/// One Attach stream, seen from the node.
pub(crate) struct NodeStream {
    /// The header of this name.
    pub(crate) authorization: Option<String>,
    /// The gateway's own.
    pub(crate) certificate: Option<Vec<u8>>,
    requests: Streaming<AttachRequest>,
    responses: mpsc::Sender<Result<AttachResponse, Status>>,
    entries: std::collections::VecDeque<UplinkEntry>,
    looked_at: std::collections::VecDeque<LookedAt>,
    pub(crate) taken: u64,
    number: u64,
}

impl NodeStream {
    /// What the gateway says first.
    pub(crate) async fn hello(&mut self) -> AttachHello {
        let request = within(self.requests.next()).await.unwrap().unwrap();
        let Some(attach_request::Frame::Hello(hello)) = request.frame else {
            panic!("a stream begins with hello");
        };
        hello
    }

    pub(crate) async fn welcome(&self, epoch: u64, applied: &[(u64, u64)]) {
        self.welcome_while(epoch, applied, false).await;
    }

    /// The same of a node that drains the gateway, or does not.
    pub(crate) async fn welcome_while(&self, epoch: u64, applied: &[(u64, u64)], draining: bool) {
        let welcome = AttachWelcome {
            epoch,
            applied: confirmations(applied),
            roster: vec!["a".to_owned()],
            draining,
            ..AttachWelcome::default()
        };
        self.welcome_by(welcome).await;
    }

    /// The same with these words.
    pub(crate) async fn welcome_by(&self, welcome: AttachWelcome) {
        self.send(attach_response::Frame::Welcome(welcome)).await;
    }

    /// The next entry of any link.
    pub(crate) async fn entry(&mut self) -> UplinkEntry {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return entry;
            }
            self.message().await;
        }
    }

    /// An entry that has come already.
    pub(crate) fn waiting_entry(&mut self) -> Option<UplinkEntry> {
        self.entries.pop_front()
    }

    /// Waits until the gateway has taken over everything that it was sent.
    pub(crate) async fn all_taken(&mut self) {
        while self.taken < self.number {
            self.message().await;
        }
    }

    async fn message(&mut self) {
        let request = within(self.requests.next()).await;
        let request = request.expect("the stream is open").unwrap();
        let Some(attach_request::Frame::Uplink(uplink)) = request.frame else {
            panic!("after hello come uplinks");
        };
        self.taken = uplink.taken;
        self.entries.extend(uplink.entries);
        self.looked_at.extend(uplink.looked_at);
    }

    /// Says that an operator drains the gateway, or no longer does.
    pub(crate) async fn drains(&mut self, on: bool) {
        let draining = Some(on);
        let message = Downlink {
            draining,
            ..Downlink::default()
        };
        self.send_downlink(message).await;
    }

    /// Asks about these links, and waits for the answer.
    pub(crate) async fn looks_at(&mut self, number: u64, links: &[u64]) -> Vec<LinkFigures> {
        let links = links.to_vec();
        let message = Downlink {
            looks: vec![LookAtLinks { number, links }],
            ..Downlink::default()
        };
        self.send_downlink(message).await;
        loop {
            if let Some(answer) = self.looked_at.pop_front() {
                assert_eq!(answer.number, number);
                return answer.rows;
            }
            self.message().await;
        }
    }

    pub(crate) async fn confirm(&mut self, confirmed: &[(u64, u64)]) {
        self.downlink(Vec::new(), confirmed).await;
    }

    pub(crate) async fn deliver(&mut self, run: DeliveryRun) {
        self.downlink(vec![downlink_entry::Entry::Run(run)], &[])
            .await;
    }

    pub(crate) async fn downlink(
        &mut self,
        entries: Vec<downlink_entry::Entry>,
        confirmed: &[(u64, u64)],
    ) {
        let entries = entries
            .into_iter()
            .map(|entry| DownlinkEntry { entry: Some(entry) });
        let downlink = Downlink {
            entries: entries.collect(),
            confirmations: confirmations(confirmed),
            ..Downlink::default()
        };
        self.send_downlink(downlink).await;
    }

    /// Sends a message, with the next number.
    pub(crate) async fn send_downlink(&mut self, downlink: Downlink) {
        self.number += 1;
        let number = self.number;
        let downlink = Downlink { number, ..downlink };
        self.send(attach_response::Frame::Downlink(downlink)).await;
    }

    /// Ends the stream with a status.
    pub(crate) async fn refuse(self, status: Status) {
        let _ = self.responses.send(Err(status)).await;
    }

    async fn send(&self, frame: attach_response::Frame) {
        let response = AttachResponse { frame: Some(frame) };
        // A gateway that has given up the stream does not hear it.
        let _ = self.responses.send(Ok(response)).await;
    }
}

fn confirmations(of: &[(u64, u64)]) -> Vec<Confirmation> {
    let confirmation = |&(link, sequence): &(u64, u64)| Confirmation { link, sequence };
    of.iter().map(confirmation).collect()
}

/// One MsgServer's connection.
pub(crate) struct MsgServer {
    stream: TcpStream,
}

impl MsgServer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next PDU that is no heartbeat.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        loop {
            let mut pdu = vec![0; HEADER_LEN];
            within(self.stream.read_exact(&mut pdu)).await.unwrap();
            let length = u32::from_be_bytes([pdu[0], pdu[1], pdu[2], pdu[3]]);
            pdu.resize(length as usize, 0);
            within(self.stream.read_exact(&mut pdu[HEADER_LEN..]))
                .await
                .unwrap();
            if pdu != Dialect::published().heartbeat() {
                return pdu;
            }
        }
    }

    /// Waits for the gateway to close. Returns what it wrote before, without heartbeats.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        // A reset is an end too.
        self.end().await.0
    }

    /// Waits for the gateway to close with FIN, without a word before it.
    pub(crate) async fn finished(&mut self) {
        let (rest, end) = self.end().await;
        end.unwrap();
        assert_eq!(rest, b"");
    }

    async fn end(&mut self) -> (Vec<u8>, std::io::Result<usize>) {
        let mut rest = Vec::new();
        let end = within(self.stream.read_to_end(&mut rest)).await;
        let rest = rest
            .chunks_exact(HEADER_LEN)
            .filter(|chunk| *chunk != Dialect::published().heartbeat())
            .flatten()
            .copied()
            .collect();
        (rest, end)
    }

    pub(crate) fn set_small_receive_buffer(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_recv_buffer_size(4096).unwrap();
    }
}

/// A node that is served so, where it is, and the streams that are opened there.
pub(crate) async fn node(mut server: Server) -> (SocketAddr, mpsc::Receiver<NodeStream>) {
    let listener = listen::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (attached, streams) = mpsc::channel(16);
    let service = AttachServiceServer::new(FakeNode { attached })
        .max_decoding_message_size(64 << 20)
        .max_encoding_message_size(64 << 20);
    let server = server.add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, streams)
}

struct FakeNode {
    attached: mpsc::Sender<NodeStream>,
}

#[tonic::async_trait]
impl AttachService for FakeNode {
    type AttachStream = ReceiverStream<Result<AttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<AttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (responses, stream) = mpsc::channel(64);
        let authorization = request.metadata().get("authorization");
        let attached = NodeStream {
            authorization: authorization.map(|it| it.to_str().unwrap().to_owned()),
            certificate: request.peer_certs().map(|it| it[0].to_vec()),
            requests: request.into_inner(),
            responses,
            entries: std::collections::VecDeque::new(),
            looked_at: std::collections::VecDeque::new(),
            taken: 0,
            number: 0,
        };
        self.attached.send(attached).await.unwrap();
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

pub(crate) fn pdu(command: u16, sequence: u16, body: &[u8]) -> Vec<u8> {
    framed(command, sequence, body).to_vec()
}

/// A run of PDUs of another gateway's link 9, with sequences from `first`.
pub(crate) fn run(targets: &[u64], first: u64, pdus: &[Vec<u8>]) -> DeliveryRun {
    let deliveries = (first..).zip(pdus).map(|(sequence, pdu)| Delivery {
        sequence,
        payload: Some(delivery::Payload::Pdu(pdu.clone().into())),
        ..Delivery::default()
    });
    DeliveryRun {
        origin: Some(LinkId {
            gateway: 77,
            number: 9,
        }),
        targets: targets.to_vec(),
        position: first,
        deliveries: deliveries.collect(),
        ..DeliveryRun::default()
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}
