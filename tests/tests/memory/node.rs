//! The real node, and what it says that it holds beside what it takes.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use system_tests::deployment::process::Process;
use system_tests::deployment::{ports, probes};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};

use crate::show;

/// How long it may take to get ready, or to come to a level.
const LIMIT: Duration = Duration::from_secs(240);
/// How often it is asked.
const POLL: Duration = Duration::from_millis(50);
/// So many looks have to see the same.
const STEADY: usize = 6;
/// Counted is what goes, within this, in either direction.
const EXACTNESS: f64 = 1.5;

/// A node, and what it took when it was measured last.
pub(crate) struct Node {
    process: Process,
    grpc: SocketAddr,
    probes: SocketAddr,
    /// Resident and counted.
    before: (u64, u64),
}

impl Node {
    /// `route-grpc serve`, with these flags.
    pub(crate) async fn start(flags: &[String]) -> Self {
        let [grpc, probes] = ports::free().expect("ports are free");
        let mut arguments = vec![
            "serve".to_owned(),
            format!("--listen={grpc}"),
            format!("--probe-listen={probes}"),
        ];
        arguments.extend_from_slice(flags);
        let process = Process::start("route-grpc", &arguments).expect("it is built");
        let until = Instant::now() + LIMIT;
        while probes::get(probes, "/livez").await.is_err() {
            assert!(process.is_alive() && Instant::now() < until, "{process}");
            sleep(POLL).await;
        }
        Self {
            process,
            grpc,
            probes,
            before: (0, 0),
        }
    }

    /// A new connection.
    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).expect("a URL");
        endpoint.connect().await.expect("the node listens")
    }

    /// One of its metrics. A node that works through what it was sent may answer too late: time is not
    /// judged here. Any other error is one.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let until = Instant::now() + LIMIT;
        loop {
            let value = probes::metric(self.probes, &format!("teamtalk_route_{name}")).await;
            match value {
                Ok(value) => return value as u64,
                Err(error) if error.kind() == ErrorKind::TimedOut && Instant::now() < until => {}
                Err(error) => panic!("no answer: {error}\n{}", self.process),
            }
        }
    }

    /// All bytes that it says it holds.
    async fn counted(&self) -> u64 {
        let mut sum = 0;
        for name in [
            "gateways_queued_bytes",
            "confirmations_bytes",
            "held_bytes",
            "log_bytes",
            "routed_bytes",
            "cold_start_memory_bytes",
            "streams_pending_bytes",
            "requests_unfinished_bytes",
        ] {
            sum += self.metric(name).await;
        }
        sum
    }

    /// What it takes from now on is growth.
    pub(crate) async fn measure_from_here(&mut self) {
        self.before = (self.process.resident_bytes(), self.counted().await);
    }

    /// Waits until a metric has come to this value.
    pub(crate) async fn comes_to(&self, name: &str, value: u64) {
        let until = Instant::now() + LIMIT;
        while self.metric(name).await < value {
            let is = self.metric(name).await;
            assert!(Instant::now() < until, "{name} is {is}, not {value}");
            sleep(POLL).await;
        }
    }

    /// Waits until a metric stays as it is: everything that was on its way has come. Returns its value.
    pub(crate) async fn settles(&self, name: &str) -> u64 {
        let until = Instant::now() + LIMIT;
        let (mut value, mut looks) = (self.metric(name).await, 0);
        while looks < STEADY {
            sleep(POLL).await;
            let is = self.metric(name).await;
            looks = if is == value { looks + 1 } else { 0 };
            value = is;
            assert!(Instant::now() < until, "{name} does not settle");
        }
        value
    }

    /// It has never grown by so much.
    pub(crate) fn stays_below(&self, what: &str, most: u64) {
        let grown = self.process.peak_bytes().saturating_sub(self.before.0);
        show(&format!("{what}: grown by {} MiB at the most", grown >> 20));
        assert!(self.process.is_alive(), "{}", self.process);
        assert!(grown < most, "{what}: grown by {grown}, not below {most}");
    }

    /// Its log says this.
    pub(crate) async fn says(&self, text: &str) {
        assert!(self.process.says(text, LIMIT).await, "{}", self.process);
    }

    /// Waits until a metric has fallen to this value.
    pub(crate) async fn falls_to(&self, name: &str, value: u64) {
        let until = Instant::now() + LIMIT;
        while self.metric(name).await > value {
            assert!(Instant::now() < until, "{name} does not fall to {value}");
            sleep(POLL).await;
        }
    }

    /// It has counted at least `least` bytes more, and has grown by about as much. `entries` is how
    /// many things it holds.
    pub(crate) async fn holds(&self, what: &str, entries: u64, least: u64) {
        let counted = self.counted().await.saturating_sub(self.before.1);
        let grown = self.process.resident_bytes().saturating_sub(self.before.0);
        let ratio = grown as f64 / counted.max(1) as f64;
        let each = grown / entries.max(1);
        show(&format!(
            "{what}: {} MiB counted, grown by {} MiB: {ratio:.2}; {entries} entries, {each} bytes each",
            counted >> 20,
            grown >> 20
        ));
        assert!(
            counted >= least,
            "only {counted} bytes of {what} are counted"
        );
        assert!(
            (1.0 / EXACTNESS..=EXACTNESS).contains(&ratio),
            "{what}: {counted} bytes counted, grown by {grown}"
        );
    }
}
