//! Start and end of a gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use route_runtime::budget::{Budget, Needs};
use route_runtime::files::{self, TooFewFiles};
use route_runtime::life::host_name;
use route_runtime::listen::local::LocalAddress;
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use route_runtime::tls::client::ClientError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::links::admission::{Admission, Networks};
use crate::links::gateway::Gateway;
use crate::links::link::LinkSettings;
use crate::links::listener::Door;
use crate::links::network::{Listen, Reserved};
use crate::links::peer::Name;
use crate::links::registry::{ConnectionLimits, Links};
use crate::metrics::{self, Levels};
use crate::node::attachment::{Attachment, Identity, Lost, Patience};
use crate::node::embedded::{EmbeddedNode, NodeSettings, Ports, SocketError, open_ports};
use crate::node::remote::{ConnectionSettings, Remote};
use crate::node::upstream::Upstream;
use crate::process::life::{LAST_STEPS, Lifetime};
use crate::process::settings::Settings;
use crate::process::settings::values::ListenOn;
use crate::unconfirmed::ledger::Keep;
use crate::unconfirmed::uplink::Uplink;
use crate::unconfirmed::windows::Windows;

/// Of the connections that the process can afford, the part that an embedded node may have, if they are few.
const NODE_PART: usize = 4;

/// Sockets that a gateway needs, bound.
#[derive(Debug)]
pub struct Sockets {
    /// For MsgServers, or for that of this name; at least one.
    pub pdu: Vec<(Reserved, Option<Name>)>,
    /// For gRPC; only with an embedded node.
    pub node: Option<Ports>,
}

impl Sockets {
    /// Binds what the settings say.
    pub async fn bind(settings: &Settings, meter: &Meter) -> Result<Self, SocketError> {
        let reserve = |on: &ListenOn| {
            let reserved = Reserved::reserve(on.address).map_err(SocketError::Pdu)?;
            Ok((reserved, on.name.clone()))
        };
        let pdu = settings.listen.iter().map(reserve);
        let node = match settings.embedded {
            true => Some(open_ports(settings.grpc_listen, &settings.node, meter).await?),
            false => None,
        };
        Ok(Sockets {
            pdu: pdu.collect::<Result<_, SocketError>>()?,
            node,
        })
    }
}

