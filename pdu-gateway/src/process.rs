//! Start and end of a gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Meter;
use route_proto::attach::v1::CloseReason;
use route_runtime::files;
use route_runtime::listen::{self, BindError};
use route_runtime::readiness::Readiness;
use route_runtime::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::attach::{Attachment, ConnectionSettings, Identity, Lost, Patience, Remote, Upstream};
use crate::embedded::{EmbeddedNode, NodeSettings};
use crate::gateway::Gateway;
use crate::ledger::Keep;
use crate::link::LinkSettings;
use crate::links::{ConnectionLimits, Links};
use crate::listener::{AllowList, Door, Listener};
use crate::metrics::{self, Levels};
use crate::network::{Listen, Reserved};
use crate::settings::{Settings, host_name};
use crate::tick;
use crate::translate::Dialect;
use crate::uplink::{Uplink, Windows};

/// Of the connections that the process can afford, the part that an embedded node may have, if they are few.
const NODE_PART: usize = 4;

/// Of the drain deadline, what is left for the end of the stream and of an embedded node.
const LAST_STEPS: Duration = Duration::from_secs(4);

/// Sockets that a gateway needs, bound.
#[derive(Debug)]
pub struct Sockets {
    /// For MsgServers; at least one.
    pub pdu: Vec<Reserved>,
    /// For gRPC; only with an embedded node.
    pub grpc: Option<TcpListener>,
}

