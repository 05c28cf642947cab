//! A collector that is dead, a Prometheus that hangs, an output that nobody reads: MsgServers
//! notice nothing, and the servers end in time.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use system_tests::deployment::process::{Reader, Surroundings};
use system_tests::deployment::{Deployment, FanOut, Setup, ports, probes};
use system_tests::player::pair::Pair;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::collector::variables;

/// Kubernetes' grace without the time before SIGTERM and to spare: see the chart.
const GRACE: Duration = Duration::from_secs(35);
/// How long it may take until something is seen in a metric.
const LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A few more spans than this and they are dropped.
const QUEUE: &str = "64";

#[tokio::test]
async fn a_collector_that_refuses_embedded() {
    let [nobody] = ports::free().expect("a free port");
    a_dead_collector(Setup::Embedded, nobody).await;
}

#[tokio::test]
async fn a_collector_that_refuses_two_processes() {
    let [nobody] = ports::free().expect("a free port");
    a_dead_collector(Setup::TwoProcesses, nobody).await;
}

#[tokio::test]
async fn a_collector_that_says_nothing() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = silent.local_addr().expect("a bound listener");
    a_dead_collector(Setup::TwoProcesses, address).await;
}

#[tokio::test]
async fn a_collector_in_a_black_hole() {
    let hole = BlackHole::new();
    a_dead_collector(Setup::TwoProcesses, hole.address).await;
}

async fn a_dead_collector(setup: Setup, collector: SocketAddr) {
    let mut variables = variables(&format!("http://{collector}"));
    variables.push(("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE.to_owned()));
    variables.push(("OTEL_METRICS_EXPORTER", "otlp".to_owned()));
    variables.push(("OTEL_METRIC_EXPORT_INTERVAL", "50".to_owned()));
    let outage = Outage::begin(setup, Surroundings::with(variables)).await;

    outage
        .until("teamtalk_trace_spans_total", "outcome=\"dropped\"")
        .await;

    outage.end().await;
}

#[tokio::test]
async fn a_prometheus_that_never_reads_and_one_that_hangs() {
    for setup in [Setup::Embedded, Setup::TwoProcesses] {
        let outage = Outage::begin(setup, Surroundings::default()).await;
        let mut hanging = Vec::new();
        for address in outage.servers.probes() {
            // Scrapes enough to fill every buffer, of which nothing is read; and half a request,
            // and no more.
            for request in [
                &"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000),
                "GET /met",
            ] {
                let prometheus = TcpStream::connect(address).await;
                let mut prometheus = prometheus.expect("the probe port accepts");
                let written = prometheus.write_all(request.as_bytes());
                // Cut short where the server reads no more.
                let _ = timeout(Duration::from_secs(1), written).await;
                hanging.push(prometheus);
            }
        }

        outage
            .until("teamtalk_runtime_busy_time_seconds_total", "")
            .await;

        outage.end().await;
    }
}

#[tokio::test]
async fn an_output_that_nobody_reads() {
    for setup in [Setup::Embedded, Setup::TwoProcesses] {
        lost_lines(setup, Reader::Asleep).await;
    }
}

#[tokio::test]
async fn an_output_that_is_closed() {
    for setup in [Setup::Embedded, Setup::TwoProcesses] {
        lost_lines(setup, Reader::Gone).await;
    }
}

async fn lost_lines(setup: Setup, stdout: Reader) {
    // With a trace for each there is something to be said about every PDU.
    let [nobody] = ports::free().expect("a free port");
    let mut variables = variables(&format!("http://{nobody}"));
    for filter in ["TT_ROUTE_LOG_FILTER", "TT_GATEWAY_LOG_FILTER"] {
        variables.push((filter, "trace".to_owned()));
    }
    let surroundings = Surroundings {
        variables,
        stdout,
        ..Surroundings::default()
    };
    let outage = Outage::begin(setup, surroundings).await;

    outage.until("teamtalk_log_lost_total", "").await;

    outage.end().await;
}

/// Servers in trouble, and two MsgServers that must not notice.
struct Outage {
    servers: Deployment,
    pair: Pair,
}

impl Outage {
    async fn begin(setup: Setup, surroundings: Surroundings) -> Self {
        let servers = Deployment::start_in(&surroundings, setup, FanOut::Directed, &[]).await;
        let pair = Pair::start(servers.pdu_address()).await;
        Self {
            servers,
            pair: pair.expect("the server accepts"),
        }
    }

    /// Waits until this metric of every process is more than zero, while all stay ready.
    async fn until(&self, metric: &str, labels: &str) {
        let grown = async {
            for address in self.servers.probes() {
                while self.value(*address, metric, labels).await <= 0.0 {
                    sleep(POLL).await;
                }
            }
        };
        if timeout(LIMIT, grown).await.is_err() {
            panic!("{metric}{{{labels}}} stays 0\n{}", self.servers.output());
        }
    }

    async fn value(&self, address: SocketAddr, metric: &str, labels: &str) -> f64 {
        assert!(probes::is_ready(address).await, "{}", self.servers.output());
        let value = probes::labelled_metric(address, metric, labels).await;
        value.expect("the probe port answers")
    }

    async fn end(self) {
        self.pair.ends_well().await;
        end(&self.servers).await;
    }
}

/// Ends all processes, the gateway first, as an operator does: each within the grace, with exit
/// code 0.
pub(crate) async fn end(servers: &Deployment) {
    for process in servers.processes() {
        process.terminate();
        let status = process.ended(GRACE).await;
        let code = status.and_then(|status| status.code());
        assert_eq!(code, Some(0), "{process}");
    }
}

/// An address of which nothing ever comes back: its queue of connections is full, so the kernel
/// drops what comes.
struct BlackHole {
    address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<Socket>,
}

impl BlackHole {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).expect("a free port");
        listener.listen(0).expect("a listener");
        let address = listener.local_addr().expect("a bound listener");
        let address = address.as_socket().expect("an address of IP");
        // One more than there is room for.
        let waiting = (0..2).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let _ = socket.connect_timeout(&address.into(), Duration::from_millis(200));
            socket
        });
        let hole = Self {
            address,
            _waiting: waiting.collect(),
            _listener: listener,
        };
        let probe = std::net::TcpStream::connect_timeout(&hole.address, Duration::from_millis(500));
        assert!(probe.is_err(), "somebody answers in the black hole");
        hole
    }
}
