//! A record in memory, for simulations and tests: writes and answers are lost, come late, and the record goes back, as the
//! schedule says. No node that serves uses it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use route_leadership::Record;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::record::{self, Author, Found, Member};
use super::{ANSWER_LIMIT, Engine, NotWritten, Unread};

/// The record of one played site, and who hears of its changes.
#[derive(Debug, Clone, Default)]
pub struct PlayedSite {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Every record that there was, as it was written, and its revision; the last is the one that is there.
    history: Vec<(u64, Vec<u8>)>,
    hints: Vec<Arc<Notify>>,
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It happens, and is answered.
    Answered,
    /// It happens, and its answer is lost.
    Unanswered,
    /// It never happens, and nobody says so.
    Lost,
    /// It is on its way until [`Played::let_late_writes_happen`], and its answer is lost.
    Late,
}

/// One node's way to the record. Clones are the same way: one for the node, one for the test.
#[derive(Debug, Clone)]
pub struct Played {
    site: PlayedSite,
    way: Arc<Mutex<Way>>,
    hint: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Way {
    is_cut: bool,
    delay: Duration,
    fates: VecDeque<Fate>,
    late: Vec<(Option<u64>, Vec<u8>)>,
    interruptions: u64,
}

impl PlayedSite {
    /// A site without a record.
    pub fn new() -> Self {
        Self::default()
    }

    /// A way for one more node.
    pub fn way(&self) -> Played {
        let hint = Arc::new(Notify::new());
        self.kept.lock().hints.push(Arc::clone(&hint));
        Played {
            site: self.clone(),
            way: Arc::default(),
            hint,
        }
    }

    /// The record that is there.
    ///
    /// # Errors
    ///
    /// A test has put something else there.
    pub fn record(&self) -> Result<Option<Found>, String> {
        let kept = self.kept.lock();
        let last = kept.history.last();
        last.map(|(revision, bytes)| record::decode(bytes, *revision))
            .transpose()
    }

    /// Puts something there that no node has written.
    pub fn put(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock();
        kept.keep(bytes.to_vec());
    }

    /// The last writes are forgotten, as by an engine that had not kept them yet. Revisions go back, too, and are given
    /// again. [Interrupt](Played::interrupt) the ways of all nodes first, as each would notice.
    pub fn go_back(&self, writes: usize) {
        let mut kept = self.kept.lock();
        let left = kept.history.len().saturating_sub(writes);
        kept.history.truncate(left);
    }

    fn write(&self, bytes: &[u8], replaces: Option<u64>) -> Result<u64, NotWritten> {
        let mut kept = self.kept.lock();
        if kept.history.last().map(|(revision, _)| *revision) != replaces {
            return Err(NotWritten::Refused);
        }
        Ok(kept.keep(bytes.to_vec()))
    }
}

impl Kept {
    fn keep(&mut self, bytes: Vec<u8>) -> u64 {
        let revision = self.history.last().map_or(0, |(revision, _)| *revision) + 1;
        self.history.push((revision, bytes));
        for hint in &self.hints {
            hint.notify_one();
        }
        revision
    }
}

impl Played {
    /// What becomes of the next writes of this node; those after them are answered.
    pub fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.way.lock().fates.extend(fates);
    }

    /// The writes that were late happen, or are refused, in the order in which they were sent.
    pub fn let_late_writes_happen(&self) {
        let late = std::mem::take(&mut self.way.lock().late);
        for (replaces, bytes) in late {
            // Nobody is told.
            let _ = self.site.write(&bytes, replaces);
        }
    }

    /// How long a request is on its way, and how long its answer; zero at first.
    pub fn delay(&self, delay: Duration) {
        self.way.lock().delay = delay;
    }

    /// Nothing comes through any more, but writes that are late already. Counts as an interruption.
    pub fn cut(&self) {
        self.interrupt();
        self.way.lock().is_cut = true;
    }

    /// Everything comes through again.
    pub fn mend(&self) {
        self.way.lock().is_cut = false;
        self.hint.notify_one();
    }

    /// The connection is lost, and there is another one at once.
    pub fn interrupt(&self) {
        let mut way = self.way.lock();
        way.interruptions += 1;
        self.hint.notify_one();
    }

    /// A request or an answer is on its way.
    async fn travel(&self, interruptions: u64) -> Result<(), String> {
        let delay = self.way.lock().delay;
        if delay > Duration::ZERO {
            sleep(delay).await;
        }
        let lost = {
            let way = self.way.lock();
            way.is_cut || way.interruptions != interruptions
        };
        match lost {
            true => Err(self.silence().await),
            false => Ok(()),
        }
    }

