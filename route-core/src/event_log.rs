//! The bounded ring that subscribers read: every routed envelope and every change of a status, by
//! position.
//!
//! Readers keep a cursor of their own. One that falls behind is told the extent of what it missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::ids::{Command, UserId};
use crate::memory::{allocated, of_pdu};
use crate::status::{LinkView, SessionView, Summary};

/// Why a user's presence changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeReason {
    /// A client came.
    Login,
    /// A client went.
    Logout,
    /// A client is away from now on.
    Away,
    /// A client that was away is active again.
    Back,
    /// A MsgServer sent a list.
    Listed,
    /// The MsgServer's connection closed.
    LinkClosed,
    /// Nothing came on the MsgServer's connection for too long.
    TimedOut,
    /// The gateway was lost.
    GatewayLost,
    /// A link took over from another one of its MsgServer, or stepped back.
    Standing,
}

/// A user's presence is another one than before: the summary, or a client type came to a MsgServer,
/// went, or has another state there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PresenceChange {
    /// Whose.
    pub user: UserId,
    /// What it was.
    pub before: Summary,
    /// What it is now.
    pub after: Summary,
    /// The visible sessions now; none if there is none.
    pub sessions: Option<Arc<[SessionView]>>,
    /// Why.
    pub reason: ChangeReason,
}

impl PresenceChange {
    /// The status by one of the rules is another one, not the sessions alone.
    pub fn is_of_status(&self) -> bool {
        !self.after.is_status_of(self.before)
    }
}

/// What subscribers may see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A PDU was routed, to however many links.
    Envelope {
        /// Who sent it; none if a service did.
        origin: Option<Arc<LinkView>>,
        /// What it is.
        command: Command,
        /// The whole PDU.
        pdu: Bytes,
    },
    /// A user's presence changed.
    Presence(PresenceChange),
    /// The first visible desktop login of a user came, or the last one went.
    DesktopLogin {
        /// Whose.
        user: UserId,
        /// Some exists.
        on: bool,
    },
}

impl Event {
    /// What it takes, bytes.
    pub fn cost(&self) -> usize {
        let payload = match self {
            Event::Envelope { pdu, .. } => of_pdu(pdu.len()),
            Event::Presence(change) => of_sessions(change.sessions.as_deref()),
            Event::DesktopLogin { .. } => 0,
        };
        size_of::<Kept>() + payload
    }
}

/// What sessions that are shared take beside the handle to them: two counts, and themselves.
pub fn of_sessions(sessions: Option<&[SessionView]>) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    sessions.map_or(0, |sessions| allocated(COUNTS + size_of_val(sessions)))
}

/// An event, and when it happened, in microseconds.
type Kept = (u64, Event);

/// An event that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logged {
    /// Where it stands.
    pub position: u64,
    /// When it happened, since the node started.
    pub at: Duration,
    /// What happened.
    pub event: Event,
}

/// How much the log holds. Beyond either limit the oldest events go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogLimits {
    /// Events, at least 1.
    pub events: usize,
    /// Bytes, payloads included. One event is held whatever its size.
    pub bytes: usize,
}

/// A full ring grows by this part of itself, and by at least so many events.
const RING_GROWS_BY: usize = 8;
const RING_LEAST: usize = 64;

/// Events that are no longer held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("events after {from} up to {to} are no longer held")]
pub struct Gap {
    /// The reader's position.
    pub from: u64,
    /// Reading can go on after this one.
    pub to: u64,
}

/// The ring. Positions count from 1; 0 is before the first event.
#[derive(Debug)]
pub struct EventLog {
    limits: LogLimits,
    events: VecDeque<Kept>,
    bytes: usize,
    head: u64,
}

impl EventLog {
    /// An empty log.
    pub fn new(limits: LogLimits) -> Self {
        EventLog {
            limits,
            events: VecDeque::new(),
            bytes: 0,
            head: 0,
        }
    }

    /// Appends an event that happens so long after the node's start, and returns its position.
    pub fn push(&mut self, at: Duration, event: Event) -> u64 {
        let cost = event.cost();
        // Room is made before it is taken, or the ring would grow once more.
        while self.events.len() >= self.limits.events.max(1)
            || self.bytes + cost > self.limits.bytes
        {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.1.cost();
        }
        if self.events.len() == self.events.capacity() {
            // Sooner or later all of the ring is used, so it does not grow by half of itself.
            let more = (self.events.len() / RING_GROWS_BY).max(RING_LEAST);
            self.events.reserve_exact(more);
        }
        self.bytes += cost;
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        self.events.push_back((micros, event));
        self.head += 1;
        self.head
    }

