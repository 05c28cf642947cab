//! What became of what a cast sent, in numbers.

use std::time::Duration;

/// What became of everything that was sent during one kind of interruption.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Messages sent.
    pub messages: u64,
    /// Queries sent.
    pub queries: u64,
    /// Notices that logins and logouts had to cause.
    pub notices: u64,
    /// Messages and notices that arrived.
    pub deliveries: u64,
    /// Messages that did not arrive at one MsgServer that should have them; each counts once for
    /// each of those.
    pub lost: u64,
    /// Messages of excused MsgServers that did not arrive at one that is not excused, counted so, too.
    pub excused: u64,
    /// Messages that arrived again.
    pub twice: u64,
    /// Messages and notices that arrived after newer ones of the same origin.
    pub disordered: u64,
    /// Answers of OFFLINE for a user who was online all the time.
    pub false_offline: u64,
    /// Answers of ONLINE for a user who was offline all the time; answers that are missing,
    /// doubled, or out of order.
    pub wrong_answers: u64,
    /// Notices that nobody caused, or that came again, or never.
    pub wrong_notices: u64,
    /// The longest time that one MsgServer heard nothing of another.
    pub pause: Duration,
    /// The first deviations, for people.
    pub deviations: Vec<String>,
}

impl Tally {
    /// Of both.
    pub fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.queries += other.queries;
        self.notices += other.notices;
        self.deliveries += other.deliveries;
        self.lost += other.lost;
        self.excused += other.excused;
        self.twice += other.twice;
        self.disordered += other.disordered;
        self.false_offline += other.false_offline;
        self.wrong_answers += other.wrong_answers;
        self.wrong_notices += other.wrong_notices;
        self.pause = self.pause.max(other.pause);
        self.deviations.extend(other.deviations);
    }
}
