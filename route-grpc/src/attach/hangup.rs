//! Did the other end close the connection? A process that ends, in whichever way, has its kernel do
//! so; a peer that is cut off cannot, and is noticed by its silence.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use route_runtime::listen::local::LocalProcess;

/// What one connection knows of that, and who is there. All clones are one.
#[derive(Debug, Clone, Default)]
pub struct Hangup {
    happened: Arc<AtomicBool>,
    peer: Option<SocketAddr>,
    process: Option<LocalProcess>,
}

impl Hangup {
    /// Of a connection with this address at its other end.
    pub fn of(peer: SocketAddr) -> Self {
        Self {
            happened: Arc::default(),
            peer: Some(peer),
            process: None,
        }
    }

    /// Of one that this process has made, if that is known.
    pub(crate) fn of_process(self, process: Option<LocalProcess>) -> Self {
        Self { process, ..self }
    }

    /// Which process is at the other end, if it came by a socket of this host.
    pub(crate) fn process(&self) -> Option<LocalProcess> {
        self.process
    }

    /// Who is at the other end, if that can be said.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The other end has closed the connection.
    pub fn note(&self) {
        self.happened.store(true, Ordering::Relaxed);
    }

    /// Has it?
    pub fn has_happened(&self) -> bool {
        self.happened.load(Ordering::Relaxed)
    }

    /// What reading or writing ended with. A time-out, or a route that is gone, says nothing about
    /// the other end.
    pub(crate) fn note_error(&self, error: &io::Error) {
        let by_peer = matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        if by_peer {
            self.note();
        }
    }
}
