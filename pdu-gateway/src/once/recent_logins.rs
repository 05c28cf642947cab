//! Who has logged in on one link of late, and when: whom a kick that is old must not throw out.
//!
//! Pure. Only updates tell that a session begins; one that ends an absence (LEAVE) looks like it too. A list tells who is
//! there, not since when: it is what a MsgServer sends first on a new connection, and sessions of it count as old ones.
//! An end is not noted, for it may be that of an earlier session: MsgServers report the new one first.
//!
//! Bounded in time and number: two generations, of which the older one is forgotten when the newer one is full or has
//! lasted long enough. Whoever is forgotten is kicked, as by the C++ RouteServer.

use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::clock::micros;
use crate::pdu::kick::Clients;

/// How long a generation lasts, so that a login is remembered for two to four minutes. A kick waits for a node for a minute
/// (`--upstream-lost`), then for a cold start and for a gateway that is away, by default ten seconds each, or a minute for
/// what a closed link gives back.
const GENERATION: Duration = Duration::from_secs(120);

/// Clients in a generation: 14 seconds of a rush of a thousand logins a second. As many as fit into 16 384 buckets, 400 KiB.
const MOST: usize = 14_336;

/// The last logins of one link.
#[derive(Debug, Default)]
pub struct RecentLogins {
    newer: HashMap<Clients, Duration, RandomState>,
    older: HashMap<Clients, Duration, RandomState>,
    /// When the newer generation began.
    since: Duration,
}

impl RecentLogins {
    /// One of these clients has logged in. Times are since the gateway started, and do not go back.
    pub fn note(&mut self, now: Duration, clients: Clients) {
        if self.newer.len() >= MOST || now >= self.since + GENERATION {
            self.older = std::mem::take(&mut self.newer);
            self.since = now;
        }
        self.newer.insert(clients, now);
    }

    /// Whether one of these clients is known to have logged in after a moment, microseconds since the gateway started.
    pub fn any_after(&self, clients: Clients, moment: i64) -> bool {
        let last = self
            .newer
            .get(&clients)
            .or_else(|| self.older.get(&clients));
        last.is_some_and(|at| micros(*at) > moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: u32 = 0x01;
    const MAC: u32 = 0x02;
    const IOS: u32 = 0x11;
    /// A fork's web client: neither desktop nor mobile for a MsgServer that kicks.
    const WEB: u32 = 0x21;

    #[test]
    fn a_login_counts_for_what_was_read_before_it() {
        let logins = logged_in(&[(10, 7, WINDOWS)]);

        assert!(logins.any_after(Clients::like(7, WINDOWS), at(10) - 1));
        assert!(!logins.any_after(Clients::like(7, WINDOWS), at(10)));
        assert!(!logins.any_after(Clients::like(8, WINDOWS), 0));
        assert!(logins.any_after(Clients::like(7, WINDOWS), -at(1)));
    }

    #[test]
    fn it_counts_for_clients_that_kick_each_other() {
        let logins = logged_in(&[(10, 7, WINDOWS)]);

        let spared =
            [WINDOWS, MAC, IOS, WEB].map(|kind| logins.any_after(Clients::like(7, kind), 0));

        assert_eq!(spared, [true, true, false, false]);
    }

    #[test]
    fn the_last_login_counts() {
        let logins = logged_in(&[(10, 7, WINDOWS), (20, 7, MAC)]);

        assert!(logins.any_after(Clients::like(7, WINDOWS), at(15)));
        assert!(!logins.any_after(Clients::like(7, WINDOWS), at(20)));
    }

    #[test]
    fn it_is_remembered_for_two_generations_at_most() {
        let lasts = GENERATION.as_secs();
        let known = |later: &[u64]| {
            let others = later.iter().map(|second| (*second, 9, IOS));
            let all: Vec<_> = [(1, 7, IOS)].into_iter().chain(others).collect();
            logged_in(&all).any_after(Clients::like(7, IOS), 0)
        };

        assert!(known(&[lasts - 1, lasts]));
        assert!(known(&[lasts, 2 * lasts - 1]));
        assert!(!known(&[lasts, 2 * lasts]));
    }

    #[test]
    fn the_most_recent_are_remembered_however_many_there_are() {
        let mut logins = RecentLogins::default();
        for user in 0..=10 * u32::try_from(MOST).unwrap() {
            logins.note(Duration::from_secs(1), Clients::like(user, IOS));

            let back = user.saturating_sub(u32::try_from(MOST).unwrap() - 1);
            assert!(logins.any_after(Clients::like(back, IOS), 0));
        }

        assert!(logins.newer.len() + logins.older.len() <= 2 * MOST);
    }

    fn logged_in(all: &[(u64, u32, u32)]) -> RecentLogins {
        let mut logins = RecentLogins::default();
        for (second, user, client_type) in all {
            let now = Duration::from_secs(*second);
            logins.note(now, Clients::like(*user, *client_type));
        }
        logins
    }

    fn at(second: u64) -> i64 {
        micros(Duration::from_secs(second))
    }
}
