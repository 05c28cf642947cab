//! What metrics say of access.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use parking_lot::Mutex;
use route_access::Certificate;
use route_runtime::reload::Look;
use route_runtime::tls::server::ServerTls;
use tokio::sync::watch;

use super::methods;
use crate::refusal::OfCaller;

/// Why a connection came to no hand-shake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedHandshake {
    /// It does not begin as TLS does.
    Plaintext,
    /// It took too long.
    Timeout,
    /// The client's certificate is of no root that is believed.
    UnknownRoot,
    /// It has expired, or is not valid yet.
    Expired,
    /// It is wrong in another way.
    Certificate,
    /// The client does not believe our certificate, or says that something else is wrong.
    ByClient,
    /// They have no version, cipher or signature in common.
    Incompatible,
    /// It ended before it was done.
    Closed,
    /// The client does not keep to TLS.
    Protocol,
}

impl FailedHandshake {
    const ALL: [Self; 9] = [
        Self::Plaintext,
        Self::Timeout,
        Self::UnknownRoot,
        Self::Expired,
        Self::Certificate,
        Self::ByClient,
        Self::Incompatible,
        Self::Closed,
        Self::Protocol,
    ];

    /// Its label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Timeout => "timeout",
            Self::UnknownRoot => "unknown_root",
            Self::Expired => "expired",
            Self::Certificate => "certificate",
            Self::ByClient => "by_client",
            Self::Incompatible => "incompatible",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }
}

/// What may be wrong with a credential: of a token, as `route_access` has it, and of a certificate.
const INVALID: [&str; 15] = [
    "not_asked",
    "plaintext",
    "certificate",
    "certificate_expired",
    "too_long",
    "malformed",
    "critical",
    "algorithm",
    "missing_key_id",
    "unknown_key",
    "signature",
    "expired",
    "not_yet_valid",
    "audience",
    "issuer",
];

/// Ready-made handles.
#[derive(Debug)]
pub(super) struct Counts {
    refusals: Counter<u64>,
    would_refuse: Counter<u64>,
    handshakes: Counter<u64>,
    reloads: Counter<u64>,
    /// 1: what the files have now is of no use, and what was before counts.
    stale: Arc<Mutex<BTreeMap<&'static str, bool>>>,
    insecure: Arc<std::sync::atomic::AtomicBool>,
}

impl Counts {
    pub(super) fn new(meter: &Meter) -> Self {
        let counter = |name: &'static str, unit: &'static str, text: &'static str| {
            meter
                .u64_counter(name)
                .with_unit(unit)
                .with_description(text)
                .build()
        };
        let counts = Self {
            refusals: counter(
                "teamtalk.route.access.refusals",
                "{call}",
                "Calls and streams refused or ended because of who makes them",
            ),
            would_refuse: counter(
                "teamtalk.route.access.would_refuse",
                "{call}",
                "Calls that a policy in audit mode would refuse",
            ),
            handshakes: counter(
                "teamtalk.route.tls.failed_handshakes",
                "{connection}",
                "Connections that came to no TLS hand-shake",
            ),
            reloads: counter(
                "teamtalk.route.files.reloads",
                "{reload}",
                "Certificates, keys of tokens and policies that were replaced",
            ),
            stale: Arc::default(),
            insecure: Arc::default(),
        };
        counts.observe(meter);
        counts
    }

    fn observe(&self, meter: &Meter) {
        let stale = Arc::clone(&self.stale);
        meter
            .u64_observable_gauge("teamtalk.route.files.stale")
            .with_unit("{file}")
            .with_description(
                "1: what the files have is of no use, and what they had before counts",
            )
            .with_callback(move |gauge| {
                for (what, is_stale) in &*stale.lock() {
                    gauge.observe((*is_stale).into(), &[KeyValue::new("files", *what)]);
                }
            })
            .build();
        let insecure = Arc::clone(&self.insecure);
        meter
            .u64_observable_gauge("teamtalk.route.access.insecure")
            .with_unit("{node}")
            .with_description(
                "1: without a policy, everybody is let in from other hosts (--insecure)",
            )
            .with_callback(move |gauge| {
                gauge.observe(
                    insecure.load(std::sync::atomic::Ordering::Relaxed).into(),
                    &[],
                );
            })
            .build();
    }

    /// Shows until when the certificate of a node is good.
    pub(super) fn observe_certificate(meter: &Meter, tls: watch::Receiver<Arc<ServerTls>>) {
        meter
            .f64_observable_gauge("teamtalk.route.tls.certificate_not_after")
            .with_unit("s")
            .with_description(
                "When the certificate of the gRPC ports expires, in seconds since 1970",
            )
            .with_callback(move |gauge| {
                let read = Certificate::read(tls.borrow().certificate());
                let until = read
                    .ok()
                    .and_then(|it| it.not_after.duration_since(UNIX_EPOCH).ok());
                if let Some(until) = until {
                    gauge.observe(until.as_secs_f64(), &[]);
                }
            })
            .build();
    }

    /// Counts from 0 on what may happen.
    pub(super) fn begin(&self, files: impl Iterator<Item = &'static str>, is_insecure: bool) {
        self.insecure
            .store(is_insecure, std::sync::atomic::Ordering::Relaxed);
        for what in files {
            self.stale.lock().insert(what, false);
            for outcome in ["taken", "failed"] {
                self.reloads.add(0, &labels(what, outcome));
            }
        }
        for reason in OfCaller::REASONS.into_iter().chain(INVALID) {
            self.refusals.add(0, &[KeyValue::new("reason", reason)]);
        }
        for why in FailedHandshake::ALL {
            self.handshakes
                .add(0, &[KeyValue::new("reason", why.as_str())]);
        }
        for method in methods::judged() {
            self.would_refuse
                .add(0, &[KeyValue::new("rpc.method", method)]);
        }
    }

    pub(super) fn looked(&self, what: &'static str, look: Look) {
        let outcome = match look {
            Look::Same => return,
            Look::Taken => "taken",
            Look::Failed { anew: true } => "failed",
            Look::Failed { anew: false } => return,
        };
        self.stale.lock().insert(what, look != Look::Taken);
        self.reloads.add(1, &labels(what, outcome));
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refusals.add(1, &[KeyValue::new("reason", reason)]);
    }

    pub(super) fn would_refuse(&self, method: &'static str) {
        self.would_refuse
            .add(1, &[KeyValue::new("rpc.method", method)]);
    }

    pub(super) fn handshake_failed(&self, why: FailedHandshake) {
        self.handshakes
            .add(1, &[KeyValue::new("reason", why.as_str())]);
    }
}

fn labels(what: &'static str, outcome: &'static str) -> [KeyValue; 2] {
    [
        KeyValue::new("files", what),
        KeyValue::new("outcome", outcome),
    ]
}
