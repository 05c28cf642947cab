//! The gRPC ports of a node: bound, with what says who may do what there, then served together.

use std::net::SocketAddr;
use std::sync::Arc;

use opentelemetry::metrics::Meter;
use route_runtime::listen::local::{LocalAddress, LocalBindError, LocalListener};
use route_runtime::listen::{self, BindError};
use route_runtime::readiness::Readiness;
use route_runtime::reload::keep_current;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::admin::{bind_admin, serve_admin};
use super::{Gateways, Role, ServeError, serve, serve_attach, serve_health};
use crate::access::{Access, Files};
use crate::node::Node;
use crate::process::Process;
use crate::settings::NodeSettings;

const ATTACH: &str = "--attach-listen";
const HEALTH: &str = "--health-listen";
const ADMIN: &str = "--admin-grpc-listen";

/// All of them, bound.
#[derive(Debug)]
pub struct Ports {
    public: Bound,
    attach: Option<Bound>,
    health: Option<Bound>,
    admin: Option<LocalListener>,
    access: Arc<Access>,
    files: Files,
}

#[derive(Debug)]
struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Where they are.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The public API.
    pub public: SocketAddr,
    /// Gateways, if they have a port of their own.
    pub attach: Option<SocketAddr>,
    /// Health without TLS.
    pub health: Option<SocketAddr>,
    /// AdminService; none if nobody has said where, and the usual place is taken.
    pub admin: Option<LocalAddress>,
}

/// The ports cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Flags do not fit together, or a file that one names is of no use.
    #[error("{0}")]
    Security(String),
    /// This flag's address cannot be listened on.
    #[error("{flag}")]
    Listen {
        /// Which.
        flag: &'static str,
        /// Why.
        source: BindError,
    },
    /// The same of the admin port.
    #[error("{ADMIN}")]
    Admin(#[source] LocalBindError),
}

