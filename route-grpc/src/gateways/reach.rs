//! Whether a gateway can be reached. Pure: what happens to it, and when, is told.

use std::time::Duration;

use super::GatewayLimits;

/// How a gateway that the node has can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It has a stream, on which it sends again what it had read before.
    CatchingUp,
    /// It has a stream, and takes what it is handed.
    Here,
    /// It has a stream, and has taken nothing for a while although something waits: the stream may
    /// be about to break.
    Silent,
    /// Its stream has ended.
    Away {
        /// It is lost if it has not come back by then.
        until: Duration,
        /// From then on nobody waits for what it might give back: it has hung up, as a process that
        /// is gone does.
        departs: Option<Duration>,
        /// It may come back. One that has finished does not.
        may_return: bool,
    },
}

/// How the stream of a gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// The gateway ended it, and had no link left: it stops.
    Finished,
    /// The gateway has hung up.
    HungUp,
    /// Anything else.
    Broken,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It has opened a stream.
    Attached,
    /// It has sent everything again.
    CaughtUp,
    /// It was looked at, and has taken nothing for so long.
    Looked { idle: Duration },
    /// The stream has ended.
    Detached(Parting),
}

impl Reach {
    /// What it is after that. There is no other way in which it changes.
    pub(super) fn after(self, event: Event, now: Duration, limits: &GatewayLimits) -> Self {
        match (event, self) {
            (Event::Attached, _) => Self::CatchingUp,
            (Event::CaughtUp, Self::CatchingUp) => Self::Here,
            (Event::Looked { idle }, Self::Here | Self::Silent) => {
                if idle >= limits.silence {
                    Self::Silent
                } else {
                    Self::Here
                }
            }
            (Event::Detached(parting), Self::CatchingUp | Self::Here | Self::Silent) => {
                let hung_up = parting == Parting::HungUp;
                Self::Away {
                    until: now + limits.grace,
                    departs: hung_up.then_some(now + limits.departed_wait),
                    may_return: parting != Parting::Finished,
                }
            }
            (Event::CaughtUp, Self::Here | Self::Silent | Self::Away { .. })
            | (Event::Looked { .. }, Self::CatchingUp | Self::Away { .. })
            | (Event::Detached(_), Self::Away { .. }) => self,
        }
    }

    /// It has a stream.
    pub(crate) fn is_attached(self) -> bool {
        match self {
            Self::CatchingUp | Self::Here | Self::Silent => true,
            Self::Away { .. } => false,
        }
    }

    /// It has a stream, and has sent everything again.
    pub(crate) fn has_caught_up(self) -> bool {
        match self {
            Self::Here | Self::Silent => true,
            Self::CatchingUp | Self::Away { .. } => false,
        }
    }

    /// As far as the core goes into it.
    pub(crate) fn of_core(self) -> route_core::Reach {
        match self {
            Self::Here => route_core::Reach::Here,
            Self::CatchingUp | Self::Silent => route_core::Reach::Silent,
            Self::Away { .. } => route_core::Reach::Away,
        }
    }

    /// It is here, or may come back.
    pub(super) fn is_awaited(self) -> bool {
        match self {
            Self::CatchingUp | Self::Here | Self::Silent => true,
            Self::Away { may_return, .. } => may_return,
        }
    }

    /// When it is lost.
    pub(super) fn lost_at(self) -> Option<Duration> {
        match self {
            Self::Away { until, .. } => Some(until),
            Self::CatchingUp | Self::Here | Self::Silent => None,
        }
    }

    /// From when on nobody waits for what it might give back.
    pub(super) fn departs_at(self) -> Option<Duration> {
        match self {
            Self::Away { departs, .. } => departs,
            Self::CatchingUp | Self::Here | Self::Silent => None,
        }
    }
}

/// For how long a gateway has taken nothing although something waits.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Which Downlink it had taken when it was looked at last.
    taken: u64,
    /// Since when that has not changed; none before the first look.
    since: Option<Duration>,
}

impl Pulse {
    /// It has taken this Downlink now; something waits, or not.
    pub(super) fn look(&mut self, now: Duration, taken: u64, waits: bool) -> Duration {
        if !waits || taken != self.taken {
            (self.taken, self.since) = (taken, Some(now));
        }
        now - *self.since.get_or_insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const LIMITS: GatewayLimits = GatewayLimits {
        grace: Duration::from_secs(10),
        departed_wait: Duration::from_secs(1),
        silence: Duration::from_secs(1),
        given_up: Duration::from_secs(10),
        replay_wait: Duration::from_secs(60),
        most: 64,
        queue_bytes: 0,
        pdu_limit: 1000,
    };
    const IDLE: Event = Event::Looked {
        idle: LIMITS.silence,
    };
    const BUSY: Event = Event::Looked {
        idle: Duration::ZERO,
    };

    fn after(events: &[Event]) -> Reach {
        let first = Reach::CatchingUp;
        let step = |reach: Reach, event: &Event| reach.after(*event, NOW, &LIMITS);
        events.iter().fold(first, step)
    }

    #[test]
    fn a_gateway_catches_up_and_may_fall_silent() {
        assert_eq!(after(&[IDLE]), Reach::CatchingUp);
        assert_eq!(after(&[Event::CaughtUp]), Reach::Here);
        assert_eq!(after(&[Event::CaughtUp, IDLE]), Reach::Silent);
        assert_eq!(after(&[Event::CaughtUp, IDLE, BUSY]), Reach::Here);
        assert_eq!(
            after(&[Event::CaughtUp, Event::Attached]),
            Reach::CatchingUp
        );
    }

    #[test]
    fn one_that_is_away_stays_so_until_it_attaches() {
        let away = Event::Detached(Parting::Broken);
        let hung_up = Event::Detached(Parting::HungUp);
        let expected = |departs, may_return| Reach::Away {
            until: NOW + LIMITS.grace,
            departs,
            may_return,
        };

        let reach = after(&[away]);
        assert_eq!(reach, expected(None, true));
        for event in [Event::CaughtUp, IDLE, hung_up] {
            assert_eq!(reach.after(event, NOW * 2, &LIMITS), reach);
        }
        let departs = Some(NOW + LIMITS.departed_wait);
        assert_eq!(after(&[Event::CaughtUp, hung_up]), expected(departs, true));
        assert_eq!(after(&[away, Event::Attached]), Reach::CatchingUp);
    }

    #[test]
    fn one_that_has_finished_is_not_awaited() {
        let finished = after(&[Event::CaughtUp, Event::Detached(Parting::Finished)]);

        assert!(!finished.is_awaited());
        assert!(after(&[Event::Detached(Parting::HungUp)]).is_awaited());
        assert!(after(&[Event::Detached(Parting::Finished), Event::Attached]).is_awaited());
    }

    #[test]
    fn only_who_leaves_something_lying_is_idle() {
        let mut pulse = Pulse::default();

        assert_eq!(pulse.look(NOW, 3, true), Duration::ZERO);
        assert_eq!(pulse.look(NOW * 2, 3, true), NOW);
        assert_eq!(pulse.look(NOW * 3, 4, true), Duration::ZERO);
        assert_eq!(pulse.look(NOW * 4, 4, false), Duration::ZERO);
    }
}