    async fn silence(&self) -> String {
        sleep(ANSWER_LIMIT).await;
        "the played engine has not answered".to_owned()
    }

    async fn asked(&self) -> Result<Option<Found>, Unread> {
        let interruptions = self.interruptions();
        self.travel(interruptions)
            .await
            .map_err(Unread::Unanswered)?;
        let record = self.site.record().map_err(Unread::Unfit);
        self.travel(interruptions)
            .await
            .map_err(Unread::Unanswered)?;
        record
    }

    async fn written(&self, bytes: Vec<u8>, replaces: Option<u64>) -> Result<u64, NotWritten> {
        let interruptions = self.interruptions();
        self.travel(interruptions)
            .await
            .map_err(NotWritten::Unanswered)?;
        let fate = self.way.lock().fates.pop_front();
        match fate.unwrap_or(Fate::Answered) {
            Fate::Answered => {
                let revision = self.site.write(&bytes, replaces);
                let answered = self.travel(interruptions).await;
                answered.map_err(NotWritten::Unanswered)?;
                return revision;
            }
            Fate::Unanswered => {
                // Its answer is lost.
                let _ = self.site.write(&bytes, replaces);
            }
            Fate::Lost => {}
            Fate::Late => self.way.lock().late.push((replaces, bytes)),
        }
        Err(NotWritten::Unanswered(self.silence().await))
    }
}

impl Engine for Played {
    fn read(&self) -> BoxFuture<'_, Result<Option<Found>, Unread>> {
        Box::pin(self.asked())
    }

    fn write<'a>(
        &'a self,
        record: &'a Record<Member>,
        author: &'a Author,
        replaces: Option<u64>,
    ) -> BoxFuture<'a, Result<u64, NotWritten>> {
        Box::pin(self.written(record::encode(record, author), replaces))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.hint.notified())
    }

    fn interruptions(&self) -> u64 {
        self.way.lock().interruptions
    }
}

#[cfg(test)]
mod tests {
    use route_leadership::State;

    use super::*;

    fn record(counter: u64) -> Record<Member> {
        Record {
            term: 1,
            node: 7,
            counter,
            state: State::Serving,
            roster: [].into(),
        }
    }

    async fn write(way: &Played, counter: u64, replaces: Option<u64>) -> Result<u64, NotWritten> {
        let author = Author::default();
        way.write(&record(counter), &author, replaces).await
    }

    /// What is there: its counter.
    fn there(site: &PlayedSite) -> Option<u64> {
        let found = site.record().expect("nodes alone write");
        found.map(|found| found.stored.record.counter)
    }

    #[tokio::test(start_paused = true)]
    async fn writes_have_the_fates_that_they_are_given() {
        let site = PlayedSite::new();
        let (one, other) = (site.way(), site.way());
        assert_eq!(write(&one, 1, None).await, Ok(1));
        assert_eq!(write(&other, 2, None).await, Err(NotWritten::Refused));
        other.changed().await;

        one.fates([Fate::Unanswered, Fate::Lost, Fate::Late]);
        for (counter, replaces, is_there) in [(3, 1, 3), (4, 2, 3), (5, 2, 3)] {
            let written = write(&one, counter, Some(replaces)).await;
            assert!(matches!(written, Err(NotWritten::Unanswered(_))));
            assert_eq!(there(&site), Some(is_there));
        }
        one.interrupt();
        one.let_late_writes_happen();
        assert_eq!(there(&site), Some(5));
        assert_eq!((one.interruptions(), other.interruptions()), (1, 0));

        site.go_back(2);
        assert_eq!(there(&site), Some(1));
        assert_eq!(write(&other, 6, Some(1)).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_is_not_answered_and_nothing_is_answered_across_an_interruption() {
        let site = PlayedSite::new();
        let way = site.way();
        way.cut();
        assert!(matches!(way.read().await, Err(Unread::Unanswered(_))));
        assert!(write(&way, 1, None).await.is_err());
        assert_eq!(there(&site), None);
        way.mend();
        assert_eq!(way.read().await, Ok(None));

        way.delay(Duration::from_millis(10));
        let (read, ()) = tokio::join!(way.read(), async {
            sleep(Duration::from_millis(15)).await;
            way.interrupt();
        });
        assert!(matches!(read, Err(Unread::Unanswered(_))));
        site.put(b"else");
        assert!(matches!(way.read().await, Err(Unread::Unfit(_))));
    }
}
