//! The gateway's end of Attach: finds a node, says hello, resumes, and works off what comes down until the stream
//! breaks; then begins anew.
//!
//! Listeners and readiness follow it: connections are taken while a node is attached, and while it is away for a
//! moment; they are refused when it has never been there or stays away; then links are ended too, so that their
//! MsgServers turn to another RouteServer. Without a node, ready is who holds MsgServers, for to end it would cost them
//! what it holds; but not just before it sends them away, so that nobody is sent here who would be refused. One that an
//! operator drains takes nobody and is not ready, whatever the node does, until the node, or the next one, says otherwise. One
//! that nodes do not let in, as who it is, is not ready either: nothing but a change of files or of a policy helps.

use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::{
    AttachHello, AttachWelcome, Downlink as Message, attach_response, downlink_entry::Entry,
};
use route_runtime::readiness::Readiness;
use route_runtime::seldom::Seldom;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::links::gateway::Gateway;
use crate::links::listener::Door;
use crate::node::downlink::Downlink;
use crate::node::known::Known;
use crate::node::remote;
use crate::node::search::{Search, Target};
use crate::node::silence::{Heard, silence};
use crate::node::upstream::{AttachError, Place, Responses, Upstream};

/// After messages of so many PDU bytes, other tasks come first.
const TURN: usize = 256 << 10;

/// An attempt that has failed after so long was not answered.
const SLOW: Duration = Duration::from_secs(1);

/// A stream that ends earlier is followed by a pause, whatever it ends with.
const SHORT_STREAM: Duration = Duration::from_secs(1);

/// To find the addresses of the leader that a node has named.
const LEADER_LOOKUP: Duration = Duration::from_secs(1);

/// For the stream to end after we have ended our side.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Attaching has ended for good.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The node is in this process; it cannot come back.
    #[error("the embedded node ended the stream: {0}")]
    Embedded(AttachError),
}

/// How the gateway presents itself to nodes.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Stable name.
    pub gateway_id: String,
    /// Version and host, for operators.
    pub description: String,
}

/// How long is waited for nodes.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To be welcomed, from the connecting on. A node may keep a restarted gateway waiting until its old stream breaks.
    pub welcome: Duration,
    /// Longest pause between two rounds; also after a refusal that another attempt will hardly change.
    pub back_off: Duration,
    /// A node that has promised to speak is left when nothing has come from it for so long.
    pub silence: Duration,
    /// Links are ended when the node has been away for so long.
    pub lost: Duration,
}

/// Keeps the gateway attached.
#[derive(Debug)]
pub struct Attachment {
    /// Whose links.
    pub gateway: Arc<Gateway>,
    /// Each address of each is tried; at least one.
    pub upstreams: Vec<Box<dyn Upstream>>,
    /// The node is in this process: there is no second attempt.
    pub embedded: bool,
    /// Who we are.
    pub identity: Identity,
    /// How long it waits.
    pub patience: Patience,
    /// For the listeners.
    pub doors: watch::Sender<Door>,
    /// For probes.
    pub readiness: Readiness,
    /// Everything has been sent: end the stream and return.
    pub finished: CancellationToken,
}

/// A stream that a node has welcomed.
struct Stream {
    responses: Responses,
    longest_silence: Option<Duration>,
}

impl Attachment {
    /// Attaches, and attaches again, until it is finished. Fails when there is no use in trying again.
    pub async fn run(self) -> Result<(), Lost> {
        let mut known = Known::new();
        let mut search = Search::default();
        loop {
            let Some(pause) = self.round(&mut search, &mut known).await? else {
                return Ok(());
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.away_for_too_long(&known) => {}
                () = self.finished.cancelled() => return Ok(()),
            }
        }
    }

