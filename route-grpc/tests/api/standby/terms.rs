//! Two processes of a site, of which one leads for a term: what each says of that, and whom it serves meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use route_grpc::engine::played::PlayedSite;
use route_grpc::engine::record::Author;
use route_grpc::leadership::Leadership;
use route_grpc::settings::NodeSettings;
use route_grpc::{Ports, Process};
use route_proto::attach::v1::attach_service_client::AttachServiceClient;
use route_proto::attach::v1::{AttachRequest, attach_request};
use route_proto::v1::server_service_client::ServerServiceClient;
use route_proto::v1::{GetServerInfoRequest, GetServerInfoResponse, Leader, TermState};
use route_runtime::budget::Budget;
use route_runtime::life::since_boot;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::telemetry::Metrics;
use route_runtime::tls::client::ClientTls;
use tonic::transport::{Channel, Endpoint};

use super::{GET, NAMES};
use crate::attach::reason;
use crate::played::{Played, hello, incarnation};
use crate::site::{DEADLINE, soon};
use crate::wire::{Said, Wire};

/// As the sixth term leaves it in order.
const RELEASED: &str = r#"{"protocol":1,"term":6,"node":1,"counter":1,"state":"released","roster":[],"node_id":"old",
    "api_url":"","attach_url":"","version":""}"#;

/// The sixth term ends in order, so that somebody who sees that leads.
async fn release(site: &PlayedSite) {
    let taken_over = async {
        // Whoever has just come has to see the record change.
        while site
            .record()
            .unwrap()
            .is_none_or(|it| it.stored.record.term == 6)
        {
            site.put(RELEASED.as_bytes());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a leader", taken_over).await;
}

/// A process that may lead.
struct Candidate {
    address: SocketAddr,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl Candidate {
    async fn start(site: &PlayedSite, node_id: &str) -> Self {
        let settings = NodeSettings {
            cold_start_wait: Duration::ZERO,
            drain_window: Duration::from_millis(200),
            ..NodeSettings::default()
        };
        let metrics = Metrics::new("test", "0").unwrap();
        let meter = metrics.meter();
        let listen = ("--listen", "127.0.0.1:0".parse().unwrap());
        let ports = Ports::open(&settings, listen, &meter).await.unwrap();
        let address = ports.addresses().public;
        let shutdown = Shutdown::new(DEADLINE);
        let process = Process::new(settings, Budget::new(None), &meter, shutdown.clone());
        let author = Author {
            node_id: node_id.to_owned(),
            api_url: format!("http://{address}"),
            attach_url: format!("http://{address}"),
            version: "1.2.3".to_owned(),
        };
        let (engine, peers) = (Arc::new(site.way()), ClientTls::none(NAMES));
        let leadership = Leadership::new(&process, engine, author, &meter, since_boot, peers);
        let leadership = leadership.unwrap();
        ports.serve_as(&process, &leadership.role(), Readiness::new());
        tokio::spawn(leadership.run());
        Self {
            address,
            metrics,
            shutdown,
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        soon("a connection", endpoint.connect()).await.unwrap()
    }

    async fn info(&self) -> GetServerInfoResponse {
        let mut server = ServerServiceClient::new(self.channel().await);
        let told = soon("an answer", server.get_server_info(GetServerInfoRequest {})).await;
        told.unwrap().into_inner()
    }

    /// What it says when it knows of a leader that serves.
    async fn led(&self) -> (GetServerInfoResponse, Leader) {
        let led = async {
            loop {
                let info = self.info().await;
                let leader = info.leader.clone();
                match leader.filter(|it| it.state() == TermState::Serving) {
                    Some(leader) => return (info, leader),
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        soon("a leader that serves", led).await
    }

    fn leader(&self, node_id: &str, term: u64) -> Leader {
        Leader {
            node_id: node_id.to_owned(),
            term,
            api_url: format!("http://{}", self.address),
            version: "1.2.3".to_owned(),
            state: TermState::Serving.into(),
        }
    }
}

#[tokio::test]
async fn each_node_says_who_it_is_and_who_leads() {
    let site = PlayedSite::new();
    let one = Candidate::start(&site, "one").await;
    assert_eq!(one.info().await.leader, None);
    release(&site).await;
    let (info, leader) = one.led().await;
    assert_eq!(leader, one.leader("one", 7));
    assert_eq!((info.node_id.as_str(), info.term), ("one", 7));
    assert_eq!(info.epoch.len(), 16);

    let other = Candidate::start(&site, "other").await;
    let (info, leader) = other.led().await;
    assert_eq!(leader, one.leader("one", 7));
    assert_eq!((info.node_id.as_str(), info.term), ("other", 0));
    assert_eq!(info.epoch, "", "it has no life of a leader");
    assert!(info.limits.is_some() && info.rights.unwrap().presence);
    assert!(info.start_time.is_some() && info.node_time.is_some());

    // A gateway is sent to the leader, which is no trouble, and is counted.
    let sent = Played::attach_over(other.channel().await, hello("a", incarnation(), 1)).await;
    let sent = sent.err().unwrap();
    assert_eq!(reason(&sent), "NOT_LEADER", "{sent:?}");
    let refused = other.metrics.render();
    let mut refused = refused.lines();
    let of_it = |line: &&str| {
        let is_it = line.starts_with("teamtalk_route_attach_refused_total{");
        is_it && line.contains("ERROR_REASON_NOT_LEADER")
    };
    let refused = refused.find(of_it).unwrap();
    assert!(refused.ends_with(" 1"), "{refused}");

    one.shutdown.begin();
    let (mut info, mut leader) = other.led().await;
    while info.term == 0 {
        (info, leader) = other.led().await;
    }
    assert_eq!(leader, other.leader("other", 8));
    assert_eq!((info.term, info.epoch.len()), (8, 16));
}

#[tokio::test]
async fn calls_that_wait_at_a_node_when_it_becomes_the_leader_are_answered_by_it() {
    let site = PlayedSite::new();
    let node = Candidate::start(&site, "one").await;
    let wire = Wire::to(&node.address.to_string()).await;
    let mut call = wire.call(GET, Said::all(&[8, 7])).await;
    // Let it come, and wait there for a leader.
    assert_eq!(node.info().await.leader, None);

    release(&site).await;

    // As that node has it, which has no gateway: not as one that knows of no leader.
    let status = call.end().await;
    assert_eq!(reason(&status), "NOT_SYNCED", "{status:?}");
    assert!(node.metrics.render().contains("teamtalk_route_term 7"));
}

/// While others read to their end there, its port is open, and gateways come that look for the next leader.
#[tokio::test]
async fn a_gateway_does_not_wait_for_a_leader_at_a_node_that_drains() {
    let site = PlayedSite::new();
    let node = Candidate::start(&site, "one").await;
    let (hellos, requests) = tokio::sync::mpsc::channel(1);
    let frame = Some(attach_request::Frame::Hello(hello("a", incarnation(), 1)));
    hellos.send(AttachRequest { frame }).await.unwrap();
    let mut gateway = AttachServiceClient::new(node.channel().await);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let attached = tokio::spawn(async move { gateway.attach(requests).await });
    // Let it come, and wait there.
    assert_eq!(node.info().await.leader, None);

    node.shutdown.begin();

    // Else it would take three seconds.
    let told = tokio::time::timeout(Duration::from_secs(2), attached).await;
    let status = told.expect("an answer at once").unwrap().unwrap_err();
    assert_eq!(reason(&status), "NOT_LEADER", "{status:?}");
}