    /// Position of the newest event; 0 if there never was one.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The oldest position that one can still read after without a gap.
    pub fn tail(&self) -> u64 {
        self.head - self.events.len() as u64
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends up to `max` events after position `after` to `out`: as many as take so many bytes, or
    /// one that takes more.
    ///
    /// # Errors
    ///
    /// [`Gap`] if some of them are no longer held; nothing is appended then.
    pub fn read(
        &self,
        after: u64,
        max: usize,
        max_bytes: usize,
        out: &mut Vec<Logged>,
    ) -> Result<(), Gap> {
        let tail = self.tail();
        if after < tail {
            return Err(Gap {
                from: after,
                to: tail,
            });
        }
        let skip = (after - tail) as usize;
        let mut bytes = 0;
        let kept = self.events.iter().skip(skip).take(max);
        for (position, (micros, event)) in (after + 1..).zip(kept) {
            bytes += event.cost();
            if bytes > max_bytes && position > after + 1 {
                break;
            }
            out.push(Logged {
                position,
                at: Duration::from_micros(*micros),
                event: event.clone(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_micros(7);

    fn event(user: u32) -> Event {
        Event::DesktopLogin {
            user: UserId(user),
            on: true,
        }
    }

    /// The event of the user with this number, at that position.
    fn logged(position: u64) -> Logged {
        Logged {
            position,
            at: AT,
            event: event(position as u32),
        }
    }

    fn log_of(events: usize) -> EventLog {
        EventLog::new(LogLimits {
            events,
            bytes: usize::MAX,
        })
    }

    #[test]
    fn a_reader_gets_what_came_after_its_position() {
        let mut log = log_of(8);
        for user in 1..=3 {
            log.push(AT, event(user));
        }
        let mut read = Vec::new();

        log.read(1, 10, usize::MAX, &mut read).unwrap();

        assert_eq!(read, [logged(2), logged(3)]);
    }

    #[test]
    fn a_reader_at_the_head_or_beyond_gets_nothing() {
        let mut log = log_of(8);
        log.push(AT, event(1));
        let mut read = Vec::new();

        log.read(1, 10, usize::MAX, &mut read).unwrap();
        log.read(5, 10, usize::MAX, &mut read).unwrap();

        assert_eq!(read, []);
    }

    #[test]
    fn a_reader_behind_the_tail_is_told_how_far() {
        let mut log = log_of(2);
        for user in 1..=5 {
            log.push(AT, event(user));
        }
        let mut read = Vec::new();

        assert_eq!(
            log.read(1, 10, usize::MAX, &mut read),
            Err(Gap { from: 1, to: 3 })
        );
        assert_eq!(read, []);
        log.read(3, 10, usize::MAX, &mut read).unwrap();
        assert_eq!(read, [logged(4), logged(5)]);
    }

    #[test]
    fn a_reader_gets_no_more_bytes_than_it_asks_for_but_always_one_event() {
        let mut log = log_of(8);
        for user in 1..=4 {
            log.push(AT, event(user));
        }
        let mut read = Vec::new();

        log.read(0, 10, 3 * event(1).cost(), &mut read).unwrap();
        log.read(3, 10, 1, &mut read).unwrap();

        let positions: Vec<_> = read.iter().map(|logged| logged.position).collect();
        assert_eq!(positions, [1, 2, 3, 4]);
    }

    #[test]
    fn bytes_are_bounded_but_the_newest_event_is_always_held() {
        let mut log = EventLog::new(LogLimits {
            events: 100,
            bytes: 1000,
        });
        let big = |len| Event::Envelope {
            origin: None,
            command: Command {
                id: 0x0301,
                dialect: 0,
            },
            pdu: Bytes::from(vec![0; len]),
        };

        log.push(AT, big(600));
        log.push(AT, big(600));
        assert_eq!(log.tail(), 1);
        log.push(AT, big(5000));
        assert_eq!(log.tail(), 2);
        assert_eq!(log.head(), 3);
    }
}