    /// Tries nodes until one has welcomed us and its stream has ended, or none is left. Returns how long to wait then; nothing
    /// when we have finished.
    async fn round(
        &self,
        search: &mut Search,
        known: &mut Known,
    ) -> Result<Option<Duration>, Lost> {
        let now = || self.gateway.clock.now();
        tokio::select! {
            targets = self.targets(known) => search.begin(now(), targets),
            () = self.finished.cancelled() => return Ok(None),
        }
        let mut worst: Option<(String, AttachError)> = None;
        while let Some(target) = search.next() {
            let upstream = self.upstreams[target.upstream].as_ref();
            let place = Place::new(upstream.name(), target.address);
            let began = now();
            let stream = match self.open(upstream, &place, known).await {
                Ok(Some(stream)) => stream,
                Ok(None) => return Ok(None),
                Err(error) => {
                    if error.is_unanswered() && now().saturating_sub(began) >= SLOW {
                        search.hung(now(), target);
                    }
                    self.learn(&error, search).await;
                    let error = self.missed(&place.name, error, known)?;
                    if worst.as_ref().is_none_or(|(_, it)| error.is_worse(it)) {
                        worst = Some((place.name, error));
                    }
                    continue;
                }
            };
            search.welcomed();
            let began = now();
            let Err(error) = self.follow(stream, &place.heard, known).await else {
                return Ok(None);
            };
            let stood = now().saturating_sub(began);
            if error.is_silence() {
                search.hung(now(), target);
            }
            let is_told = self.learn(&error, search).await;
            let error = self.detached(&place.name, error, known)?;
            return Ok(Some(match is_told && stood >= SHORT_STREAM {
                true => Duration::ZERO,
                false => self.pause(&error, search.is_led(), known),
            }));
        }
        let Some((name, error)) = worst else {
            return Ok(Some(self.patience.back_off));
        };
        self.none_welcomed(&name, &error, known);
        Ok(Some(self.pause(&error, search.is_led(), known)))
    }

    /// Every address of every upstream, in an order by chance. One whose name cannot be resolved in time is tried by its name.
    async fn targets(&self, known: &Known) -> Vec<Target> {
        let lookups = self.upstreams.iter().map(|it| tokio::spawn(it.addresses()));
        let mut all = Vec::new();
        for (upstream, lookup) in lookups.collect::<Vec<_>>().into_iter().enumerate() {
            let addresses = tokio::select! {
                found = lookup => found.unwrap_or_default(),
                () = self.away_for_too_long(known) => Vec::new(),
            };
            let addresses = addresses.into_iter().map(Some);
            let mut addresses: Vec<_> = addresses.collect();
            if addresses.is_empty() {
                addresses.push(None);
            }
            let target = |address| Target { upstream, address };
            all.extend(addresses.into_iter().map(target));
        }
        fastrand::shuffle(&mut all);
        all
    }

    /// Notes what a node has said of the leader. True if that is to be tried next.
    async fn learn(&self, error: &AttachError, search: &mut Search) -> bool {
        if !error.is_not_leader() {
            return false;
        }
        search.is_led_elsewhere();
        let Some(url) = error.leader() else {
            return false;
        };
        let of_name = |it: &Target| self.upstreams[it.upstream].name() == url;
        if search.leads(of_name) {
            return true;
        }
        let addresses = match search.knows_addresses() {
            true => remote::addresses(&url, LEADER_LOOKUP).await,
            false => Vec::new(),
        };
        let is_told = search.leads(|it| it.address.is_some_and(|it| addresses.contains(&it)));
        debug!(url, is_told, "another node leads");
        is_told
    }

    /// A stream up to its welcome. None when we have finished.
    async fn open(
        &self,
        upstream: &dyn Upstream,
        place: &Place,
        known: &mut Known,
    ) -> Result<Option<Stream>, AttachError> {
        known.attempt += 1;
        let hello = AttachHello {
            gateway_id: self.identity.gateway_id.clone(),
            incarnation: self.gateway.incarnation,
            attempt: known.attempt,
            roster: known.roster.clone(),
            description: self.identity.description.clone(),
            epoch: known.epoch,
            taken: known.taken,
            position: known.position,
            dialect: self.gateway.dialect.definition(),
            secret: known.secret.clone(),
            term: known.term,
            // When it is sent.
            clock_micros: 0,
        };
        let requests = self.gateway.uplink.stream(hello);
        let open = async {
            let mut responses = upstream.attach(place, requests).await?;
            let first = responses.next().await.ok_or(AttachError::Closed)??;
            match first.frame {
                Some(attach_response::Frame::Welcome(welcome)) => Ok((responses, welcome)),
                Some(attach_response::Frame::Downlink(_)) | None => Err(AttachError::Protocol),
            }
        };
        let opened = tokio::select! {
            opened = timeout(self.patience.welcome, open) => opened.map_err(|_| AttachError::Slow)?,
            () = self.away_for_too_long(known) => Err(AttachError::Slow),
            () = self.finished.cancelled() => return Ok(None),
        };
        let (responses, welcome) = opened?;
        let longest_silence = self.longest_silence(&welcome);
        self.welcomed(&place.name, welcome, known);
        self.serve().await;
        Ok(Some(Stream {
            responses,
            longest_silence,
        }))
    }