/// The gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An upstream is no URL of a node.
    #[error("invalid upstream `{url}`: {source}")]
    Upstream {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// A file of TLS, or a token's, is of no use.
    #[error(transparent)]
    Tls(#[from] ClientError),
    /// The sockets do not fit the settings.
    #[error("no socket for {0}")]
    Socket(&'static str),
    /// No room for connections.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
}

/// A gateway at work.
#[derive(Debug)]
pub struct Running {
    pdu_addresses: Vec<SocketAddr>,
    grpc_address: Option<SocketAddr>,
    admin_address: Option<LocalAddress>,
    task: JoinHandle<Result<(), Lost>>,
}

impl Running {
    /// Where MsgServers connect.
    pub fn pdu_addresses(&self) -> &[SocketAddr] {
        &self.pdu_addresses
    }

    /// Where an embedded node serves gRPC.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.grpc_address
    }

    /// Where it serves AdminService.
    pub fn admin_address(&self) -> Option<&LocalAddress> {
        self.admin_address.as_ref()
    }

    /// Waits for the end: after a drain, or because there is no use in going on without a node.
    pub async fn ended(self) -> Result<(), Lost> {
        match self.task.await {
            Ok(end) => end,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is going down.
            Err(_) => Ok(()),
        }
    }
}

/// Starts a gateway on the current runtime. It works until `shutdown` drains; then it writes what there is, closes its
/// links and ends.
pub fn start(
    settings: &Settings,
    sockets: Sockets,
    meter: &Meter,
    readiness: Readiness,
    shutdown: &Shutdown,
) -> Result<Running, StartError> {
    let pdu_addresses: Vec<_> = sockets.pdu.iter().map(|(it, _)| it.address()).collect();
    let first = pdu_addresses.first().ok_or(StartError::Socket("PDUs"))?;
    let of_node = sockets.node.as_ref().map(Ports::addresses);
    let grpc_address = of_node.as_ref().map(|it| it.public);
    let admin_address = of_node.and_then(|it| it.admin);
    let places = Places::new(settings)?;
    let gateway = gateway(settings, places.msg_servers);
    observe(meter, &gateway);

    let (node, upstreams) = match (settings.embedded, sockets.node) {
        (true, Some(ports)) => {
            let (budget, ready) = (Arc::clone(&gateway.budget), readiness.clone());
            let node = embedded(settings, (places.grpc, budget), meter, ports, ready);
            let upstreams = vec![node.upstream()];
            (Some(node), upstreams)
        }
        (true, None) => return Err(StartError::Socket("gRPC")),
        (false, _) => (None, remotes(settings)?),
    };
    if !settings.ignored.is_empty() {
        warn!(names = ?settings.ignored, "set for a node, but none runs in this process");
    }
    let (doors, door) = watch::channel(Door::Shut);
    let finished = CancellationToken::new();
    let attachment = Attachment {
        gateway: Arc::clone(&gateway),
        upstreams,
        embedded: settings.embedded,
        identity: identity(settings, *first),
        patience: Patience {
            welcome: settings.upstream_welcome_timeout,
            back_off: settings.upstream_back_off,
            silence: settings.node_silence,
            lost: settings.upstream_lost,
        },
        doors,
        readiness,
        finished: finished.clone(),
    };
    let lifetime = Lifetime {
        gateway,
        admission: Arc::new(admission(settings)),
        door,
        sockets: sockets.pdu,
        node,
        finished,
        shutdown: shutdown.clone(),
        close_window: settings.close_window,
        drain_wait: settings.upstream_drain_wait,
        query_timeout: settings.query_timeout,
    };
    say_start(&attachment);
    let task = shutdown.tracker().spawn(lifetime.live(attachment));
    Ok(Running {
        pdu_addresses,
        grpc_address,
        admin_address,
        task,
    })
}

/// Connections that there may be, so that no port is short of file descriptors because of another.
struct Places {
    msg_servers: usize,
    grpc: usize,
}

impl Places {
    fn new(settings: &Settings) -> Result<Self, TooFewFiles> {
        let affordable = files::make_room_for_connections()?;
        let grpc = match settings.embedded {
            true => settings
                .node
                .max_grpc_connections
                .min(affordable / NODE_PART),
            false => 0,
        };
        let msg_servers = settings.max_connections.min(affordable - grpc);
        if msg_servers < settings.max_connections
            || settings.embedded && grpc < settings.node.max_grpc_connections
        {
            warn!(
                msg_servers,
                grpc, "the process may open few files; taking fewer connections than configured"
            );
        }
        Ok(Self { msg_servers, grpc })
    }
}

fn identity(settings: &Settings, first: SocketAddr) -> Identity {
    let (version, host) = (env!("CARGO_PKG_VERSION"), host_name());
    Identity {
        gateway_id: settings.id(first),
        description: format!("pdu-gateway {version} on {host}"),
    }
}

fn admission(settings: &Settings) -> Admission {
    Admission {
        allowed: Networks::new(settings.allow_cidr.clone()),
        hosts: settings.hosts(),
        proxies: Networks::new(settings.proxy_protocol_from.clone()),
    }
}

/// About what a session takes in a gateway, and how many that one has it is made for.
const SESSION_BYTES: u64 = 50;
const SESSIONS: u64 = 1_000_000;

/// What the flags allow.
fn needs(settings: &Settings) -> Needs {
    let own = u64::from(settings.window_total_bytes) + u64::from(settings.link_queue_bytes);
    if !settings.embedded {
        return Needs {
            waits: own,
            tables: SESSIONS * SESSION_BYTES,
        };
    }
    let (node, sessions) = (settings.node.needs(), settings.node.max_sessions as u64);
    Needs {
        waits: own + node.waits,
        tables: node.tables + sessions * SESSION_BYTES,
    }
}

fn gateway(settings: &Settings, connections: usize) -> Arc<Gateway> {
    let keep = match settings.embedded {
        true => Keep::Counts,
        false => Keep::Contents,
    };
    let limits = ConnectionLimits {
        total: connections,
        per_source: settings.max_connections_per_source,
    };
    let windows = Windows {
        link: settings.window_bytes as usize,
        total: settings.window_total_bytes as usize,
    };
    let mut dialect = settings
        .dialect
        .clone()
        .with_client_types(&settings.client_types);
    if settings.lenient {
        dialect = dialect.lenient();
    }
    let link_settings = LinkSettings {
        heartbeat: dialect.heartbeat(),
        queue_bytes: settings.link_queue_bytes as usize,
        heartbeat_interval: settings.heartbeat_interval,
        idle_timeout: settings.idle_timeout,
        write_timeout: settings.write_timeout,
        pdu_timeout: settings.pdu_timeout,
        pdu_rate: settings.pdu_rate,
        host_timeout: settings.host_timeout,
        close_timeout: settings.close_timeout,
        remembered_origins: (!settings.embedded).then(|| settings.remembered_origins()),
    };
    Gateway::new(
        Arc::new(dialect),
        link_settings,
        Links::new(limits),
        Uplink::new(windows, keep),
        settings.max_pdu_bytes,
        Budget::of_process(settings.memory_limit, needs(settings)),
    )
}

fn say_start(attachment: &Attachment) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        gateway = attachment.identity.gateway_id,
        incarnation = format_args!("{:x}", attachment.gateway.incarnation),
        dialect = attachment.gateway.dialect.name(),
        "gateway starts"
    );
}

