//! What comes in and is long: who has the memory for it, who waits, who is cut off for others. Pure.
//!
//! The host that holds least comes first. A host that holds more than an equal part gives way to one that
//! would hold less, at once. Others have the time that an honest peer needs; who has had it and is not
//! complete while somebody waits is cut off, and of the host that holds most the oldest first. So nobody
//! holds everybody up, and a host that holds little is never cut off for another one.

use std::collections::BTreeMap;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::CutOff;
use super::hosts::{Host, Hosts};

/// A host that holds no more than its part has this long for each, and what its length takes at this
/// rate (bytes a second), while others wait.
const PATIENCE: Duration = Duration::from_secs(2);
const RATE: usize = 8 << 20;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// By number: the oldest first.
    all: BTreeMap<u64, Entry>,
    hosts: Hosts,
    last: u64,
    granted: usize,
    cutting: usize,
    /// Of those that are complete, what nobody has told yet as waiting.
    passed: usize,
    waiting: usize,
    woken: Vec<Waker>,
}

#[derive(Debug)]
struct Entry {
    host: Host,
    bytes: usize,
    since: Instant,
    stage: Stage,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waits,
    Granted,
    CutOff,
}

impl Inputs {
    /// Something of so many bytes comes in. Returns its number.
    pub(super) fn ask(&mut self, now: Instant, host: Host, bytes: usize) -> u64 {
        self.last += 1;
        self.waiting += 1;
        let entry = Entry {
            host,
            bytes,
            since: now,
            stage: Stage::Waits,
            waker: None,
        };
        let number = self.last;
        self.all.insert(number, entry);
        self.hosts.change(host, |it| {
            it.count += 1;
            it.waits.insert(number);
        });
        number
    }

    /// It is complete, or given up.
    pub(super) fn forget(&mut self, number: u64) {
        let Some(entry) = self.all.remove(&number) else {
            return;
        };
        match entry.stage {
            Stage::Waits => self.waiting -= 1,
            Stage::Granted => {
                self.granted -= entry.bytes;
                self.passed = self.passed.saturating_add(entry.bytes);
            }
            Stage::CutOff => {
                self.granted -= entry.bytes;
                self.cutting -= entry.bytes;
            }
        }
        self.hosts.change(entry.host, |it| {
            it.count -= 1;
            it.waits.remove(&number);
            if it.has.remove(&(entry.since, number)) {
                it.bytes -= entry.bytes;
            }
        });
    }

    /// Bytes of those that have their memory, cut off or not.
    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    /// Bytes of those that were cut off and still have it.
    pub(super) fn cutting(&self) -> usize {
        self.cutting
    }

    /// Bytes of those that became complete and may wait somewhere: they take room until that is told.
    pub(super) fn passed(&self) -> usize {
        self.passed
    }

    /// So much of these is told.
    pub(super) fn told(&mut self, bytes: usize) {
        self.passed = self.passed.saturating_sub(bytes);
    }

    pub(super) fn any_waits(&self) -> bool {
        self.waiting > 0
    }

    pub(super) fn is_granted(&self, number: u64) -> bool {
        let entry = self.all.get(&number);
        entry.is_some_and(|entry| entry.stage == Stage::Granted)
    }

    pub(super) fn poll_granted(&mut self, number: u64, waker: &Waker) -> Poll<Result<(), CutOff>> {
        match self.all.get_mut(&number) {
            Some(entry) if entry.stage == Stage::Waits => {
                entry.waker = Some(waker.clone());
                Poll::Pending
            }
            Some(entry) if entry.stage == Stage::Granted => Poll::Ready(Ok(())),
            Some(_) | None => Poll::Ready(Err(CutOff)),
        }
    }

    pub(super) fn poll_cut(&mut self, number: u64, waker: &Waker) -> Poll<CutOff> {
        match self.all.get_mut(&number) {
            Some(entry) if entry.stage != Stage::CutOff => {
                entry.waker = Some(waker.clone());
                Poll::Pending
            }
            Some(_) | None => Poll::Ready(CutOff),
        }
    }

