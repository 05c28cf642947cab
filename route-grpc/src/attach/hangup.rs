//! Did the other end close the connection? A process that ends, in whichever way, has its kernel do
//! so; a peer that is cut off cannot, and is noticed by its silence.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What one connection knows of that. All clones are one.
#[derive(Debug, Clone, Default)]
pub struct Hangup(Arc<AtomicBool>);

impl Hangup {
    /// The other end has closed the connection.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Has it?
    pub fn has_happened(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
