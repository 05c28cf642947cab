//! Whether a gateway may come in, and what it is told then.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::{AttachHello, AttachWelcome, Confirmation, attach_request};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Requests;
use super::door::AtDoor;
use crate::access::{Caller, Need};
use crate::gateways::hello::{Admission, Hello, Objection};
use crate::gateways::queue::{Queue, Retention};
use crate::node::{BEAT_MILLIS, Node, Transaction};
use crate::refusal::Refusal;

/// How long a stream may take to say hello.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// A gateway that is in.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) hello: Hello,
    pub(super) welcome: AttachWelcome,
    pub(super) queue: Arc<Queue>,
}

/// Reads the hello and decides about it. A gateway whose id is in use gets a second chance when the
/// other stream breaks. Returns also what is cancelled when the node ends the stream.
pub(super) async fn admit(
    node: &Node,
    requests: &mut Requests,
    retention: Retention,
    peer: Option<SocketAddr>,
    caller: Option<&Caller>,
) -> Result<(Admitted, CancellationToken), Refusal> {
    let hello = read_hello(requests).await?;
    let roster = hello.roster.clone();
    let mut hello = Hello::check(hello, peer, node.epoch, &node.dialects, node.clock.now())?;
    if let Some(caller) = caller {
        caller.require(Need::Attach(hello.id.clone()))?;
    }
    let stream_end = CancellationToken::new();
    let mut place = AtDoor::new(node, &hello);
    // Its kernel closes the old connection when the process dies, so this is a matter of
    // milliseconds.
    let patience = tokio::time::sleep(node.process.settings.id_in_use_wait);
    tokio::pin!(patience);
    let mut patient = true;
    loop {
        let changed = node.gateways_changed.notified();
        tokio::pin!(changed);
        // From here on no change is missed.
        changed.as_mut().enable();
        let acts = node.act()?;
        let decision = node.transact(|transaction, now| {
            if !place.may_enter(transaction)? {
                return Ok(None);
            }
            let admission = transaction.gateways.judge(&hello, !patient)?;
            // Who is refused teaches nothing, and one that is back is read as it was.
            let known = match admission {
                Admission::Resumed => transaction.gateways.spoken_by(hello.incarnation),
                Admission::Fresh | Admission::Replaces(_) => None,
            };
            let spoken = known.map_or_else(|| node.dialects.learn(hello.dialect.as_ref()), Ok);
            match spoken {
                Ok(spoken) => hello.spoken = spoken,
                Err(refusal) => return Ok(Some(Err(refusal))),
            }
            let entrant = (&hello, &stream_end, retention);
            let queue = enter(node, transaction, now, admission, entrant);
            place.entered(transaction);
            Ok(Some(Ok(welcome(node, transaction, &hello, &roster, queue))))
        });
        drop(acts);
        match decision {
            Ok(None) => node.tenure.write_is_wanted.notify_one(),
            Ok(Some(Err(refusal))) => return Err(refusal),
            Ok(Some(Ok(admitted))) => {
                debug!(
                    gateway = hello.id,
                    whence = hello.whence,
                    "gateway welcomed"
                );
                node.gateways_changed.notify_waiters();
                return Ok((admitted, stream_end));
            }
            Err(Objection::IdInUse { .. }) if patient => {}
            Err(objection) => return Err(objection.refusal(hello.id)),
        }
        tokio::select! {
            () = changed => {}
            () = patience.as_mut(), if patient => patient = false,
        }
    }
}

/// The first message of a stream.
pub(super) async fn read_hello(requests: &mut Requests) -> Result<AttachHello, Refusal> {
    let frame = match timeout(HELLO_TIME, requests.next()).await {
        Ok(Some(Ok(first))) => first.frame,
        Ok(Some(Err(status))) => return Err(Refusal::unreadable(&status)),
        Ok(None) | Err(_) => None,
    };
    match frame {
        Some(attach_request::Frame::Hello(hello)) => Ok(hello),
        Some(attach_request::Frame::Uplink(_)) | None => {
            Err(Refusal::protocol("a stream begins with hello"))
        }
    }
}

/// Makes a gateway one of the node's. Returns its queue.
fn enter(
    node: &Node,
    transaction: &mut Transaction<'_>,
    now: Duration,
    admission: Admission,
    (hello, stream_end, retention): (&Hello, &CancellationToken, Retention),
) -> Arc<Queue> {
    transaction.core.follow(hello.position);
    match admission {
        Admission::Fresh => {}
        Admission::Replaces(old) => {
            transaction.lose_gateway(now, old);
            node.process.metrics.superseded.add(1, &[]);
            node.chores_changed();
        }
        Admission::Resumed => transaction.gateways.resume(now, hello, stream_end.clone()),
    }
    if admission != Admission::Resumed {
        let (hello, stream_end) = (hello.clone(), stream_end.clone());
        transaction
            .gateways
            .insert(now, hello, stream_end, retention);
    }
    transaction.learn_reach(hello.incarnation);
    let queue = transaction
        .gateways
        .queue_of(hello.incarnation)
        .map(Arc::clone);
    queue.expect("the gateway was inserted or resumed a moment ago")
}

/// Tells a gateway that has entered what the node has of it, and the others that it is there.
fn welcome(
    node: &Node,
    transaction: &mut Transaction<'_>,
    hello: &Hello,
    roster: &[String],
    queue: Arc<Queue>,
) -> Admitted {
    if let Some(cold_start) = &mut transaction.cold_start {
        let ids = roster.iter().map(String::as_str);
        cold_start.attached(node.clock.now(), &hello.id, ids);
        node.chores_changed();
    } else {
        transaction
            .gateways
            .announce_roster(Some(hello.incarnation));
    }
    // Before it knows all links, it may not know all gateways.
    let roster = match &transaction.cold_start {
        Some(_) => Vec::new(),
        None => transaction.gateways.roster(),
    };
    let gateway = transaction
        .gateways
        .of_stream(hello.incarnation, hello.attempt);
    let draining = gateway
        .as_ref()
        .is_some_and(|gateway| gateway.is_draining());
    let applied = gateway
        .iter()
        .flat_map(|gateway| gateway.sequences.applied());
    let welcome = AttachWelcome {
        epoch: node.epoch,
        applied: applied
            .map(|(link, sequence)| Confirmation { link, sequence })
            .collect(),
        roster,
        max_pdu_bytes: u32::try_from(node.process.settings.pdu_limit).unwrap_or(u32::MAX),
        patient_bytes: node.process.settings.patient_bytes as u64,
        cold_start_bytes: node.process.settings.cold_start_bytes as u64,
        draining,
        term: node.tenure.term,
        beat_millis: match node.tenure.term {
            0 => 0,
            _ => BEAT_MILLIS,
        },
    };
    Admitted {
        hello: hello.clone(),
        welcome,
        queue,
    }
}
