//! Who calls, and what he may do: what `route_access` decides, held against this node's calls and streams.
//!
//! A connection has a [`Peer`]; a call has a [`Caller`], whom services ask. What files say is read again when they change:
//! then streams that are open are judged anew.

mod allowance;
mod caller;
mod counts;
mod methods;
mod passed;
mod peer;
mod said;
mod summary;

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::metrics::Meter;
use route_access::{Identity, Keys, Policy, Rights, Token, TokenRules};
use route_runtime::reload::{FromFiles, Look, Reloads};
use route_runtime::tls::server::ServerTls;
use rustls::pki_types::UnixTime;
use tokio::sync::watch;
use tonic::codegen::http::{HeaderMap, HeaderValue, header};

use allowance::Allowances;
pub(crate) use allowance::OpenStream;
pub(crate) use caller::{Caller, Need};
pub(crate) use counts::FailedHandshake;
pub(crate) use methods::{Part, Right, found};
pub(crate) use passed::{FORWARDED_BY, FORWARDED_FOR};
pub use peer::Exposure;
pub(crate) use peer::{Peer, Shown};
use said::Said;

use crate::refusal::OfCaller;
use crate::settings::NodeSettings;
use crate::settings::security::{PolicyMode, SecuritySettings};
use counts::Counts;

/// What is made of the flags, and of the files that they name.
#[derive(Debug)]
pub struct Access {
    tls: Option<watch::Receiver<Arc<ServerTls>>>,
    keys: Option<watch::Receiver<Arc<Keys>>>,
    policy: Option<watch::Receiver<Arc<Policy>>>,
    tokens: TokenRules,
    mode: PolicyMode,
    insecure: bool,
    /// How often a file was replaced.
    changes: watch::Sender<u64>,
    allowances: Allowances,
    said: Said,
    counts: Counts,
    /// Where no policy says more.
    usual: Usual,
}

/// Rights that are the same for everybody.
#[derive(Debug)]
struct Usual {
    everything: Arc<Rights>,
    insecure: Arc<Rights>,
    none: Arc<Rights>,
}

/// The files behind it, which have to be looked at.
pub(crate) type Files = Vec<Box<dyn Reloads>>;

impl Access {
    /// Reads all files for the first time.
    ///
    /// # Errors
    ///
    /// For people: the flag, and what is wrong with its file.
    pub fn open(settings: &SecuritySettings, meter: &Meter) -> Result<(Arc<Self>, Files), String> {
        let mut files = Files::new();
        let tls = match settings.tls() {
            Some(of) => {
                let paths = of.paths();
                let made = FromFiles::open("tls", paths, move |read| ServerTls::of(&of, read));
                Some(followed(made, "--tls-cert", &mut files)?)
            }
            None => None,
        };
        let keys = match &settings.token_keys {
            Some(path) => {
                let shown = path.display().to_string();
                let made = FromFiles::open("token_keys", vec![path.clone()], move |read| {
                    let keys = Keys::parse(read.first().map_or(&[][..], Vec::as_slice));
                    keys.map_err(|error| format!("{shown}: {error}"))
                });
                Some(followed(made, "--token-keys", &mut files)?)
            }
            None => None,
        };
        let policy = match &settings.policy {
            Some(path) => {
                let shown = path.display().to_string();
                let made = FromFiles::open("policy", vec![path.clone()], move |read| {
                    policy(read.first().map_or(&[][..], Vec::as_slice))
                        .map_err(|error| format!("{shown}: {error}"))
                });
                Some(followed(made, "--policy", &mut files)?)
            }
            None => None,
        };
        let access = Self {
            tls,
            keys,
            policy,
            ..Self::new(settings, meter)
        };
        if let Some(tls) = &access.tls {
            Counts::observe_certificate(meter, tls.clone());
        }
        let what = files.iter().map(|it| it.what());
        access.counts.begin(what, access.is_insecure());
        Ok((Arc::new(access), files))
    }

    /// Everything is allowed at ports that this host alone can reach, and nothing at others.
    pub fn without_policy(meter: &Meter) -> Arc<Self> {
        Arc::new(Self::new(&NodeSettings::default().security, meter))
    }

    fn new(settings: &SecuritySettings, meter: &Meter) -> Self {
        Self {
            tls: None,
            keys: None,
            policy: None,
            tokens: settings.tokens(),
            mode: settings.policy_mode,
            insecure: settings.insecure,
            changes: watch::Sender::new(0),
            allowances: Allowances::default(),
            said: Said::default(),
            counts: Counts::new(meter),
            usual: Usual {
                everything: Rights::everything().into(),
                insecure: Rights::insecure().into(),
                none: Rights::none().into(),
            },
        }
    }