    /// How long a node that has welcomed us so may say nothing: at least twice what it promises.
    fn longest_silence(&self, welcome: &AttachWelcome) -> Option<Duration> {
        let beat = Duration::from_millis(welcome.beat_millis.into());
        (!beat.is_zero()).then(|| self.patience.silence.max(beat * 2))
    }

    /// The same stream from then on to its end. Ok when we have finished.
    async fn follow(
        &self,
        stream: Stream,
        heard: &Heard,
        known: &mut Known,
    ) -> Result<(), AttachError> {
        let Stream {
            mut responses,
            longest_silence,
        } = stream;
        let clock = self.gateway.clock;
        let mut downlink = Downlink::new(Arc::clone(&self.gateway));
        loop {
            let message = tokio::select! {
                biased;
                message = responses.next() => message,
                () = self.finished.cancelled() => {
                    self.gateway.uplink.end_stream();
                    let _ = timeout(LAST_WORDS, async { while responses.next().await.is_some() {} }).await;
                    return Ok(());
                }
                () = silence(clock, longest_silence, heard) => return Err(AttachError::Silent),
            };
            let message = message.ok_or(AttachError::Closed)??;
            let Some(attach_response::Frame::Downlink(message)) = message.frame else {
                return Err(AttachError::Protocol);
            };
            let is_undone = message.draining == Some(false);
            if self.take(&mut downlink, message, known) >= TURN {
                tokio::task::yield_now().await;
            }
            if is_undone {
                self.serve().await;
            }
        }
    }

    /// There is a node: connections are taken, unless an operator drains us.
    async fn serve(&self) {
        if !self.is_drained() {
            self.gateway.ports.all_open().await;
        }
        self.set_readiness(true, "attached to a node");
    }

    fn is_drained(&self) -> bool {
        *self.gateway.drains.borrow()
    }

    /// An operator drains us, or does so no longer.
    fn drains(&self, on: bool) {
        if self.gateway.drains.send_replace(on) == on {
            return;
        }
        info!(on, "an operator drains this gateway, or no longer does");
        // Ready again is who listens again.
        if on {
            self.set_readiness(true, "attached to a node");
        }
    }

    /// For probes: as it would be, if no operator drained us.
    pub(super) fn set_readiness(&self, ready: bool, reason: &'static str) {
        match self.is_drained() {
            true => self.readiness.set(false, "drained by an operator"),
            false => self.readiness.set(ready, reason),
        }
    }

    fn welcomed(&self, name: &str, welcome: AttachWelcome, known: &mut Known) {
        info!(
            node = name,
            epoch = format_args!("{:x}", welcome.epoch),
            term = welcome.term,
            attempt = known.attempt,
            known_links = welcome.applied.len(),
            gateways = welcome.roster.len(),
            "attached"
        );
        if welcome.epoch != known.epoch {
            for link in self.gateway.links.all() {
                link.new_node();
            }
        }
        if let Some(problem) = self.gateway.uplink.windows().misfit(&welcome) {
            warn!(node = name, "{problem}");
        }
        if welcome.max_pdu_bytes > 0 {
            self.gateway.limit_pdus(welcome.max_pdu_bytes);
        }
        for link in self.gateway.uplink.resume(&welcome.applied) {
            if let Some(link) = self.gateway.links.get(link) {
                link.reopen_end();
            }
        }
        if !welcome.roster.is_empty() {
            known.roster = welcome.roster;
        }
        (known.epoch, known.taken) = (welcome.epoch, 0);
        known.term = known.term.max(welcome.term);
        (known.failures, known.not_let_in, known.away_since) = (0, 0, None);
        known.worrying = Seldom::default();
        self.gateway.counters.attached.add(1);
        self.gateway.drains.send_replace(welcome.draining);
        self.doors.send_replace(Door::Open);
    }

    fn take(&self, downlink: &mut Downlink, mut message: Message, known: &mut Known) -> usize {
        if let Some(roster) = message.roster.take() {
            known.roster = roster.gateway_ids;
        }
        if let Some(on) = message.draining {
            self.drains(on);
        }
        // A node in this process has no successor.
        if !self.embedded {
            for entry in &message.entries {
                if let Some(Entry::Run(run)) = &entry.entry {
                    let last = run.position + (run.deliveries.len() as u64).saturating_sub(1);
                    known.position = known.position.max(last);
                }
            }
        }
        let number = message.number;
        let work = downlink.take(message);
        known.taken = number;
        work
    }
}
