//! What a connection says of whoever made it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use route_access::Certificate;
use rustls::pki_types::CertificateDer;

/// From where a port can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposure {
    /// By processes of our own user and of root.
    Process,
    /// By every process of this host.
    Host,
    /// By others, too.
    #[default]
    Network,
}

/// Who is at the other end of a connection, as far as it shows that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// None: it is in this process, or has none.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) exposure: Exposure,
    /// Nobody else can read what comes.
    pub(crate) is_encrypted: bool,
    /// None: no certificate.
    pub(crate) shown: Option<Arc<Shown>>,
}

impl Peer {
    /// Whom its certificate names.
    pub(super) fn name(&self) -> Option<&str> {
        let certificate = &self.shown.as_ref()?.certificate;
        let mut names = certificate.uris.iter().chain(&certificate.dns);
        names.next().map(String::as_str)
    }

    /// A token that others could read is no secret.
    pub(super) fn may_show_token(&self) -> bool {
        self.is_encrypted || self.exposure != Exposure::Network
    }
}

/// The certificate that a client has shown in the hand-shake.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) certificate: Certificate,
    /// Its own first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// As of which change of files it was believed last.
    believed: AtomicU64,
}

impl Shown {
    /// One that is believed as of this change.
    pub(crate) fn new(
        certificate: Certificate,
        chain: Vec<CertificateDer<'static>>,
        change: u64,
    ) -> Self {
        Self {
            certificate,
            chain,
            believed: AtomicU64::new(change),
        }
    }

    /// Whether it still is, as of this change: looked at once.
    pub(super) fn check(
        &self,
        change: u64,
        believes: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        if self.believed.load(Ordering::Relaxed) != change {
            believes()?;
            self.believed.store(change, Ordering::Relaxed);
        }
        Ok(())
    }
}