    /// Counts what came of a look at the files. If it was another content, open streams are judged anew.
    pub(crate) fn looked(&self, what: &'static str, look: Look) {
        self.counts.looked(what, look);
        if look == Look::Taken {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Hand-shakes are made with this now; none: there are none.
    pub(crate) fn tls(&self) -> Option<Arc<ServerTls>> {
        self.tls.as_ref().map(|it| Arc::clone(&it.borrow()))
    }

    /// How often a file was replaced.
    pub(crate) fn change(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Somebody has to be somebody.
    pub(crate) fn has_policy(&self) -> bool {
        self.policy.is_some()
    }

    /// Everybody who can reach the ports may do almost everything there.
    pub(crate) fn is_insecure(&self) -> bool {
        self.insecure && self.policy.is_none()
    }

    /// Counts a hand-shake that came to nothing.
    pub(crate) fn handshake_failed(&self, why: FailedHandshake) {
        self.counts.handshake_failed(why);
    }

    /// Who has sent these headers on a connection of this peer.
    fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Identity, OfCaller> {
        if !self.judges(peer) {
            return Ok(Identity::default());
        }
        let certificate = peer.shown.as_ref().map(|it| it.certificate.clone());
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let token = match shown.next() {
            None => None,
            Some(_) if self.keys.is_none() => return Err(no_tokens()),
            Some(_) if !peer.may_show_token() => {
                let problem =
                    "a token came over a connection without TLS: it is known to others now";
                return Err(invalid("plaintext", problem));
            }
            // Of two, somebody before us may have looked at the other one.
            Some(_) if shown.next().is_some() => {
                return Err(invalid("malformed", "authorization is there twice"));
            }
            Some(value) => Some(self.verify(value)?),
        };
        Ok(Identity { certificate, token })
    }

    /// What a value of `authorization` says, by the keys that the file has now.
    fn verify(&self, authorization: &HeaderValue) -> Result<Token, OfCaller> {
        let keys = self.keys.as_ref().ok_or_else(no_tokens)?;
        let token = authorization.to_str().ok().and_then(bearer);
        let token =
            token.ok_or_else(|| invalid("malformed", "authorization is not Bearer and a token"))?;
        let keys = Arc::clone(&keys.borrow());
        let token = keys.verify(token, &self.tokens, SystemTime::now());
        token.map_err(|error| invalid(error.reason(), error.to_string()))
    }

    /// What he may do, as of now, who has shown this.
    fn rights(&self, peer: &Peer, identity: &Identity) -> Arc<Rights> {
        let usual = match (&self.policy, peer.exposure) {
            // The user of this process, or root: they could take everything from it anyway.
            (_, Exposure::Process) => &self.usual.everything,
            (Some(policy), _) => return policy.borrow().rights(identity).into(),
            (None, Exposure::Host) => &self.usual.everything,
            (None, Exposure::Network) if self.insecure => &self.usual.insecure,
            (None, Exposure::Network) => &self.usual.none,
        };
        Arc::clone(usual)
    }

    /// Refuses what has expired, or whose root is not believed any more.
    fn check_credentials(&self, peer: &Peer, identity: &Identity) -> Result<(), OfCaller> {
        let now = SystemTime::now();
        if let Some(shown) = &peer.shown
            && self.policy.is_some()
        {
            if shown.certificate.not_after < now {
                return Err(certificate_expired());
            }
            // In this order: roots that are replaced in between are asked again.
            let change = self.change();
            let tls = self.tls();
            let tls = tls.ok_or_else(|| invalid("not_asked", "this node has no TLS"))?;
            shown
                .check(change, || tls.believes(&shown.chain, UnixTime::now()))
                .map_err(|problem| invalid("certificate", problem))?;
        }
        check_token(identity, now)
    }

    /// Refuses what has expired of what was shown to another node. Whether it is believed is asked there.
    fn check_shown_elsewhere(identity: &Identity) -> Result<(), OfCaller> {
        let now = SystemTime::now();
        match &identity.certificate {
            Some(certificate) if certificate.not_after < now => Err(certificate_expired()),
            Some(_) | None => check_token(identity, now),
        }
    }
}

fn check_token(identity: &Identity, now: SystemTime) -> Result<(), OfCaller> {
    match &identity.token {
        Some(token) if token.expires <= now => Err(invalid("expired", "the token has expired")),
        Some(_) | None => Ok(()),
    }
}

fn certificate_expired() -> OfCaller {
    invalid(
        "certificate_expired",
        "the client's certificate has expired",
    )
}

fn followed<T: std::fmt::Debug + Send + Sync + 'static>(
    made: Result<FromFiles<T>, String>,
    flag: &str,
    files: &mut Files,
) -> Result<watch::Receiver<Arc<T>>, String> {
    let made = made.map_err(|problem| format!("{flag}: {problem}"))?;
    let follow = made.follow();
    files.push(Box::new(made));
    Ok(follow)
}

fn policy(read: &[u8]) -> Result<Policy, String> {
    let text = std::str::from_utf8(read).map_err(|error| error.to_string())?;
    Policy::parse(text).map_err(|error| error.to_string())
}

/// The token in a value of `authorization`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn no_tokens() -> OfCaller {
    invalid("not_asked", "this node takes no tokens (--token-keys)")
}

fn invalid(reason: &'static str, problem: impl Into<std::borrow::Cow<'static, str>>) -> OfCaller {
    OfCaller::CredentialInvalid {
        reason,
        problem: problem.into(),
    }
}
