//! When a link that is written more than it takes slows down those who send, and when it is given up.
//!
//! A MsgServer that reads, only slower than a burst comes in, is *congested* for a while: the readers of links that feed
//! it much pause, so that the burst waits at its senders instead of growing here. One that does not read is none of the
//! others' business: its queue fills and it is cut off.
//!
//! Time comes in as the time since the gateway started.

use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use route_proto::attach::v1::LinkId;

/// Progress is measured over the last one to two of these.
const SPAN: Duration = Duration::from_millis(100);

/// A link that takes this much in a span reads, bytes.
const READS: usize = 1 << 20;

/// Longest that one link may slow down those who feed it at a stretch.
const LONGEST_EPISODE: Duration = Duration::from_secs(5);

/// Who sends a congested link more than this has to pause, bytes. Who sends less, such as a notice now and then, would
/// wait for the others' sake.
const MUCH: usize = 256 << 10;

/// What a link wants of those who feed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It takes less than it is sent: from now on it is looked at who feeds it.
    Congested,
    /// This link feeds it much, and should pause.
    Fed(LinkId),
    /// It is congested no more: these may go on.
    Relieved(Vec<LinkId>),
}

/// How one link copes with what it is written.
#[derive(Debug)]
pub struct Pressure {
    high: usize,
    low: usize,
    queued: usize,
    /// Since when something has been waiting without being written.
    waiting_since: Duration,
    span_began: Duration,
    span: usize,
    span_before: usize,
    phase: Phase,
    /// While it is congested: how much each has sent, bytes.
    feeders: HashMap<LinkId, usize, RandomState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Calm,
    Congested {
        since: Duration,
    },
    /// It has had its episode and is not relieved yet.
    Exhausted,
}

impl Pressure {
    /// For a link whose queue may hold `limit` bytes: congested above a quarter, relieved below an eighth.
    pub fn new(limit: usize) -> Self {
        Pressure {
            high: limit / 4,
            low: limit / 8,
            queued: 0,
            waiting_since: Duration::ZERO,
            span_began: Duration::ZERO,
            span: 0,
            span_before: 0,
            phase: Phase::Calm,
            feeders: HashMap::default(),
        }
    }

    /// So many bytes wait now, after some were added.
    pub fn pushed(&mut self, now: Duration, queued: usize) -> Option<Turn> {
        if self.queued == 0 && queued > 0 {
            self.waiting_since = now;
            // A queue that was empty says nothing against the link yet.
            self.roll(now);
            if self.span == 0 && self.span_before == 0 {
                self.span_began = now;
                self.span = READS;
            }
        }
        self.queued = queued;
        if self.phase != Phase::Calm || queued <= self.high || !self.reads(now) {
            return None;
        }
        self.phase = Phase::Congested { since: now };
        Some(Turn::Congested)
    }

    /// So many bytes have been written, so many wait now.
    pub fn wrote(&mut self, now: Duration, bytes: usize, queued: usize) -> Option<Turn> {
        self.roll(now);
        self.span += bytes;
        self.queued = queued;
        self.waiting_since = now;
        if self.phase == Phase::Calm || queued > self.low {
            return None;
        }
        self.end(Phase::Calm)
    }

    /// There is no room left for its queue, though it is not too long. One that does not read is left to its own bounds.
    pub fn press(&mut self, now: Duration) -> Option<Turn> {
        if self.phase != Phase::Calm || self.queued == 0 || !self.reads(now) {
            return None;
        }
        self.phase = Phase::Congested { since: now };
        Some(Turn::Congested)
    }

    /// While it is congested: a link has sent so much of what was added.
    pub fn fed(&mut self, by: LinkId, bytes: usize) -> Option<Turn> {
        if !self.is_congested() {
            return None;
        }
        let fed = self.feeders.entry(by).or_insert(0);
        let before = *fed;
        *fed += bytes;
        (before <= MUCH && *fed > MUCH).then_some(Turn::Fed(by))
    }

    /// It is written nothing any more.
    pub fn ends(&mut self) -> Option<Turn> {
        self.end(Phase::Exhausted)
    }

    fn end(&mut self, phase: Phase) -> Option<Turn> {
        let congested = self.is_congested();
        self.phase = phase;
        let feeders = std::mem::take(&mut self.feeders);
        let paused = feeders.into_iter().filter(|(_, fed)| *fed > MUCH);
        let paused = paused.map(|(feeder, _)| feeder).collect();
        congested.then_some(Turn::Relieved(paused))
    }

    /// Time has passed. An episode ends when it has lasted too long, or its link no longer reads.
    pub fn tick(&mut self, now: Duration) -> Option<Turn> {
        let Phase::Congested { since } = self.phase else {
            return None;
        };
        if now.saturating_sub(since) < LONGEST_EPISODE && self.reads(now) {
            return None;
        }
        self.end(Phase::Exhausted)
    }

