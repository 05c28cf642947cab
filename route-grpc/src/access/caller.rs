//! Who makes one call, and what is asked of him while it is carried out.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use route_access::{Identity, Kind, Rights, Role};
use tokio::sync::watch;
use tonic::codegen::http::{Extensions, HeaderMap, HeaderValue, header};

use super::Access;
use super::allowance::{Allowance, OpenStream};
use super::methods::{self, Right};
use super::peer::{Exposure, Peer};
use super::said::Called;
use crate::limits::MAX_HEADER_BYTES;
use crate::refusal::{OfCaller, Refusal};
use crate::settings::security::PolicyMode;

/// Who has not shown who he is, in logs.
const UNKNOWN: &str = "unknown";

/// What somebody has to be allowed beside the method itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Events of these kinds, to read.
    Hear(Vec<Kind>),
    /// Events of these kinds, to publish.
    Publish(Vec<Kind>),
    /// To be the gateway with this id.
    Attach(String),
    /// From where users are connected.
    Places,
}

/// Who makes a call. Clones are of the same call.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Arc<Call>);

#[derive(Debug)]
struct Call {
    access: Arc<Access>,
    peer: Peer,
    identity: Identity,
    /// The token as it came; debugging does not show it.
    authorization: Option<HeaderValue>,
    method: &'static str,
    right: Right,
    /// As of its beginning, and of this state of files.
    rights: Arc<Rights>,
    changes: watch::Receiver<u64>,
    allowance: Option<Arc<Allowance>>,
    /// What was asked of him since, and will be asked again if the stream goes on.
    needs: Mutex<Vec<Need>>,
}

impl Call {
    fn called(&self) -> Called<'_> {
        Called {
            method: self.method,
            identity: self.identity.name(),
            peer: &self.peer,
        }
    }
}

impl Caller {
    /// Who makes this call, if he may make it. None: nobody has to be anybody for it.
    pub(crate) fn admit(
        access: &Arc<Access>,
        peer: &Peer,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, OfCaller> {
        // Before anything is judged: what changes meanwhile is not missed.
        let changes = access.changes.subscribe();
        let Some((method, right)) = methods::found(path) else {
            let problem = format!("{path}: no role may call it");
            return Err(access.refused(
                &Called {
                    method: path,
                    identity: UNKNOWN,
                    peer,
                },
                OfCaller::NotAllowed { problem },
            ));
        };
        let called = Called {
            method,
            identity: peer.name().unwrap_or(UNKNOWN),
            peer,
        };
        let bytes = bytes(headers);
        if bytes > MAX_HEADER_BYTES {
            let most = MAX_HEADER_BYTES;
            return Err(access.refused(&called, OfCaller::Headers { bytes, most }));
        }
        if right == Right::Nothing {
            return Ok(None);
        }
        let identity = access.identify(peer, headers);
        let identity = identity.map_err(|refusal| access.refused(&called, refusal))?;
        let rights = access.rights(peer, &identity);
        let allowance = access.allowances.of(&identity, rights.limits());
        let caller = Self(Arc::new(Call {
            access: Arc::clone(access),
            peer: peer.clone(),
            authorization: identity
                .token
                .as_ref()
                .and_then(|_| headers.get(header::AUTHORIZATION).cloned())
                .map(sensitive),
            identity,
            method,
            right,
            rights,
            changes,
            allowance,
            needs: Mutex::default(),
        }));
        caller.judged(caller.judge(&caller.0.rights))?;
        let call = caller.take(|of| of.calls(1));
        caller.judged(call)?;
        if right == Right::Role(Role::Admin) {
            let call = &caller.0;
            access.operated(&call.called());
        }
        Ok(Some(caller))
    }

    /// That of whoever has sent a request.
    ///
    /// # Errors
    ///
    /// Nobody has looked who that is.
    pub(crate) fn of(request: &Extensions) -> Result<Self, OfCaller> {
        let caller = request.get::<Self>().cloned();
        caller.ok_or(OfCaller::CredentialMissing)
    }

    /// Whether he has this role, or a policy would only tell that he has not.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.0.rights.has(role) || !self.is_enforced(Right::Role(role))
    }

    /// What tells him from all others; none if there is no policy, so that all callers are one.
    pub(crate) fn key(&self) -> Option<String> {
        self.name().map(|_| self.0.identity.key())
    }

    /// What logs call him; none if there is no policy, so that nobody has a name.
    pub(crate) fn name(&self) -> Option<&str> {
        let is_judged = self.0.access.policy.is_some() && self.0.peer.exposure != Exposure::Process;
        is_judged.then(|| self.0.identity.name())
    }

    /// Whether he is told from where users are connected: link ids and addresses.
    pub(crate) fn sees_places(&self) -> bool {
        self.takes_on(Need::Places).is_ok()
    }

    /// Refuses what he may not do. A stream is ended when he may not do it any more.
    pub(crate) fn require(&self, need: Need) -> Result<(), OfCaller> {
        self.judged(self.takes_on(need))
    }

    /// Checks it by what files say now, and has it checked again from then on: no change comes between the two.
    fn takes_on(&self, need: Need) -> Result<(), OfCaller> {
        let call = &self.0;
        let mut needs = call.needs.lock();
        match call.changes.has_changed() {
            Ok(false) => self.check(&need, &call.rights)?,
            // An error: nothing changes any more.
            Ok(true) | Err(_) => {
                self.check(&need, &call.access.rights(&call.peer, &call.identity))?;
            }
        }
        needs.push(need);
        Ok(())
    }