fn embedded(
    settings: &Settings,
    (max_grpc_connections, budget): (usize, Arc<Budget>),
    meter: &Meter,
    ports: Ports,
    readiness: Readiness,
) -> EmbeddedNode {
    let node = NodeSettings {
        max_grpc_connections,
        // Nobody has had this node before: its own gateway is all that it has to know.
        newcomer_wait: Duration::ZERO,
        ..settings.node.clone()
    };
    EmbeddedNode::start(
        node,
        settings.max_pdu_bytes,
        budget,
        meter,
        ports,
        readiness,
        LAST_STEPS,
    )
}

fn remotes(settings: &Settings) -> Result<Vec<Box<dyn Upstream>>, StartError> {
    let connection = ConnectionSettings {
        connect_timeout: settings.upstream_connect_timeout,
        keepalive_interval: settings.upstream_keepalive_interval,
        keepalive_timeout: settings.upstream_keepalive_timeout,
        stream_bytes: settings.upstream_stream_bytes,
    };
    let tls = settings.upstream_tls.client();
    // Later it is tried again, but who has mistyped a name is to see that.
    tls.read()?;
    let remote = |url: String| {
        let remote = Remote::new(&url, settings.max_pdu_bytes, &connection, tls.clone());
        match remote {
            Ok(remote) => Ok(Box::new(remote) as Box<dyn Upstream>),
            Err(source) => Err(StartError::Upstream { url, source }),
        }
    };
    settings.upstream_urls().into_iter().map(remote).collect()
}

fn observe(meter: &Meter, gateway: &Arc<Gateway>) {
    let levels = {
        let gateway = Arc::downgrade(gateway);
        move || {
            let Some(gateway) = gateway.upgrade() else {
                return Levels::default();
            };
            let backlog = gateway.uplink.backlog();
            Levels {
                unconfirmed: backlog.entries,
                unconfirmed_bytes: backlog.bytes as u64,
                resent: backlog.resent,
                queued_bytes: gateway.links.queued() as u64,
                attached: gateway.uplink.is_attached(),
                paused: gateway.links.paused() as u64,
            }
        }
    };
    metrics::observe(meter, &gateway.counters, levels);
}