    /// Those who feed this link should pause.
    pub fn is_congested(&self) -> bool {
        matches!(self.phase, Phase::Congested { .. })
    }

    /// How long something has been waiting without anything being written.
    pub fn stalled(&self, now: Duration) -> Duration {
        match self.queued {
            0 => Duration::ZERO,
            _ => now.saturating_sub(self.waiting_since),
        }
    }

    fn reads(&mut self, now: Duration) -> bool {
        self.roll(now);
        self.span + self.span_before >= READS
    }

    fn roll(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.span_began);
        if passed >= 2 * SPAN {
            (self.span_before, self.span) = (0, 0);
            self.span_began = now;
        } else if passed >= SPAN {
            (self.span_before, self.span) = (self.span, 0);
            self.span_began += SPAN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 << 20;
    const HIGH: usize = LIMIT / 4;
    const LOW: usize = LIMIT / 8;

    #[test]
    fn a_link_that_reads_but_is_behind_is_congested_until_it_has_caught_up() {
        let mut pressure = Pressure::new(LIMIT);
        pressure.pushed(ms(0), HIGH);
        pressure.wrote(ms(1000), READS, HIGH);

        assert_eq!(pressure.pushed(ms(1001), HIGH + 1), Some(Turn::Congested));
        assert_eq!(pressure.pushed(ms(1002), HIGH + 2), None);
        assert_eq!(pressure.wrote(ms(1003), 100, LOW + 1), None);
        assert_eq!(
            pressure.wrote(ms(1004), 100, LOW),
            Some(Turn::Relieved(Vec::new()))
        );
    }

    #[test]
    fn a_link_that_does_not_read_slows_nobody() {
        let mut pressure = Pressure::new(LIMIT);
        pressure.pushed(ms(0), 1000);

        assert_eq!(pressure.pushed(ms(1000), LIMIT), None);
        assert_eq!(pressure.stalled(ms(30_000)), Duration::from_secs(30));
    }

    #[test]
    fn a_burst_to_an_idle_link_is_no_reason_to_give_it_up() {
        let mut pressure = Pressure::new(LIMIT);

        assert_eq!(pressure.pushed(ms(7000), HIGH + 1), Some(Turn::Congested));

        assert_eq!(pressure.tick(ms(7100)), None);
        assert_eq!(
            pressure.tick(ms(7200)),
            Some(Turn::Relieved(Vec::new())),
            "it took nothing"
        );
    }

    #[test]
    fn an_episode_ends_and_the_next_begins_after_relief_only() {
        let mut pressure = Pressure::new(LIMIT);
        pressure.wrote(ms(0), READS, HIGH);
        pressure.pushed(ms(1), HIGH + 1);
        for at in 0..50 {
            pressure.wrote(ms(at * 100), READS, HIGH + 1);
        }

        assert_eq!(pressure.tick(ms(4999)), None);
        assert_eq!(pressure.tick(ms(5001)), Some(Turn::Relieved(Vec::new())));
        assert_eq!(pressure.pushed(ms(5002), HIGH + 1), None);

        assert_eq!(pressure.wrote(ms(5003), READS, LOW), None);
        assert_eq!(pressure.pushed(ms(5004), HIGH + 1), Some(Turn::Congested));
    }

    #[test]
    fn who_feeds_it_much_is_named_once_and_let_go_at_the_end() {
        let mut pressure = Pressure::new(LIMIT);
        assert_eq!(pressure.fed(link(1), LIMIT), None, "it is not congested");
        pressure.wrote(ms(0), READS, HIGH);
        pressure.pushed(ms(1), HIGH + 1);

        assert_eq!(pressure.fed(link(1), MUCH), None);
        assert_eq!(pressure.fed(link(2), 26), None);
        assert_eq!(pressure.fed(link(1), 1), Some(Turn::Fed(link(1))));
        assert_eq!(pressure.fed(link(1), MUCH), None);

        let relieved = Turn::Relieved(vec![link(1)]);
        assert_eq!(pressure.wrote(ms(2), 100, LOW), Some(relieved));
        assert_eq!(pressure.ends(), None);
    }

    fn link(number: u64) -> LinkId {
        LinkId { gateway: 7, number }
    }

    #[test]
    fn nothing_stalls_while_nothing_waits() {
        let mut pressure = Pressure::new(LIMIT);
        pressure.pushed(ms(0), 10);
        pressure.wrote(ms(1), 10, 0);

        assert_eq!(pressure.stalled(ms(60_000)), Duration::ZERO);
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