impl Ports {
    /// Reads the files of the settings, and binds all ports: the public one as this flag says.
    ///
    /// # Errors
    ///
    /// As [`OpenError`] has it. Nothing is bound then.
    pub async fn open(
        settings: &NodeSettings,
        (flag, public): (&'static str, SocketAddr),
        meter: &Meter,
    ) -> Result<Self, OpenError> {
        let (access, files) = read(settings, (flag, public), meter)?;
        let public = bind(flag, public).await?;
        let attach = bind_some(ATTACH, settings.attach_listen).await?;
        let health = bind_some(HEALTH, settings.health_listen).await?;
        let admin = bind_admin(settings.admin_grpc_listen.as_ref(), public.address).await;
        Ok(Self {
            public,
            attach,
            health,
            admin: admin.map_err(OpenError::Admin)?,
            access,
            files,
        })
    }

    /// Where they are.
    pub fn addresses(&self) -> Addresses {
        let of = |bound: &Option<Bound>| bound.as_ref().map(|it| it.address);
        Addresses {
            public: self.public.address,
            attach: of(&self.attach),
            health: of(&self.health),
            admin: self.admin.as_ref().map(|it| it.address().clone()),
        }
    }

    /// Serves them until the node has drained: tracked by its shutdown. The task ends when the public port does.
    pub fn serve(
        self,
        node: &Arc<Node>,
        readiness: Readiness,
    ) -> JoinHandle<Result<(), ServeError>> {
        self.serve_as(&node.process, &Role::node(node), readiness)
    }

    /// The same of a process that need not be a node all the time.
    pub fn serve_as(
        self,
        process: &Arc<Process>,
        role: &Role,
        readiness: Readiness,
    ) -> JoinHandle<Result<(), ServeError>> {
        let access = &self.access;
        if access.is_insecure() {
            warn!(
                "--insecure: everybody who can reach the gRPC ports may read, listen, publish and attach gateways"
            );
        }
        for told in access.summary() {
            info!("{told}");
        }
        let tracker = process.shutdown.tracker();
        for files in self.files {
            let (draining, access) = (process.draining(), Arc::clone(access));
            let looks = keep_current(files, move |what, look| access.looked(what, look));
            tracker.spawn(async move { draining.run_until_cancelled(looks).await });
        }
        let gateways = match &self.attach {
            Some(attach) => Gateways::Elsewhere(attach.address.port()),
            None => Gateways::Here,
        };
        if let Some(attach) = self.attach {
            let serving = serve_attach(
                Arc::clone(process),
                role.clone(),
                attach.listener,
                Arc::clone(access),
            );
            let shutdown = process.shutdown.clone();
            tracker.spawn(async move {
                told("port for gateways", serving).await;
                // Without it the node is of no use: another one is to be started.
                shutdown.begin();
            });
        }
        if let Some(health) = self.health {
            tracker.spawn(told(
                "health port",
                serve_health(
                    Arc::clone(process),
                    health.listener,
                    readiness.clone(),
                    Arc::clone(access),
                ),
            ));
        }
        if let Some(admin) = self.admin {
            tracker.spawn(told(
                "admin port",
                serve_admin(Arc::clone(process), role.clone(), admin, Arc::clone(access)),
            ));
        }
        let public = serve(
            Arc::clone(process),
            role.clone(),
            self.public.listener,
            readiness,
            Arc::clone(access),
            gateways,
        );
        tracker.spawn(public)
    }
}

/// Checks what [`Ports::open`] does before it binds anything, and tells what the files say, a line each.
///
/// # Errors
///
/// As [`OpenError::Security`] has it.
pub fn check(
    settings: &NodeSettings,
    public: (&'static str, SocketAddr),
    meter: &Meter,
) -> Result<Vec<String>, OpenError> {
    let (access, _) = read(settings, public, meter)?;
    let health = settings.health_listen.map(|it| (HEALTH, it));
    let others = admin(settings).into_iter().chain(health);
    for (flag, address) in listens(settings, public).into_iter().chain(others) {
        // Another port: this one may be that of a node that runs.
        let is_here = std::net::TcpListener::bind((address.ip(), 0));
        is_here.map_err(|source| OpenError::Listen {
            flag,
            source: BindError { address, source },
        })?;
    }
    Ok(access.summary())
}

/// Reads the files that the settings name, and checks that nobody is let in by mistake.
fn read(
    settings: &NodeSettings,
    public: (&'static str, SocketAddr),
    meter: &Meter,
) -> Result<(Arc<Access>, Files), OpenError> {
    let listens = listens(settings, public);
    let security = &settings.security;
    security
        .check_exposure(&listens, admin(settings))
        .map_err(OpenError::Security)?;
    Access::open(security, meter).map_err(OpenError::Security)
}

/// Where services and gateways connect, and by which flag.
fn listens(
    settings: &NodeSettings,
    public: (&'static str, SocketAddr),
) -> Vec<(&'static str, SocketAddr)> {
    let attach = settings.attach_listen.map(|it| (ATTACH, it));
    [public].into_iter().chain(attach).collect()
}

/// Where operators do; none: at a socket, which nobody else can reach.
fn admin(settings: &NodeSettings) -> Option<(&'static str, SocketAddr)> {
    match settings.admin_grpc_listen {
        Some(LocalAddress::Tcp(admin)) => Some((ADMIN, admin)),
        Some(LocalAddress::Unix(_)) | None => None,
    }
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<Bound, OpenError> {
    let failed = |source| OpenError::Listen { flag, source };
    let listener = listen::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr();
    let bound = bound.map_err(|source| failed(BindError { address, source }))?;
    Ok(Bound {
        listener,
        address: bound,
    })
}

async fn bind_some(
    flag: &'static str,
    address: Option<SocketAddr>,
) -> Result<Option<Bound>, OpenError> {
    match address {
        Some(address) => bind(flag, address).await.map(Some),
        None => Ok(None),
    }
}

/// Says so if it breaks.
async fn told(what: &'static str, serving: impl Future<Output = Result<(), ServeError>>) {
    if let Err(error) = serving.await {
        error!(%error, "the {what} broke");
    }
}
