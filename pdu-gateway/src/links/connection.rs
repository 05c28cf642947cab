//! A MsgServer's TCP connection, from accept to close: one task that reads, and writes what its [`Link`] holds.
//!
//! Reading and writing share the task, but neither waits for the other.
//!
//! No timer runs here while it lives: a task sleeps until its socket, its link, its window or its brake wakes it.

use std::fmt;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use route_proto::attach::v1::CloseReason;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};
use tracing::field::display;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::links::gateway::Gateway;
use crate::links::link::{Link, Shut};
use crate::links::network::Socket;
use crate::links::peer::Peer;
use crate::links::reader::Reader;
use crate::links::registry::Place;
use crate::links::writer::Writer;
use crate::unconfirmed::ledger::Summary;

/// How long a link may take to close after our FIN.
const LINGER: Duration = Duration::from_secs(1);

/// Why the node has a link closed.
const SUPERSEDED: &str = "another connection of its MsgServer has taken its place, or nothing was heard of it while another is; if that goes on, two MsgServers have one name";

/// Serves a connection until it ends.
pub async fn serve<S: Socket>(
    gateway: Arc<Gateway>,
    (input, output): (S::Input, S::Output),
    peer: Peer,
    place: Place,
) {
    let now = gateway.clock.now();
    let link = gateway.links.open(peer, &gateway.link_settings, now);
    gateway.counters.opened();
    let Peer { address, name } = link.peer();
    let name = name.as_ref().map(display);
    let span = info_span!("link", link = link.number(), peer = %address, msg_server = name);
    async {
        debug!("connected");
        let mut connection = Connection::<S> {
            reader: Reader::new(&gateway, &link, input),
            writer: Writer::new(&gateway, &link, output),
            link,
            gateway,
        };
        let reason = connection.run().await;
        connection.end(reason).await;
    }
    .instrument(span)
    .await;
    drop(place);
}

struct Connection<S: Socket> {
    gateway: Arc<Gateway>,
    link: Arc<Link>,
    reader: Reader<S::Input>,
    writer: Writer<S::Output>,
}

impl<S: Socket> Connection<S> {
    /// Reads and writes until either has a reason to end.
    async fn run(&mut self) -> CloseReason {
        tokio::select! {
            // Writing first: what waits there has come the whole way.
            biased;
            reason = self.writer.write::<S>() => reason,
            reason = self.reader.read() => reason,
        }
    }

    /// Tells the node, gives back what could not be written, closes.
    async fn end(&mut self, reason: CloseReason) {
        if reason == CloseReason::Drain {
            // What it has sent already is handled.
            self.link.tell(&self.gateway.uplink);
        }
        let concluded = match self.link.stays_untold() {
            true => self.end_unopened(reason),
            false => self.end_link(reason).await,
        };
        if let Some(stranger) = self.reader.stranger.take() {
            let (input, output) = (&mut self.reader.input, &mut self.writer.output);
            self.gateway.strangers.tell(stranger, input, output).await;
        } else if concluded == Concluded::Written {
            self.close().await;
        }
        // A host that does not take what the kernel has would have it kept for minutes.
        let leftovers = self.gateway.link_settings.host_timeout;
        if let Err(error) = S::limit_leftovers(&self.writer.output, leftovers) {
            debug!(%error, "cannot limit the time of what is left");
        }
    }

    async fn end_link(&mut self, reason: CloseReason) -> Concluded {
        let was = self.gateway.uplink.summary(self.link.number());
        let mut unread = 0;
        let concluded = match reason {
            CloseReason::Drain => {
                unread = self.leave().await;
                Concluded::NotTold
            }
            // Nothing came before it.
            CloseReason::BadFrame if self.reader.stranger.is_some() => Concluded::NotTold,
            // What came before it is owed an answer.
            CloseReason::BadFrame => self.conclude(reason).await,
            CloseReason::Unspecified
            | CloseReason::Peer
            | CloseReason::Idle
            | CloseReason::SlowReader
            | CloseReason::Requested => Concluded::NotTold,
        };
        let told = (concluded == Concluded::NotTold).then_some(reason);
        let shut = self
            .link
            .shut(&mut self.writer.batch, told, &self.gateway.uplink);
        let counters = &self.gateway.counters;
        counters.closed(reason);
        counters.given_back.add(shut.given_back as u64);
        counters.lost.add(shut.dropped as u64);
        counters.unread_bytes.add(unread as u64);
        self.log_end(reason, &shut, unread, was);
        if let Some(relief) = shut.relief {
            self.gateway.turn(relief);
        }
        concluded
    }

    /// The node was never told of it.
    fn end_unopened(&self, reason: CloseReason) -> Concluded {
        self.gateway.links.forget(self.link.number());
        self.gateway.counters.closed(reason);
        let shut = Shut {
            given_back: 0,
            dropped: 0,
            relief: None,
        };
        self.log_end(reason, &shut, 0, Summary::default());
        match reason {
            CloseReason::BadFrame => Concluded::Written,
            CloseReason::Unspecified
            | CloseReason::Peer
            | CloseReason::Idle
            | CloseReason::SlowReader
            | CloseReason::Requested
            | CloseReason::Drain => Concluded::NotTold,
        }
    }