impl Sockets {
    /// Binds what the settings say.
    pub async fn bind(settings: &Settings) -> Result<Self, BindError> {
        let pdu = settings
            .listen
            .iter()
            .map(|address| Reserved::reserve(*address));
        let grpc = match settings.embedded {
            true => Some(listen::bind(settings.grpc_listen).await?),
            false => None,
        };
        Ok(Sockets {
            pdu: pdu.collect::<Result<_, _>>()?,
            grpc,
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
    /// The sockets do not fit the settings.
    #[error("no socket for {0}")]
    Socket(&'static str),
}

/// A gateway at work.
#[derive(Debug)]
pub struct Running {
    pdu_addresses: Vec<SocketAddr>,
    grpc_address: Option<SocketAddr>,
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
    let pdu_addresses: Vec<_> = sockets.pdu.iter().map(Reserved::address).collect();
    let first = pdu_addresses.first().ok_or(StartError::Socket("PDUs"))?;
    let grpc_address = sockets.grpc.as_ref().and_then(|l| l.local_addr().ok());
    let identity = Identity {
        gateway_id: settings.id(*first),
        description: format!(
            "pdu-gateway {} on {}",
            env!("CARGO_PKG_VERSION"),
            host_name()
        ),
    };
    if !settings.ignored.is_empty() {
        warn!(names = ?settings.ignored, "set for a node, but none runs in this process");
    }
    let places = Places::new(settings);
    let gateway = gateway(settings, places.msg_servers);
    observe(meter, &gateway, &readiness);

    let (node, upstreams) = match (settings.embedded, sockets.grpc) {
        (true, Some(grpc)) => {
            let node = EmbeddedNode::start(
                NodeSettings {
                    max_grpc_connections: places.grpc,
                    // Nobody has had this node before: its own gateway is all that it has to know.
                    newcomer_wait: Duration::ZERO,
                    ..settings.node.clone()
                },
                settings.max_pdu_bytes,
                meter,
                grpc,
                readiness.clone(),
                LAST_STEPS,
            );
            let upstreams = vec![node.upstream()];
            (Some(node), upstreams)
        }
        (true, None) => return Err(StartError::Socket("gRPC")),
        (false, _) => (None, remotes(settings)?),
    };
    let (doors, door) = watch::channel(Door::Shut);
    let finished = CancellationToken::new();
    let attachment = Attachment {
        gateway: Arc::clone(&gateway),
        upstreams,
        embedded: settings.embedded,
        identity,
        patience: Patience {
            welcome: settings.upstream_welcome_timeout,
            back_off: settings.upstream_back_off,
            lost: settings.upstream_lost,
        },
        doors,
        readiness,
        finished: finished.clone(),
    };
    let lifetime = Lifetime {
        gateway,
        allowed: AllowList::new(settings.allow_cidr.clone()),
        door,
        sockets: sockets.pdu,
        node,
        finished,
        shutdown: shutdown.clone(),
        close_window: settings.close_window,
        drain_wait: settings.upstream_drain_wait,
        query_timeout: settings.query_timeout,
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        gateway = attachment.identity.gateway_id,
        incarnation = format_args!("{:x}", attachment.gateway.incarnation),
        "gateway starts"
    );
    let task = shutdown.tracker().spawn(lifetime.live(attachment));
    Ok(Running {
        pdu_addresses,
        grpc_address,
        task,
    })
}

/// From start to end.
struct Lifetime {
    gateway: Arc<Gateway>,
    allowed: AllowList,
    door: watch::Receiver<Door>,
    sockets: Vec<Reserved>,
    node: Option<EmbeddedNode>,
    finished: CancellationToken,
    shutdown: Shutdown,
    close_window: Duration,
    drain_wait: Duration,
    query_timeout: Duration,
}

impl Lifetime {
    async fn live(self, attachment: Attachment) -> Result<(), Lost> {
        let ticking = tokio::spawn(tick::run(Arc::clone(&self.gateway), self.query_timeout));
        let listeners: Vec<_> = self
            .sockets
            .into_iter()
            .map(|reserved| {
                let listener = Listener {
                    gateway: Arc::clone(&self.gateway),
                    allowed: self.allowed.clone(),
                    doors: self.door.clone(),
                    tracker: self.shutdown.tracker().clone(),
                };
                tokio::spawn(listener.run(reserved))
            })
            .collect();
        let mut attached = tokio::spawn(attachment.run());
        let draining = self.shutdown.draining();
        let lost = tokio::select! {
            biased;
            () = draining.cancelled() => None,
            ended = &mut attached => ended.ok(),
        };
        for listener in listeners {
            listener.abort();
        }
        let end = match lost {
            None => {
                let remaining = self.shutdown.remaining();
                let window = self.close_window.min(remaining / 2);
                close_links(&self.gateway, window).await;
                let remaining = self.shutdown.remaining();
                drain(&self.gateway, self.door, remaining, self.drain_wait).await;
                self.finished.cancel();
                attached.await.unwrap_or(Ok(()))
            }
            Some(end) => {
                self.gateway.links.end_all(CloseReason::Requested);
                end
            }
        };
        ticking.abort();
        if let Some(node) = self.node {
            node.end().await;
        }
        end
    }
}

/// Ends all links, one after the other, so that their MsgServers turn elsewhere one after the other.
async fn close_links(gateway: &Gateway, window: Duration) {
    let links = gateway.links.close();
    info!(links = links.len(), ?window, "closing all links");
    let pause = window / u32::try_from(links.len()).unwrap_or(u32::MAX).max(1);
    let mut at = Instant::now();
    for link in links {
        // A pause may be shorter than a timer can be: by the moment, not by the pause, or the window would grow.
        sleep_until(at).await;
        link.end(CloseReason::Drain);
        at += pause;
    }
}

/// Waits until the node knows everything that links did, if there is a node, or one may come back in time and there is
/// something to tell it: one that was away for so long will hardly be back before our deadline, and what we hold for it is
/// lost, as if we had crashed.
async fn drain(
    gateway: &Gateway,
    mut door: watch::Receiver<Door>,
    remaining: Duration,
    wait: Duration,
) {
    let uplink = &gateway.uplink;
    let time = remaining.saturating_sub(LAST_STEPS);
    let problem = tokio::select! {
        () = uplink.all_finished() => return,
        () = no_use_in_waiting(uplink, &mut door, wait) => "no node is there",
        () = sleep(time) => "the node has not confirmed everything in time",
    };
    let lost = uplink.owed();
    if lost > 0 {
        warn!(
            entries = lost,
            "{problem}; what MsgServers did last is lost"
        );
    } else {
        info!("{problem}, nor anything to be confirmed but the end of links");
    }
    gateway.given_up.cancel();
}

/// Returns when there is no node, and either nothing to tell it or no hope that it comes back.
async fn no_use_in_waiting(uplink: &Uplink, door: &mut watch::Receiver<Door>, wait: Duration) {
    loop {
        let state = *door.borrow_and_update();
        let changed = match state {
            Door::Shut => return,
            Door::Open => door.changed().await,
            Door::Held => tokio::select! {
                changed = door.changed() => changed,
                () = uplink.nothing_owed() => return,
                () = sleep(wait) => return,
            },
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Connections that there may be, so that no port is short of file descriptors because of another.
struct Places {
    msg_servers: usize,
    grpc: usize,
}

impl Places {
    fn new(settings: &Settings) -> Self {
        let affordable = files::affordable_connections();
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
        Places { msg_servers, grpc }
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
    let link_settings = LinkSettings {
        queue_bytes: settings.link_queue_bytes as usize,
        heartbeat_interval: settings.heartbeat_interval,
        idle_timeout: settings.idle_timeout,
        write_timeout: settings.write_timeout,
        first_pdu_timeout: settings.first_pdu_timeout,
        kick_age: settings.kick_age,
        host_timeout: settings.host_timeout,
        close_timeout: settings.close_timeout,
        remembered_origins: (!settings.embedded).then(|| settings.remembered_origins()),
    };
    Gateway::new(
        Dialect::new(&settings.client_types, settings.lenient),
        link_settings,
        Links::new(limits),
        Uplink::new(windows, keep),
        settings.max_pdu_bytes,
    )
}

fn remotes(settings: &Settings) -> Result<Vec<Box<dyn Upstream>>, StartError> {
    let connection = ConnectionSettings {
        connect_timeout: settings.upstream_connect_timeout,
        keepalive_interval: settings.upstream_keepalive_interval,
        keepalive_timeout: settings.upstream_keepalive_timeout,
        stream_bytes: settings.upstream_stream_bytes,
    };
    let remote = |url: &String| match Remote::new(url, settings.max_pdu_bytes, &connection) {
        Ok(remote) => Ok(Box::new(remote) as Box<dyn Upstream>),
        Err(source) => Err(StartError::Upstream {
            url: url.clone(),
            source,
        }),
    };
    settings.upstream.iter().map(remote).collect()
}

fn observe(meter: &Meter, gateway: &Arc<Gateway>, readiness: &Readiness) {
    let levels = {
        let gateway = Arc::downgrade(gateway);
        let readiness = readiness.clone();
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
                attached: readiness.is_ready(),
                paused: gateway.throttle.is_paused(),
            }
        }
    };
    metrics::observe(meter, &gateway.counters, levels);
}
