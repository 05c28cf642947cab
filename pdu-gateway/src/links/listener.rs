//! Taking connections from MsgServers.
//!
//! The port is unauthenticated, so a connection is judged before a byte of it is read: its address against the
//! allow-list, then the number of connections. A proxy's connection is judged once more, by the address that its header
//! says. Every refusal is counted under its reason.
//!
//! A gateway that no node has ever welcomed does not listen: its address is only reserved ([`Door::Shut`]), so that a
//! MsgServer is refused at once and turns to another RouteServer. While the node is away for a moment, those that come are
//! held like those that are there ([`Door::Held`]): in the kernel they would believe themselves connected, and nobody
//! would read what they send.
//!
//! A gateway that an operator drains does not listen either: who is refused turns elsewhere at once, while who is taken and
//! closed again would believe that he had been served.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use route_runtime::listen::BindError;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;
use tracing::field::display;
use tracing::{debug, error, info, warn};

use crate::links::admission::Admission;
use crate::links::connection;
use crate::links::gateway::Gateway;
use crate::links::network::{Listen, Socket};
use crate::links::peer::Name;
use crate::links::proxy::{self, HeaderError};
use crate::links::registry::Place;
use crate::metrics::Refused;

/// Before an address is tried again that could not be reserved or listened on.
const RETRY: Duration = Duration::from_secs(1);

/// Whether connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// They are refused by the kernel.
    Shut,
    /// They are taken, and held until the node is back.
    Held,
    /// They are taken, and there is a node.
    Open,
}

/// Takes connections at one address.
#[derive(Debug)]
pub struct Listener {
    /// Whose links they become.
    pub gateway: Arc<Gateway>,
    /// The name of every MsgServer that connects here.
    pub name: Option<Name>,
    /// Who may connect, and as whom.
    pub admission: Arc<Admission>,
    /// Whether anybody may, at the moment.
    pub doors: watch::Receiver<Door>,
    /// Where connections run.
    pub tracker: TaskTracker,
}

/// What decides whether connections are taken.
struct Entry {
    doors: watch::Receiver<Door>,
    drains: watch::Receiver<bool>,
}

impl Entry {
    fn is_open(&mut self) -> bool {
        let drains = *self.drains.borrow_and_update();
        *self.doors.borrow_and_update() != Door::Shut && !drains
    }

    /// Waits for a change. False: nobody holds the doors any more.
    async fn changed(&mut self) -> bool {
        let changed = tokio::select! {
            changed = self.doors.changed() => changed,
            changed = self.drains.changed() => changed,
        };
        changed.is_ok()
    }
}

enum Port<L: Listen> {
    Reserved(L),
    Listening(L::Listening),
    /// It was taken by somebody else meanwhile, or the system is short of something.
    Lost,
}

impl Listener {
    /// Runs until it is dropped, or nobody holds the doors any more.
    pub fn run<L: Listen>(self, reserved: L) -> impl Future<Output = ()> + Send {
        self.gateway.ports.is_closed();
        Arc::new(self).work(reserved)
    }

    async fn work<L: Listen>(self: Arc<Self>, reserved: L) {
        let entrance = self;
        let ports = &entrance.gateway.ports;
        let mut entry = Entry {
            doors: entrance.doors.clone(),
            drains: entrance.gateway.drains.subscribe(),
        };
        let address = reserved.address();
        let mut port = Port::Reserved(reserved);
        loop {
            port = match (entry.is_open(), port) {
                (false, Port::Listening(listener)) => {
                    drop(listener);
                    ports.is_closed();
                    info!(%address, "no longer listening");
                    reserve(address).await
                }
                (true | false, Port::Lost) => reserve(address).await,
                (true, Port::Reserved(reserved)) => match reserved.listen().await {
                    Ok(listener) => {
                        let name = entrance.name.as_ref().map(display);
                        info!(%address, msg_server = name, "listening for MsgServers");
                        ports.is_open();
                        Port::Listening(listener)
                    }
                    Err(error) => lost(&error).await,
                },
                (true, Port::Listening(listener)) => tokio::select! {
                    biased;
                    there = entry.changed() => {
                        if !there {
                            return;
                        }
                        Port::Listening(listener)
                    }
                    broken = entrance.take_connections::<L>(&listener) => {
                        error!(%address, error = %broken, "the listener broke");
                        ports.is_closed();
                        Port::Lost
                    }
                },
                (false, port @ Port::Reserved(_)) => {
                    if !entry.changed().await {
                        return;
                    }
                    port
                }
            };
        }
    }