    /// Takes so many user ids from what he has.
    pub(crate) fn asks_of(&self, ids: usize) -> Result<(), OfCaller> {
        self.judged(self.take(|of| of.ids(ids)))
    }

    /// Takes so many events from what he has.
    pub(crate) fn publishes(&self, events: usize) -> Result<(), OfCaller> {
        self.judged(self.take(|of| of.published(events)))
    }

    /// Says that he has published events of these kinds, or why not.
    pub(crate) fn published(&self, events: usize, kinds: &[Kind], why_not: Option<&Refusal>) {
        let call = &self.0;
        call.access
            .published(&call.called(), events, kinds, why_not);
    }

    /// Takes one stream from what he has, until it is dropped.
    pub(crate) fn opens_stream(&self) -> Result<Option<OpenStream>, OfCaller> {
        let opened = self.0.allowance.as_ref().map(Allowance::open).transpose();
        self.judged(opened)
    }

    /// Judges an open stream anew: by what files say now, and by the time.
    pub(crate) fn judge_again(&self) -> Result<(), OfCaller> {
        let call = &self.0;
        let rights = call.access.rights(&call.peer, &call.identity);
        let needs = call.needs.lock().clone();
        let token = call.authorization.as_ref();
        let believed = token.map_or(Ok(()), |it| call.access.verify(it).map(drop));
        let checked = believed.and_then(|()| self.judge(&rights));
        let checked = needs.iter().fold(checked, |so_far, need| {
            so_far.and_then(|()| self.check(need, &rights))
        });
        self.judged(checked)
    }

    /// Follows replacements of files from the call's beginning on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.clone()
    }

    /// When the first of what he has shown expires. None: he has shown nothing.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.0.identity.expires()
    }

    fn judge(&self, rights: &Rights) -> Result<(), OfCaller> {
        let call = &self.0;
        call.access.check_credentials(&call.peer, &call.identity)?;
        let may = match call.right {
            Right::Nothing => true,
            Right::Any => rights.roles().next().is_some(),
            Right::Role(role) => rights.has(role),
        };
        if may {
            return Ok(());
        }
        let lacks = self.lacks(&match call.right {
            Right::Role(role) => format!("the role {}", role.name()),
            Right::Any | Right::Nothing => "any role".to_owned(),
        });
        self.enforce(call.right, lacks)
    }

    fn check(&self, need: &Need, rights: &Rights) -> Result<(), OfCaller> {
        let (role, lacking) = match need {
            Need::Hear(kinds) => (
                Role::Listener,
                missing(kinds, |it| rights.may_hear(it), "to subscribe to"),
            ),
            Need::Publish(kinds) => (
                Role::Publisher,
                missing(kinds, |it| rights.may_publish(it), "to publish"),
            ),
            Need::Attach(id) => {
                let lacking =
                    (!rights.may_attach(id)).then(|| format!("the right to attach as {id:?}"));
                (Role::Gateway, lacking)
            }
            Need::Places => {
                let sees = rights.has(Role::Admin);
                let lacking = (!sees).then(|| "the right to see places".to_owned());
                (Role::Admin, lacking)
            }
        };
        match lacking {
            Some(what) => self.enforce(Right::Role(role), self.lacks(&what)),
            None => Ok(()),
        }
    }

    /// Refuses, or in audit mode only tells.
    fn enforce(&self, right: Right, lacks: OfCaller) -> Result<(), OfCaller> {
        if self.is_enforced(right) {
            return Err(lacks);
        }
        let call = &self.0;
        call.access
            .would_refuse(&call.called(), call.method, &lacks);
        Ok(())
    }

    /// In audit mode, what concerns readers, listeners and publishers is not.
    fn is_enforced(&self, right: Right) -> bool {
        match right {
            Right::Role(Role::Admin | Role::Gateway | Role::Node) => true,
            Right::Role(Role::Reader | Role::Listener | Role::Publisher)
            | Right::Any
            | Right::Nothing => {
                self.0.access.mode == PolicyMode::Enforce || self.0.access.policy.is_none()
            }
        }
    }

    fn lacks(&self, what: &str) -> OfCaller {
        let identity = &self.0.identity;
        match identity.certificate.is_some()
            || identity.token.is_some()
            || self.0.access.policy.is_none()
        {
            true => OfCaller::NotAllowed {
                problem: format!("{} does not have {what}", identity.name()),
            },
            false => OfCaller::CredentialMissing,
        }
    }

    fn take<T>(
        &self,
        take: impl FnOnce(&Allowance) -> Result<T, OfCaller>,
    ) -> Result<(), OfCaller> {
        self.0
            .allowance
            .as_ref()
            .map_or(Ok(()), |of| take(of).map(drop))
    }

    /// Says and counts it, if it is a refusal.
    fn judged<T>(&self, judged: Result<T, OfCaller>) -> Result<T, OfCaller> {
        judged.map_err(|refusal| {
            let call = &self.0;
            let called = call.called();
            call.access.refused(&called, refusal)
        })
    }
}

fn sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// Of headers, as HTTP/2 counts them.
fn bytes(headers: &HeaderMap) -> usize {
    const EACH: usize = 32;
    let each = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + EACH);
    each.sum()
}

/// Names what is not among these.
fn missing(kinds: &[Kind], may: impl Fn(Kind) -> bool, to: &str) -> Option<String> {
    let missing = kinds.iter().filter(|kind| !may(**kind));
    let names: Vec<_> = missing.map(|kind| kind.name()).collect();
    (!names.is_empty()).then(|| format!("the right {to} {}", names.join(", ")))
}
