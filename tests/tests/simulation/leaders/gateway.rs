//! A gateway: looks for a node that welcomes it, opens a connection, sends something again and again, and says what it is
//! told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{
    AttachHello, AttachRequest, AttachResponse, AttachWelcome, Downlink, LinkOpened, RoleReport,
    Uplink, UplinkEntry, attach_request, attach_response,
};
use system_tests::dice::Dice;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::leaders::judge::Judge;
use crate::leaders::node::{self, NODES, PORT};
use crate::network::wire;

pub(crate) const GATEWAYS: usize = 3;

/// How often it sends something.
const PACE: Duration = Duration::from_millis(50);
/// To be welcomed.
const WELCOME: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(3);

/// The host's name.
pub(crate) fn name(number: usize) -> String {
    format!("gateway-{number}")
}

/// How it looks for nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    /// Which node it tries first; none: by chance.
    pub(crate) first: Option<usize>,
    /// It leaves a node that is silent for so long.
    pub(crate) silence: Duration,
}

struct Gateway {
    judge: Arc<Judge>,
    number: usize,
    incarnation: u64,
    attempt: u64,
    /// Of its last welcome.
    known: AttachWelcome,
    /// The newest term that has welcomed it.
    term: u64,
    /// Its connections so far: each stream has one of its own.
    link: u64,
}

/// Its process. `life` is greater than that of each before.
pub(crate) async fn run(
    judge: Arc<Judge>,
    (number, life): (usize, u64),
    habit: Habit,
    mut dice: Dice,
) -> turmoil::Result {
    judge.say(&format!("gateway {number} starts as {life}"));
    let mut gateway = Gateway {
        judge,
        number,
        incarnation: life << 8 | number as u64,
        attempt: 0,
        known: AttachWelcome::default(),
        term: 0,
        link: 0,
    };
    loop {
        let mut nodes: Vec<usize> = (0..NODES).collect();
        dice.shuffle(&mut nodes);
        nodes.sort_by_key(|it| Some(*it) != habit.first);
        for node in nodes {
            let end = gateway.attach(node, habit.silence).await;
            let end = end
                .err()
                .unwrap_or_else(|| "the stream has ended".to_owned());
            gateway
                .judge
                .say(&format!("gateway {number} leaves node {node}: {end}"));
        }
        sleep(dice.millis(100..500)).await;
    }
}

impl Gateway {
    async fn attach(&mut self, node: usize, silence: Duration) -> Result<(), String> {
        let endpoint = format!("http://{}:{PORT}", node::name(node));
        let endpoint = Endpoint::from_shared(endpoint).map_err(|error| error.to_string())?;
        let endpoint = endpoint.connect_timeout(CONNECT);
        let channel = timeout(CONNECT, wire::dial(&endpoint)).await;
        let channel = channel
            .map_err(|_| "no answer")?
            .map_err(|error| error.to_string())?;
        let (requests, receiver) = mpsc::channel(256);
        self.attempt += 1;
        let hello = AttachHello {
            gateway_id: name(self.number),
            incarnation: self.incarnation,
            attempt: self.attempt,
            term: self.term,
            epoch: self.known.epoch,
            roster: self.known.roster.clone(),
            ..AttachHello::default()
        };
        let frame = Some(attach_request::Frame::Hello(hello));
        let _ = requests.send(AttachRequest { frame }).await;
        let mut client = AttachServiceClient::new(channel);
        let welcomed = timeout(WELCOME, async {
            let responses = client.attach(ReceiverStream::new(receiver)).await;
            let mut responses = responses
                .map_err(|it| it.message().to_owned())?
                .into_inner();
            let first = responses
                .message()
                .await
                .map_err(|it| it.message().to_owned())?;
            Ok::<_, String>((responses, first))
        });
        let (responses, first) = welcomed.await.map_err(|_| "no welcome")??;
        let Some(attach_response::Frame::Welcome(welcome)) = first.and_then(|it| it.frame) else {
            return Err("no welcome".to_owned());
        };
        self.term = self.term.max(welcome.term);
        self.judge.say(&format!(
            "gateway {} is welcomed by term {}",
            self.number, welcome.term
        ));
        let term = welcome.term;
        self.known = welcome;
        self.follow(term, requests, responses, silence).await
    }

    async fn follow(
        &mut self,
        term: u64,
        requests: mpsc::Sender<AttachRequest>,
        mut responses: Streaming<AttachResponse>,
        silence: Duration,
    ) -> Result<(), String> {
        self.link += 1;
        let (link, mut sequence) = (self.link, 0);
        let mut sent: VecDeque<(u64, Duration)> = VecDeque::new();
        let mut taken = 0;
        let mut pace = interval(PACE);
        let mut heard = self.judge.now();
        loop {
            tokio::select! {
                biased;
                response = responses.message() => {
                    let response = response.map_err(|it| it.message().to_owned())?;
                    let Some(frame) = response.and_then(|it| it.frame) else {
                        return Ok(());
                    };
                    heard = self.judge.now();
                    let attach_response::Frame::Downlink(downlink) = frame else {
                        return Err("another welcome".to_owned());
                    };
                    taken = downlink.number;
                    self.hears(term, link, &downlink, &mut sent);
                }
                _ = pace.tick() => {
                    if self.judge.now() > heard + silence {
                        return Err("it is silent".to_owned());
                    }
                    sequence += 1;
                    sent.push_back((sequence, self.judge.now()));
                    let entry = UplinkEntry {
                        link,
                        sequence,
                        entry: Some(self.says(sequence)),
                        ..UplinkEntry::default()
                    };
                    let uplink = Uplink {
                        entries: vec![entry],
                        caught_up: sequence == 1,
                        taken,
                        ..Uplink::default()
                    };
                    let frame = Some(attach_request::Frame::Uplink(uplink));
                    // It waits for a node that takes nothing.
                    let _ = requests.try_send(AttachRequest { frame });
                }
            }
        }
    }

    /// Nothing of it goes to others.
    fn says(&self, sequence: u64) -> Entry {
        match sequence {
            1 => Entry::Opened(LinkOpened {
                peer: format!("10.0.{}.{}:4000", self.number, self.link % 256),
                ..LinkOpened::default()
            }),
            _ => Entry::Role(RoleReport { claimed: true }),
        }
    }

    fn hears(
        &self,
        term: u64,
        link: u64,
        downlink: &Downlink,
        sent: &mut VecDeque<(u64, Duration)>,
    ) {
        let of_link = downlink.confirmations.iter().filter(|it| it.link == link);
        for confirmation in of_link {
            while let Some((_, at)) = sent.pop_front_if(|it| it.0 <= confirmation.sequence) {
                self.judge.confirmed(self.number, term, at);
            }
        }
    }
}