    /// Those whose turn has come.
    pub(super) fn take_woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    /// Gives memory to those who wait, while there is some below the mark; if so much else is `held`. Where nobody has any,
    /// one may go up to the second mark. Who holds too much of it is cut off.
    pub(super) fn serve(&mut self, now: Instant, held: usize, (tight, full): (usize, usize)) {
        while let Some(next) = self.hosts.next() {
            let mark = if self.granted == 0 { full } else { tight };
            let held = held.saturating_add(self.passed);
            let room = mark.saturating_sub(held.saturating_add(self.granted));
            let Some(entry) = self.all.get_mut(&next) else {
                return;
            };
            let (host, bytes) = (entry.host, entry.bytes);
            if bytes <= room {
                entry.stage = Stage::Granted;
                entry.since = now;
                self.woken.extend(entry.waker.take());
                self.granted += bytes;
                self.waiting -= 1;
                self.hosts.change(host, |it| {
                    it.waits.remove(&next);
                    it.has.insert((now, next));
                    it.bytes += bytes;
                });
                continue;
            }
            let soon = self.cutting.saturating_add(self.passed);
            if bytes <= room.saturating_add(soon) {
                return;
            }
            let Some(oldest) = self.in_the_way(now, host, bytes, tight) else {
                return;
            };
            self.cut_one(oldest);
        }
    }

    /// Cuts off so many bytes, of the fullest host first, of that the oldest.
    pub(super) fn cut(&mut self, excess: usize) {
        while self.cutting < excess {
            let fullest = self.hosts.fullest();
            let oldest = fullest.and_then(|(host, _)| self.hosts.oldest_of(host));
            let Some(oldest) = oldest else {
                return;
            };
            self.cut_one(oldest);
        }
    }

    /// What the fullest host has.
    pub(super) fn most(&self) -> usize {
        self.hosts.fullest().map_or(0, |(_, bytes)| bytes)
    }

    /// The one that has to go for this one.
    fn in_the_way(&self, now: Instant, host: Host, bytes: usize, all: usize) -> Option<u64> {
        let (fullest, most) = self.hosts.fullest()?;
        let oldest = self.hosts.oldest_of(fullest)?;
        let own = self.hosts.bytes_of(host);
        let gives_way =
            fullest != host && most > all / self.hosts.len() && most >= own.saturating_add(bytes);
        let entry = self.all.get(&oldest)?;
        let time = PATIENCE + Duration::from_secs((entry.bytes / RATE) as u64);
        let is_late = now.saturating_duration_since(entry.since) >= time;
        (gives_way || is_late).then_some(oldest)
    }