    /// What we end, and what is lost, is worth somebody's attention. Who has not sent a PDU is no MsgServer: of a probe nothing
    /// is said, of others little.
    fn log_end(&self, reason: CloseReason, shut: &Shut, unread: usize, was: Summary) {
        let why = match (reason, &self.reader.problem) {
            (CloseReason::BadFrame, Some(problem)) => Some(problem as &dyn fmt::Display),
            (CloseReason::BadFrame, None) => Some(&"it did not end a PDU in time" as _),
            (CloseReason::Idle, _) => Some(&"nothing came from it for too long" as _),
            (CloseReason::SlowReader, _) => Some(&"it does not take what it is sent" as _),
            (CloseReason::Requested, _) if self.gateway.uplink.is_attached() => {
                Some(&SUPERSEDED as _)
            }
            (CloseReason::Requested, _) => {
                Some(&"no node is there, so it has to turn elsewhere" as _)
            }
            (CloseReason::Drain, _) if unread > 0 => Some(&"it sent more than could be read" as _),
            (CloseReason::Unspecified | CloseReason::Peer | CloseReason::Drain, _) => None,
        };
        let (given_back, dropped) = (shut.given_back, shut.dropped);
        let (now, peer) = (self.gateway.clock.now(), self.link.peer());
        if !self.reader.has_spoken && dropped == 0 {
            match (reason, why) {
                (CloseReason::BadFrame, Some(why)) => {
                    let refusals = &self.gateway.refusals;
                    refusals.log_stranger(now, peer.address, why);
                }
                _ => debug!(?reason, given_back, "closed without a word"),
            }
            return;
        }
        let lines = self.gateway.lines_of(peer);
        let is_warning = why.is_some() || dropped > 0;
        let line = match is_warning {
            true => lines.take(now),
            false => lines.take_usual(now),
        };
        let Some(left_out) = line else {
            debug!(given_back, "link closed, as others before it");
            return;
        };
        let reason = reason.as_str_name().trim_start_matches("CLOSE_REASON_");
        let why = why.map(display);
        let Summary { claimed, sessions } = was;
        if is_warning {
            warn!(
                reason,
                why, claimed, sessions, given_back, dropped, unread, left_out, "link closed"
            );
        } else {
            info!(
                reason,
                claimed, sessions, given_back, left_out, "link closed"
            );
        }
    }

    /// The MsgServer goes on with another connection, and nothing is lost: what it still sends here is handled until it has
    /// closed, what is for it is held for that connection, answers to what it has asked here too. Returns how many bytes
    /// of what it has sent were not read, because there was no time or no room.
    async fn leave(&mut self) -> usize {
        let (uplink, number) = (&self.gateway.uplink, self.link.number());
        let given_up = &self.gateway.given_up;
        let time = self.gateway.link_settings.close_timeout;
        let (link, writer) = (&self.link, &mut self.writer);
        let part = async {
            if let Err(error) = writer.part::<S>().await {
                debug!(%error, "cannot close this direction");
            }
            pending::<()>().await;
        };
        let late = async {
            sleep(time).await;
            // As long as there is no room for what it sends, it cannot be blamed.
            while link.is_held_up() {
                sleep(time).await;
            }
        };
        tokio::select! {
            _ = self.reader.read() => {}
            () = part => {}
            () = late => debug!("the MsgServer did not close in time"),
            () = poll_fn(|cx| link.poll_overfull(cx)) => debug!("too much is held"),
            () = given_up.cancelled() => {}
        }
        tokio::select! {
            () = poll_fn(|cx| uplink.poll_answered(cx, number)) => {}
            () = given_up.cancelled() => {}
        }
        self.reader.discard().await
    }

    /// Writes until everything that the link asked is answered; then tells the node that it ends, and writes until the node
    /// knows that, so that nothing more comes. Without a node, writes what there is.
    async fn conclude(&mut self, reason: CloseReason) -> Concluded {
        let (uplink, number) = (&self.gateway.uplink, self.link.number());
        let writer = &mut self.writer;
        let given_up = &self.gateway.given_up;
        let close_timeout = self.gateway.link_settings.close_timeout;
        let mut concluded = Concluded::NotTold;
        let conclude = async {
            tokio::select! {
                written = writer.flush(true) => written?,
                () = poll_fn(|cx| uplink.poll_answered(cx, number)) => {}
                () = given_up.cancelled() => {}
            }
            uplink.close(number, reason, Vec::new());
            concluded = Concluded::Told;
            tokio::select! {
                written = writer.flush(true) => return written,
                () = given_up.cancelled() => {}
            }
            writer.flush(false).await
        };
        if matches!(timeout(close_timeout, conclude).await, Ok(Ok(()))) {
            concluded = Concluded::Written;
        } else {
            debug!("not everything could be written before the end");
        }
        concluded
    }

    /// Closes our side, then waits for the other to do the same.
    async fn close(&mut self) {
        if self.writer.output.shutdown().await.is_err() {
            return;
        }
        // Closing while something unread is there would reset the connection, and what was written might be lost.
        let mut nowhere = tokio::io::sink();
        let discarded = timeout(
            LINGER,
            tokio::io::copy(&mut self.reader.input, &mut nowhere),
        );
        if !matches!(discarded.await, Ok(Ok(_))) {
            debug!("the MsgServer did not close in time");
        }
    }
}

/// How far the orderly end of a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concluded {
    /// The node does not know yet that it ends.
    NotTold,
    /// It does, but not everything could be written.
    Told,
    /// Everything is written.
    Written,
}
