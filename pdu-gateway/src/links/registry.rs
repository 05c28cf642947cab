//! The registry of all links: by number for the downlink, by source for the listener, all of them for the tick.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use route_proto::attach::v1::CloseReason;

use crate::links::link::{Link, LinkSettings};
use crate::links::peer::Peer;
use crate::links::pressure::Turn;
use crate::metrics::Refused;

/// How many connections there may be. More are refused at once.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// From one address.
    pub per_source: usize,
}

/// All links.
#[derive(Debug)]
pub struct Links {
    limits: ConnectionLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Connected ones, and those whose end the node does not know yet.
    links: HashMap<u64, Arc<Link>, RandomState>,
    last_number: u64,
    connections: usize,
    /// No link may begin any more.
    closing: bool,
    sources: HashMap<IpAddr, usize, RandomState>,
}

/// The place that one connection takes. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    links: Arc<Links>,
    source: IpAddr,
}

impl Links {
    /// There are none.
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Links {
            limits,
            state: Mutex::default(),
        })
    }

    /// A place for a connection from this address, or why there is none.
    pub fn place(self: &Arc<Self>, source: IpAddr) -> Result<Place, Refused> {
        let mut state = self.state.lock();
        if state.connections >= self.limits.total {
            return Err(Refused::Total);
        }
        state.add_source(source, self.limits.per_source)?;
        state.connections += 1;
        Ok(Place {
            links: Arc::clone(self),
            source,
        })
    }

    /// Registers a new link.
    pub fn open(&self, peer: Peer, settings: &LinkSettings, now: Duration) -> Arc<Link> {
        let mut state = self.state.lock();
        state.last_number += 1;
        let number = state.last_number;
        let link = Link::new(number, peer, settings, now);
        if state.closing {
            link.end(CloseReason::Drain);
        }
        state.links.insert(number, Arc::clone(&link));
        link
    }

    /// Forgets a link that has ended, and of which the node knows everything. Until then a new node may still send it
    /// something.
    pub fn forget(&self, number: u64) {
        self.state.lock().links.remove(&number);
    }

    /// The link with this number.
    pub fn get(&self, number: u64) -> Option<Arc<Link>> {
        self.state.lock().links.get(&number).cloned()
    }

    /// Visits the links with these numbers under one lock. Returns how many are not known.
    pub fn visit(&self, numbers: &[u64], mut visit: impl FnMut(&Link)) -> usize {
        let state = self.state.lock();
        let mut unknown = 0;
        for number in numbers {
            match state.links.get(number) {
                Some(link) => visit(link),
                None => unknown += 1,
            }
        }
        unknown
    }

    /// All links, the oldest first.
    pub fn all(&self) -> Vec<Arc<Link>> {
        let mut all: Vec<_> = self.state.lock().links.values().cloned().collect();
        all.sort_unstable_by_key(|link| link.number());
        all
    }

    /// Asks all links to end.
    pub fn end_all(&self, reason: CloseReason) {
        for link in self.all() {
            link.end(reason);
        }
    }

    /// From now on connections that are just being taken end at once. Returns the links that there are, the oldest first.
    pub fn close(&self) -> Vec<Arc<Link>> {
        self.state.lock().closing = true;
        self.all()
    }

    /// Bytes of memory that what waits to be written to any of them takes.
    pub fn queued(&self) -> usize {
        self.all().iter().map(|link| link.queued()).sum()
    }

    /// Links that are not read, because they feed others too much.
    pub fn paused(&self) -> usize {
        let paused = |link: &&Arc<Link>| link.brake().is_on();
        self.all().iter().filter(paused).count()
    }

    /// Heartbeats and time limits of all links, once a second. `stopped`: until now this process did not run. `turn` is
    /// told of congestions that end.
    pub fn tick(
        &self,
        now: Duration,
        settings: &LinkSettings,
        stopped: bool,
        mut turn: impl FnMut(Turn),
    ) {
        let mut wake: Vec<Waker> = Vec::new();
        for link in self.all() {
            if let Some(change) = link.tick(now, settings, stopped, &mut wake) {
                turn(change);
            }
        }
        for writer in wake {
            writer.wake();
        }
    }
}

impl Place {
    /// The same place, but of a connection from this address.
    pub fn of(mut self, source: IpAddr) -> Result<Place, Refused> {
        if source != self.source {
            let mut state = self.links.state.lock();
            state.add_source(source, self.links.limits.per_source)?;
            state.remove_source(self.source);
            drop(state);
            self.source = source;
        }
        Ok(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.links.state.lock();
        state.connections -= 1;
        state.remove_source(self.source);
    }
}

impl State {
    fn add_source(&mut self, source: IpAddr, limit: usize) -> Result<(), Refused> {
        let before = self.sources.get(&source).copied().unwrap_or(0);
        if before >= limit {
            return Err(Refused::Source);
        }
        self.sources.insert(source, before + 1);
        Ok(())
    }

    fn remove_source(&mut self, source: IpAddr) {
        if let Some(count) = self.sources.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_by_source_and_freed_by_dropping() {
        let links = Links::new(ConnectionLimits {
            total: 3,
            per_source: 2,
        });
        let [one, two] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];

        let first = links.place(one).unwrap();
        let _second = links.place(one).unwrap();
        assert_eq!(links.place(one).err(), Some(Refused::Source));
        let _third = links.place(two).unwrap();
        assert_eq!(links.place(two).err(), Some(Refused::Total));

        drop(first);
        assert!(links.place(one).is_ok());
        assert_eq!(links.state.lock().sources.len(), 2);
    }

    #[test]
    fn a_place_moves_to_the_msg_server_that_a_proxy_names() {
        let links = Links::new(ConnectionLimits {
            total: 3,
            per_source: 1,
        });
        let [proxy, msg_server] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];

        let first = links.place(proxy).unwrap();
        assert_eq!(links.place(proxy).err(), Some(Refused::Source));
        let first = first.of(msg_server).unwrap();
        let second = links.place(proxy).unwrap();
        let refused = second.of(msg_server);
        assert_eq!(refused.err(), Some(Refused::Source));

        assert_eq!(links.state.lock().sources.len(), 1);
        drop(first.of(msg_server).unwrap());
        assert!(links.state.lock().sources.is_empty() && links.state.lock().connections == 0);
    }
}