    /// Returns only when the listener is broken.
    async fn take_connections<L: Listen>(self: &Arc<Self>, listener: &L::Listening) -> io::Error {
        loop {
            match L::accept(listener).await {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => return error,
            }
        }
    }

    fn take<S: Socket>(self: &Arc<Self>, socket: S, peer: SocketAddr) {
        match self.judge(&socket, peer) {
            Ok(place) if self.admission.proxies.contain(peer.ip()) => {
                // Not tracked: a drain does not wait for what is no link yet.
                let (input, output) = socket.into_split();
                tokio::spawn(Arc::clone(self).take_proxied::<S>(input, output, peer, place));
            }
            Ok(place) => self.serve::<S>(socket.into_split(), peer, place),
            Err(reason) => self.refuse(peer, reason, &reason),
        }
    }

    fn judge(&self, socket: &impl Socket, peer: SocketAddr) -> Result<Place, Refused> {
        if !self.admission.allowed.contain(peer.ip()) {
            return Err(Refused::Address);
        }
        let place = self.gateway.links.place(peer.ip().to_canonical())?;
        let host_timeout = self.gateway.link_settings.host_timeout;
        socket.set_up(host_timeout).map_err(|_| Refused::Broken)?;
        Ok(place)
    }

    /// A proxy's connection: whose it is, its header says. Until then it counts as the proxy's, then as the MsgServer's.
    async fn take_proxied<S: Socket>(
        self: Arc<Self>,
        mut input: S::Input,
        output: S::Output,
        proxy: SocketAddr,
        place: Place,
    ) {
        let within = self.gateway.link_settings.pdu_timeout;
        let source = match proxy::read(&mut input, within).await {
            Ok(source) => source.unwrap_or(proxy),
            Err(HeaderError::Nothing) => {
                debug!(%proxy, "nothing came");
                return;
            }
            Err(error) => {
                self.refuse(proxy, Refused::ProxyHeader, &error);
                return;
            }
        };
        let place = match self.admission.allowed.contain(source.ip()) {
            true => place.of(source.ip().to_canonical()),
            false => Err(Refused::Address),
        };
        match place {
            Ok(place) => self.serve::<S>((input, output), source, place),
            Err(reason) => self.refuse(source, reason, &reason),
        }
    }

    fn serve<S: Socket>(&self, halves: (S::Input, S::Output), peer: SocketAddr, place: Place) {
        let peer = self.admission.peer(peer, self.name.as_ref());
        let serve = connection::serve::<S>(Arc::clone(&self.gateway), halves, peer, place);
        self.tracker.spawn(serve);
    }

    fn refuse(&self, peer: SocketAddr, reason: Refused, why: &dyn fmt::Display) {
        let gateway = &self.gateway;
        gateway.counters.refused(reason);
        let now = gateway.clock.now();
        gateway.refusals.log(now, peer, reason, why);
    }
}

async fn reserve<L: Listen>(address: SocketAddr) -> Port<L> {
    match L::reserve(address) {
        Ok(reserved) => Port::Reserved(reserved),
        Err(error) => lost(&error).await,
    }
}

async fn lost<L: Listen>(error: &BindError) -> Port<L> {
    warn!(%error, cause = %error.source, "trying again");
    sleep(RETRY).await;
    Port::Lost
}
