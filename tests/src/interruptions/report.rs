//! What became of the messages, by kind of interruption, as a table.

use std::fmt;
use std::time::Duration;

use super::memory::Level;
use crate::cast::tally::Tally;

/// One kind of interruption.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was done.
    pub kind: &'static str,
    /// What came of it.
    pub tally: Tally,
    /// MsgServers' connections that were closed.
    pub broken: u64,
    /// Of each interruption: from its beginning until messages that were sent after that came
    /// through everywhere.
    pub handovers: Vec<Duration>,
    /// What else went wrong.
    pub failures: Vec<String>,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct Report {
    /// By kind of interruption.
    pub rows: Vec<Row>,
    /// For repetition.
    pub seed: u64,
    /// How long MsgServers have been sending.
    pub time: Duration,
    /// The memory of each process meanwhile.
    pub levels: Vec<Level>,
    /// What the processes said last, if something went wrong.
    pub output: String,
}

impl Row {
    /// Of two sites.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.tally.add(other.tally);
        self.broken += other.broken;
        self.handovers.extend(other.handovers);
        self.failures.extend(other.failures);
        self
    }

    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        let tally = &self.tally;
        let wrong = tally.lost
            + tally.twice
            + tally.disordered
            + tally.false_offline
            + tally.wrong_answers
            + tally.wrong_notices
            + self.broken;
        wrong == 0 && tally.deviations.is_empty() && self.failures.is_empty()
    }
}

impl Report {
    /// Whether nothing went wrong.
    pub fn is_clean(&self) -> bool {
        self.rows.iter().all(Row::is_clean)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<26}{:>6}{:>10}{:>11}{:>9}{:>9} |{:>6}{:>7}{:>9}{:>9}{:>9}{:>9}{:>8} |{:>7}{:>15}",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "out of",
            "false",
            "wrong",
            "wrong",
            "broken",
            "pause",
            "hand-over ms"
        )?;
        writeln!(
            f,
            "{:<26}{:>6}{:>10}{:>11}{:>9}{:>9} |{:>6}{:>7}{:>9}{:>9}{:>9}{:>9}{:>8} |{:>7}{:>15}",
            "interruption",
            "count",
            "messages",
            "deliveries",
            "notices",
            "queries",
            "lost",
            "twice",
            "order",
            "OFFLINE",
            "answers",
            "notices",
            "conns",
            "ms",
            "median / max"
        )?;
        for row in &self.rows {
            row.fmt(f)?;
        }
        let messages: u64 = self.rows.iter().map(|row| row.tally.messages).sum();
        let seconds = self.time.as_secs_f64();
        writeln!(
            f,
            "{messages} messages in {seconds:.0} s, {:.0} a second; seed {}",
            messages as f64 / seconds.max(0.001),
            self.seed
        )?;
        self.rest(f)
    }
}

impl Report {
    /// What stands below the table.
    fn rest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.rows.iter().filter(|row| row.tally.excused > 0) {
            let (kind, excused) = (row.kind, row.tally.excused);
            writeln!(
                f,
                "{kind}: {excused} messages are lost that the gateway alone held"
            )?;
        }
        for level in &self.levels {
            writeln!(f, "{level}")?;
        }
        for row in self.rows.iter().filter(|row| !row.is_clean()) {
            writeln!(f, "\nwrong, {}:", row.kind)?;
            for line in row.failures.iter().chain(&row.tally.deviations) {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = &self.tally;
        let mut times = self.handovers.clone();
        times.sort_unstable();
        let median = times.get(times.len() / 2).map_or(0, Duration::as_millis);
        let most = times.last().map_or(0, Duration::as_millis);
        writeln!(
            f,
            "{:<26}{:>6}{:>10}{:>11}{:>9}{:>9} |{:>6}{:>7}{:>9}{:>9}{:>9}{:>9}{:>8} |{:>7}{:>15}",
            self.kind,
            self.handovers.len(),
            tally.messages,
            tally.deliveries,
            tally.notices,
            tally.queries,
            tally.lost,
            tally.twice,
            tally.disordered,
            tally.false_offline,
            tally.wrong_answers,
            tally.wrong_notices,
            self.broken,
            tally.pause.as_millis(),
            format!("{median} / {most}"),
        )
    }
}
