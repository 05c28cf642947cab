//! The bounded ring that subscribers read: every routed envelope and every change of a status, by
//! position.
//!
//! Readers keep a cursor of their own. One that falls behind is told the extent of what it missed.

use std::collections::VecDeque;

use bytes::Bytes;
use thiserror::Error;

use crate::ids::{Command, LinkId, UserId};
use crate::memory::of_pdu;
use crate::status::Summary;

/// Why a status changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ChangeReason {
    /// A client came, went, left or came back.
    Client,
    /// A MsgServer sent a list.
    List,
    /// The MsgServer's connection closed.
    LinkClosed,
    /// The gateway was lost.
    GatewayLost,
    /// A link took over from another one of its MsgServer, or stepped back.
    Role,
}

/// What subscribers may see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A PDU was routed, to however many links.
    Envelope {
        /// Who sent it; none if a service did.
        origin: Option<LinkId>,
        /// What it is.
        command: Command,
        /// The whole PDU.
        pdu: Bytes,
    },
    /// A user's summary is another one than before.
    StatusChanged {
        /// Whose.
        user: UserId,
        /// What it is now.
        summary: Summary,
        /// Why.
        reason: ChangeReason,
    },
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
            Event::StatusChanged { .. } | Event::DesktopLogin { .. } => 0,
        };
        size_of::<Event>() + payload
    }
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
    events: VecDeque<Event>,
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

    /// Appends an event and returns its position.
    pub fn push(&mut self, event: Event) -> u64 {
        let cost = event.cost();
        // Room is made before it is taken, or the ring would grow once more.
        while self.events.len() >= self.limits.events.max(1)
            || self.bytes + cost > self.limits.bytes
        {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.cost();
        }
        if self.events.len() == self.events.capacity() {
            // Sooner or later all of the ring is used, so it does not grow by half of itself.
            let more = (self.events.len() / RING_GROWS_BY).max(RING_LEAST);
            self.events.reserve_exact(more);
        }
        self.bytes += cost;
        self.events.push_back(event);
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
        out: &mut Vec<(u64, Event)>,
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
        for (position, event) in (after + 1..).zip(self.events.iter().skip(skip).take(max)) {
            bytes += event.cost();
            if bytes > max_bytes && position > after + 1 {
                break;
            }
            out.push((position, event.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(user: u32) -> Event {
        Event::DesktopLogin {
            user: UserId(user),
            on: true,
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
            log.push(event(user));
        }
        let mut read = Vec::new();

        log.read(1, 10, usize::MAX, &mut read).unwrap();

        assert_eq!(read, [(2, event(2)), (3, event(3))]);
    }

    #[test]
    fn a_reader_at_the_head_or_beyond_gets_nothing() {
        let mut log = log_of(8);
        log.push(event(1));
        let mut read = Vec::new();

        log.read(1, 10, usize::MAX, &mut read).unwrap();
        log.read(5, 10, usize::MAX, &mut read).unwrap();

        assert_eq!(read, []);
    }

    #[test]
    fn a_reader_behind_the_tail_is_told_how_far() {
        let mut log = log_of(2);
        for user in 1..=5 {
            log.push(event(user));
        }
        let mut read = Vec::new();

        assert_eq!(
            log.read(1, 10, usize::MAX, &mut read),
            Err(Gap { from: 1, to: 3 })
        );
        assert_eq!(read, []);
        log.read(3, 10, usize::MAX, &mut read).unwrap();
        assert_eq!(read, [(4, event(4)), (5, event(5))]);
    }

    #[test]
    fn a_reader_gets_no_more_bytes_than_it_asks_for_but_always_one_event() {
        let mut log = log_of(8);
        for user in 1..=4 {
            log.push(event(user));
        }
        let mut read = Vec::new();

        log.read(0, 10, 3 * event(1).cost(), &mut read).unwrap();
        log.read(3, 10, 1, &mut read).unwrap();

        let positions: Vec<_> = read.iter().map(|(position, _)| *position).collect();
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

        log.push(big(600));
        log.push(big(600));
        assert_eq!(log.tail(), 1);
        log.push(big(5000));
        assert_eq!(log.tail(), 2);
        assert_eq!(log.head(), 3);
    }
}