    fn cut_one(&mut self, number: u64) {
        if let Some(entry) = self.all.get_mut(&number) {
            entry.stage = Stage::CutOff;
            self.cutting += entry.bytes;
            self.woken.extend(entry.waker.take());
            let (since, bytes) = (entry.since, entry.bytes);
            self.hosts.change(entry.host, |it| {
                it.has.remove(&(since, number));
                it.bytes -= bytes;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MARKS: (usize, usize) = (80, 95);

    #[derive(Debug)]
    struct Peers {
        inputs: Inputs,
        now: Instant,
        held: usize,
    }

    impl Peers {
        fn new() -> Self {
            Self {
                inputs: Inputs::default(),
                now: Instant::now(),
                held: 0,
            }
        }

        fn ask(&mut self, host: u8, bytes: usize) -> u64 {
            let host = Some(Ipv4Addr::new(10, 0, 0, host).into());
            let number = self.inputs.ask(self.now, host, bytes);
            self.serve();
            number
        }

        fn serve(&mut self) {
            self.inputs.serve(self.now, self.held, MARKS);
        }

        fn passes(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
            self.serve();
        }

        /// It is complete, and waits nowhere.
        fn ends(&mut self, number: u64) {
            self.passes_on(number);
            self.inputs.told(self.inputs.passed());
            self.serve();
        }

        /// It is complete.
        fn passes_on(&mut self, number: u64) {
            self.inputs.forget(number);
            self.serve();
        }

        fn stage(&self, number: u64) -> Stage {
            self.inputs.all[&number].stage
        }
    }

    #[test]
    fn who_finds_no_room_waits_until_another_one_is_complete() {
        let mut peers = Peers::new();
        let first = peers.ask(1, 50);
        let second = peers.ask(1, 40);
        assert_eq!(peers.stage(first), Stage::Granted);
        assert_eq!(peers.stage(second), Stage::Waits);

        peers.ends(first);
        assert_eq!(peers.stage(second), Stage::Granted);
    }

    #[test]
    fn a_host_that_holds_much_gives_way_to_one_that_holds_little_at_once() {
        let mut peers = Peers::new();
        let all: Vec<_> = (0..8).map(|_| peers.ask(1, 10)).collect();
        let honest = peers.ask(2, 20);

        let stages = |peers: &Peers| all.iter().map(|it| peers.stage(*it)).collect::<Vec<_>>();
        assert_eq!(
            stages(&peers)[..3],
            [Stage::CutOff, Stage::CutOff, Stage::Granted]
        );
        peers.ends(all[0]);
        peers.ends(all[1]);
        assert_eq!(peers.stage(honest), Stage::Granted);

        // Those come again, and more of them; the honest one may take its time.
        for _ in 0..100 {
            peers.ask(1, 10);
        }
        peers.passes(3600);
        assert_eq!(peers.stage(honest), Stage::Granted);
        assert!(peers.inputs.cutting > 0, "the old ones have had theirs");
    }

    #[test]
    fn of_one_host_the_oldest_goes_when_it_has_had_its_time() {
        let mut peers = Peers::new();
        let first = peers.ask(1, 40);
        peers.passes(1);
        let second = peers.ask(1, 40);
        let third = peers.ask(1, 30);
        assert_eq!(peers.stage(first), Stage::Granted);

        peers.passes(1);
        assert_eq!(peers.stage(first), Stage::CutOff);
        assert_eq!(peers.stage(second), Stage::Granted, "one is enough");
        peers.ends(first);
        assert_eq!(peers.stage(third), Stage::Granted);
    }

    #[test]
    fn the_host_that_holds_least_comes_first() {
        let mut peers = Peers::new();
        peers.ask(1, 30);
        let other = peers.ask(2, 50);
        let early = peers.ask(1, 25);
        let late = peers.ask(2, 30);
        peers.ends(other);

        assert_eq!(peers.stage(late), Stage::Granted);
        assert_eq!(peers.stage(early), Stage::Waits);
    }

    #[test]
    fn what_is_complete_takes_its_room_until_it_is_told_where_it_waits() {
        let mut peers = Peers::new();
        let first = peers.ask(1, 50);
        let slow = peers.ask(2, 20);
        let second = peers.ask(1, 40);
        peers.passes_on(first);
        peers.passes(3600);
        assert_eq!(peers.stage(second), Stage::Waits);
        assert_eq!(peers.stage(slow), Stage::Granted, "there will be room");

        // Some of it waits in a queue.
        peers.held = 15;
        peers.inputs.told(50);
        peers.serve();
        assert_eq!(peers.stage(second), Stage::Granted);
    }

    #[test]
    fn nobody_is_cut_off_for_what_waits_elsewhere() {
        let mut peers = Peers::new();
        peers.held = 96;
        let waits = peers.ask(1, 10);
        peers.passes(3600);
        assert_eq!(peers.stage(waits), Stage::Waits);
        peers.held = 0;
        peers.serve();
        assert_eq!(peers.stage(waits), Stage::Granted);
    }
}
