//! Where nodes may be, and in which order they are tried. Pure.
//!
//! In a *round* each address of each upstream is tried once, until a node welcomes us. What a node says of the leader's
//! address changes the order in which the configured ones are tried, and nothing else: no node can send us, and our
//! token, to a place that the configuration does not name. And as nothing is tried twice in a round, nodes that name each
//! other cannot keep us in a loop without a pause.

use std::net::SocketAddr;
use std::time::Duration;

/// For so long, an address that did not answer is left alone while others do.
const HUNG_FOR: Duration = Duration::from_secs(10);

/// Addresses that are tried in a round, at most. Of more, some are taken by chance.
const MOST: usize = 64;

/// Where one attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// Number of the upstream.
    pub(super) upstream: usize,
    /// One of the addresses of its name; none if it is not known, or it has none.
    pub(super) address: Option<SocketAddr>,
}

/// A round, and what is remembered from one to the next.
#[derive(Debug, Default)]
pub(super) struct Search {
    all: Vec<Target>,
    /// Those that are left; the next one is last.
    left: Vec<Target>,
    /// The leader's, as a node has said, if it was tried before that.
    leads: Option<Target>,
    /// Those that did not answer, and when that was.
    hung: Vec<(Target, Duration)>,
    /// A node of this round has answered that another one leads.
    is_led: bool,
}

impl Search {
    /// Begins a round with these, which are in an order by chance.
    pub(super) fn begin(&mut self, now: Duration, mut all: Vec<Target>) {
        all.truncate(MOST);
        self.hung
            .retain(|(_, at)| now.saturating_sub(*at) < HUNG_FOR);
        let leads = self.leads.take().filter(|it| !self.is_hung(it));
        let mut left = all.clone();
        left.sort_by_key(|it| (leads == Some(*it), !self.is_hung(it)));
        (self.all, self.left, self.is_led) = (all, left, false);
    }

    /// Where the next attempt of this round goes.
    pub(super) fn next(&mut self) -> Option<Target> {
        let next = self.left.pop()?;
        // So are those behind it, and they would keep us from asking the others again.
        let is_for_later = self.is_led && self.is_hung(&next);
        (!is_for_later).then_some(next)
    }

    /// A node has answered that another one leads.
    pub(super) fn is_led_elsewhere(&mut self) {
        self.is_led = true;
    }

    /// Whether one has in this round.
    pub(super) fn is_led(&self) -> bool {
        self.is_led
    }

    /// The leader is the one of which this is true: it is tried next, or, if it was tried in this round, first in the next one.
    /// False if it is none of ours, or did not answer lately: nodes may take a leader for alive that is not.
    pub(super) fn leads(&mut self, is_leader: impl Fn(&Target) -> bool) -> bool {
        let found = self.all.iter().copied();
        let Some(leader) = found
            .filter(|it| is_leader(it))
            .find(|it| !self.is_hung(it))
        else {
            return false;
        };
        let before = self.left.len();
        self.left.retain(|it| *it != leader);
        if self.left.len() < before {
            self.left.push(leader);
        } else {
            self.leads = Some(leader);
        }
        true
    }

    /// This one did not answer, or does not any more.
    pub(super) fn hung(&mut self, now: Duration, target: Target) {
        self.hung.retain(|(it, _)| *it != target);
        self.hung.push((target, now));
    }

    /// The round is over: a node has welcomed us.
    pub(super) fn welcomed(&mut self) {
        self.left.clear();
    }

    /// Whether what nodes say of addresses can be compared with any.
    pub(super) fn knows_addresses(&self) -> bool {
        self.all.iter().any(|it| it.address.is_some())
    }

    fn is_hung(&self, target: &Target) -> bool {
        self.hung.iter().any(|(it, _)| it == target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_tried_once_a_round() {
        let mut search = begun(&[1, 2, 3]);

        let tried = [(); 3].map(|()| search.next());

        for host in [1, 2, 3] {
            assert!(tried.contains(&Some(target(host))), "{tried:?}");
        }
        assert_eq!(search.next(), None);
    }

    #[test]
    fn the_leader_is_tried_next_or_first_in_the_next_round() {
        for leader in [1, 2] {
            let mut search = begun(&[1, 2, 3, 4]);
            assert!(search.leads(|it| *it == target(leader)));
            assert_eq!(search.next(), Some(target(leader)));

            assert!(search.leads(|it| *it == target(leader)));
            let rest = [(); 4].map(|()| search.next());
            assert!(!rest.contains(&Some(target(leader))), "{rest:?}");
            search.begin(Duration::ZERO, [1, 2, 3, 4].map(target).to_vec());
            assert_eq!(search.next(), Some(target(leader)));
        }
    }

    #[test]
    fn nodes_that_name_each_other_end_the_round() {
        let mut search = begun(&[1, 2, 3]);
        let mut attempts = 0;
        while let Some(tried) = search.next() {
            search.is_led_elsewhere();
            search.leads(|it| *it != tried);
            attempts += 1;
        }
        assert_eq!(attempts, 3);
    }

    #[test]
    fn an_address_that_no_upstream_has_is_no_leader() {
        let mut search = begun(&[1, 2]);
        assert!(!search.leads(|it| *it == target(9)));
        let tried = [search.next(), search.next(), search.next()];
        assert!(!tried.contains(&Some(target(9))));
    }

    #[test]
    fn who_does_not_answer_is_tried_last_and_not_at_all_while_others_answer() {
        let at = Duration::from_secs;
        let all = [1, 2].map(target).to_vec();
        for hung in [1, 2] {
            let mut search = begun(&[1, 2]);
            search.hung(at(0), target(hung));

            search.begin(at(9), all.clone());
            assert!(!search.leads(|it| *it == target(hung)), "it may be dead");
            assert_eq!(search.next(), Some(target(3 - hung)));
            assert_eq!(search.next(), Some(target(hung)), "nobody answers");

            search.begin(at(9), all.clone());
            search.next();
            search.is_led_elsewhere();
            assert_eq!(search.next(), None);

            search.begin(at(10), all.clone());
            search.next();
            search.is_led_elsewhere();
            assert!(search.next().is_some(), "it is asked again in the end");
        }
    }

    fn begun(hosts: &[u8]) -> Search {
        let mut search = Search::default();
        let all = hosts.iter().copied().map(target).collect();
        search.begin(Duration::ZERO, all);
        search
    }

    fn target(host: u8) -> Target {
        Target {
            upstream: 0,
            address: Some(SocketAddr::from(([10, 0, 0, host], 50052))),
        }
    }
}
