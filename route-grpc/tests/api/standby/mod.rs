//! A node that does not lead, in front of one that does: calls go through it as they are, and end as they have to.

mod calls;
mod counted;
mod ends;
mod played_leader;
mod terms;

use std::net::SocketAddr;
use std::time::Duration;

use route_grpc::server::Role;
use route_grpc::settings::NodeSettings;
use route_grpc::standby::{Leader, Standby};
use route_grpc::{Ports, Process};
use route_runtime::budget::Budget;
use route_runtime::listen::local::LocalAddress;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::telemetry::Metrics;
use route_runtime::tls::client::{ClientTls, Names};
use tokio::sync::watch;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::site::{DEADLINE, soon};
use crate::wire::Wire;

pub(crate) const GET: &str = "teamtalk.route.v1.PresenceService/GetUserStatus";
pub(crate) const WATCH: &str = "teamtalk.route.v1.PresenceService/WatchUserStatus";
pub(crate) const WATCH_SET: &str = "teamtalk.route.v1.PresenceService/WatchUserSet";

/// How the flags of a node towards other nodes are called.
pub(crate) const NAMES: Names = Names {
    ca: "--peer-ca",
    certificate: "--peer-cert",
    key: "--peer-key",
    server_name: "--peer-server-name",
    token_file: "--peer-token-file",
};

/// A node that passes calls on.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: String,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Metrics,
    pub(crate) leads: watch::Sender<Option<Leader>>,
    term: u64,
}

impl Front {
    /// One that passes calls on to this URL.
    pub(crate) async fn before(url: &str) -> Self {
        let mut front = Self::with(ClientTls::none(NAMES), |_| ()).await;
        front.led_by(Some(url));
        front
    }

    /// One that knows of no leader, with these settings.
    pub(crate) async fn with(tls: ClientTls, change: impl FnOnce(&mut NodeSettings)) -> Self {
        let mut settings = NodeSettings {
            drain_window: Duration::from_millis(200),
            ..NodeSettings::default()
        };
        settings.admin_grpc_listen = Some(LocalAddress::parse("127.0.0.1:0").unwrap());
        change(&mut settings);
        let metrics = Metrics::new("test", "0").unwrap();
        let listen = ("--listen", "127.0.0.1:0".parse().unwrap());
        let ports = Ports::open(&settings, listen, &metrics.meter()).await;
        let ports = ports.unwrap();
        let at = ports.addresses();
        let shutdown = Shutdown::new(DEADLINE);
        let process = Process::new(
            settings,
            Budget::new(None),
            &metrics.meter(),
            shutdown.clone(),
        );
        let (leads, follows) = watch::channel(None);
        let standby = Standby::new(&process, "front", tls, follows).unwrap();
        ports.serve_as(&process, &Role::standby(standby), Readiness::new());
        Self {
            address: at.public,
            admin_address: at.admin.as_ref().unwrap().to_string(),
            shutdown,
            metrics,
            leads,
            term: 0,
        }
    }

    /// Another one leads from now on, or nobody does.
    pub(crate) fn led_by(&mut self, url: Option<&str>) {
        self.term += 1;
        let term = self.term;
        let leader = url.map(|url| Leader {
            api_url: url.to_owned(),
            term,
        });
        self.leads.send_replace(leader);
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.channel_by(None).await
    }

    pub(crate) async fn channel_by(&self, tls: Option<ClientTlsConfig>) -> Channel {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{}", self.address)).unwrap();
        let endpoint = match tls {
            Some(tls) => endpoint.tls_config(tls).unwrap(),
            None => endpoint,
        };
        soon("a connection", endpoint.connect()).await.unwrap()
    }

    pub(crate) async fn wire(&self) -> Wire {
        Wire::to(&self.address.to_string()).await
    }
}
