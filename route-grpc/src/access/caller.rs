//! Who makes one call, and what is asked of him while it is carried out.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use route_access::{Identity, Kind, Rights, Role, Vouched};
use tokio::sync::watch;
use tonic::codegen::http::{Extensions, HeaderMap, HeaderValue, header};

use super::Access;
use super::allowance::{Allowance, OpenStream};
use super::methods::{self, Right};
use super::passed::{FORWARDED_FOR, Passed, of_node};
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
    /// By which node he has called; none: he has come himself.
    passed: Option<Passed>,
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
            identity: self.name(),
            peer: &self.peer,
            by: self.by(),
        }
    }

    fn name(&self) -> &str {
        match &self.passed {
            Some(passed) if passed.is_local => Passed::LOCAL,
            Some(_) | None => self.identity.name(),
        }
    }

    fn by(&self) -> Option<&str> {
        self.passed.as_ref().map(|it| it.node.name())
    }

    /// As files say now.
    fn rights(&self) -> Arc<Rights> {
        let passed = self.passed.as_ref();
        self.access.rights_of(&self.peer, &self.identity, passed)
    }

    /// Refuses what was shown, if it is worth nothing any more.
    fn check_credentials(&self) -> Result<(), OfCaller> {
        match &self.passed {
            None => self.access.check_credentials(&self.peer, &self.identity),
            Some(passed) => {
                self.access.check_node(&self.peer, &passed.node)?;
                Access::check_shown_elsewhere(&self.identity)
            }
        }
    }

    /// Refuses the token of whoever has made the connection, if its key is gone.
    fn check_token(&self) -> Result<(), OfCaller> {
        let token = self.authorization.as_ref();
        let believed = token.map_or(Ok(()), |it| self.access.verify(it).map(drop));
        match &self.passed {
            None => believed,
            Some(_) => believed.map_err(of_node),
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
        let Some((method, right, part)) = methods::found(path) else {
            let problem = format!("{path}: no role may call it");
            return Err(access.refused(
                &Called {
                    method: path,
                    identity: UNKNOWN,
                    peer,
                    by: None,
                },
                OfCaller::NotAllowed { problem },
            ));
        };
        let called = Called {
            method,
            identity: peer.name().unwrap_or(UNKNOWN),
            peer,
            by: None,
        };
        let bytes = bytes(headers);
        if bytes > MAX_HEADER_BYTES {
            let most = MAX_HEADER_BYTES;
            return Err(access.refused(&called, OfCaller::Headers { bytes, most }));
        }
        if right == Right::Nothing {
            return Ok(None);
        }
        let who = access.who(peer, headers, part);
        let (identity, passed) = who.map_err(|refusal| access.refused(&called, refusal))?;
        let rights = access.rights_of(peer, &identity, passed.as_ref());
        let allowance = access.allowances.of(&identity, rights.limits());
        let shown = passed.as_ref().map_or(&identity, |it| &it.node);
        let caller = Self(Arc::new(Call {
            access: Arc::clone(access),
            peer: peer.clone(),
            authorization: shown
                .token
                .as_ref()
                .and_then(|_| headers.get(header::AUTHORIZATION).cloned())
                .map(sensitive),
            identity,
            passed,
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
        let call = &self.0;
        let key = match &call.passed {
            Some(passed) if passed.is_local => format!("local of {}", passed.node.key()),
            Some(_) | None => call.identity.key(),
        };
        self.name().map(|_| key)
    }

    /// What logs call him; none if there is no policy, so that nobody has a name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.access.judges(&self.0.peer).then(|| self.0.name())
    }

    /// What logs call the node by which he has called; none: he has come himself.
    pub(crate) fn by(&self) -> Option<&str> {
        self.0.by()
    }

    /// What another node has to know to judge him; none: there is no policy, so that nobody is judged.
    pub(crate) fn vouched(&self) -> Option<Vouched> {
        let call = &self.0;
        let is_local = match &call.passed {
            Some(passed) => passed.is_local,
            None => call.peer.exposure == Exposure::Process,
        };
        let identity = call.identity.clone();
        let vouched = Vouched { identity, is_local };
        call.access.policy.is_some().then_some(vouched)
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
                self.check(&need, &call.rights())?;
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
        let rights = call.rights();
        let needs = call.needs.lock().clone();
        let checked = call.check_token().and_then(|()| self.judge(&rights));
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
        let own = self.0.identity.expires();
        let node = self.0.passed.as_ref().and_then(|it| it.node.expires());
        own.into_iter().chain(node).min()
    }

    fn judge(&self, rights: &Rights) -> Result<(), OfCaller> {
        let call = &self.0;
        call.check_credentials()?;
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
                problem: format!("{} does not have {what}", self.0.name()),
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

/// Of headers, as HTTP/2 counts them, without what a node says of a caller: that has a limit of its own.
fn bytes(headers: &HeaderMap) -> usize {
    const EACH: usize = 32;
    let own = headers.iter().filter(|(name, _)| *name != FORWARDED_FOR);
    let each = own.map(|(name, value)| name.as_str().len() + value.len() + EACH);
    each.sum()
}

/// Names what is not among these.
fn missing(kinds: &[Kind], may: impl Fn(Kind) -> bool, to: &str) -> Option<String> {
    let missing = kinds.iter().filter(|kind| !may(**kind));
    let names: Vec<_> = missing.map(|kind| kind.name()).collect();
    (!names.is_empty()).then(|| format!("the right {to} {}", names.join(", ")))
}
