//! In which order a new node applies what its predecessor's gateways had read.
//!
//! In the order of reading; but what gateways have seen notices of, in the order in which the predecessor routed these, and
//! before what concerns the same user and nobody has seen. So each entry makes the notices again that were seen of it, and
//! what comes last of a user is made of the state in the end. Entries of one link stay in their order. Pure.

use std::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;
use route_core::LinkId;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{LinkOpened, Told, UplinkEntry};

use super::{Held, HeldEntry};

/// Notices of earlier nodes that are looked at, of all gateways together; each gateway tells 65 536 at most.
const MOST_TOLD: usize = 1 << 20;

/// The place of what nobody has seen anything of.
const UNSEEN: u64 = u64::MAX;

/// Where earlier nodes routed the first notice of each entry, as far as gateways know.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// By origin and sequence.
    known: HashMap<LinkId, HashMap<u64, u64>>,
    count: usize,
}

impl Places {
    /// A gateway was told of these.
    pub(super) fn note(&mut self, told: Told) {
        let origin = told.origin.unwrap_or_default();
        let origin = LinkId {
            gateway: origin.gateway,
            number: origin.number,
        };
        let places = self.known.entry(origin).or_default();
        for (sequence, position) in told.sequences.into_iter().zip(told.positions) {
            if self.count < MOST_TOLD {
                self.count += 1;
                // Of several nodes that have routed it, the last one counts.
                let place = places.entry(sequence).or_insert(position);
                *place = position.max(*place);
            }
        }
    }

    fn of(&self, link: LinkId, sequence: u64) -> Option<u64> {
        self.known.get(&link)?.get(&sequence).copied()
    }
}

/// Merges what was held of each gateway. `address` tells that of a link that has been restored.
pub(super) fn merge(
    held: impl Iterator<Item = (u64, Vec<HeldEntry>)>,
    places: &Places,
    address: impl Fn(LinkId) -> Option<IpAddr>,
) -> Vec<Held> {
    let mut all: Vec<Waiting> = held
        .flat_map(|(gateway, entries)| waiting(gateway, entries, places, &address))
        .collect();
    keep_to_places(&mut all);
    // Stable: entries of one link stay in order.
    all.sort_by_key(|waiting| (waiting.turn, waiting.place, waiting.gateway));
    let mut merged: Vec<Held> = Vec::new();
    for Waiting {
        gateway,
        entry,
        seen,
        ..
    } in all
    {
        match merged.last_mut() {
            Some(held) if held.gateway == gateway && held.place.is_none() && seen.is_none() => {
                held.entries.push(entry);
            }
            Some(_) | None => merged.push(Held {
                gateway,
                entries: vec![entry],
                place: seen,
            }),
        }
    }
    merged
}

/// The entries of one gateway, each with its place and, as its turn, the time when it was read.
fn waiting(
    gateway: u64,
    entries: Vec<HeldEntry>,
    places: &Places,
    address: &impl Fn(LinkId) -> Option<IpAddr>,
) -> Vec<Waiting> {
    let mut opened: HashMap<u64, IpAddr> = HashMap::new();
    let mut last: HashMap<u64, i64> = HashMap::new();
    let waiting = entries.into_iter().map(|HeldEntry { read_at, entry }| {
        // A clock may have gone back.
        let last = last.entry(entry.link).or_insert(read_at);
        *last = read_at.max(*last);
        let number = entry.link;
        let link = LinkId { gateway, number };
        if let Some(Entry::Opened(LinkOpened { peer, .. })) = &entry.entry
            && let Ok(peer) = peer.parse::<SocketAddr>()
        {
            opened.insert(number, peer.ip());
        }
        Waiting {
            gateway,
            address: opened.get(&number).copied().or_else(|| address(link)),
            seen: places.of(link, entry.sequence),
            place: UNSEEN,
            turn: *last,
            entry,
        }
    });
    let mut waiting: Vec<Waiting> = waiting.collect();
    let mut before: HashMap<u64, u64> = HashMap::new();
    for waiting in waiting.iter_mut().rev() {
        let before = before.entry(waiting.entry.link).or_insert(UNSEEN);
        *before = waiting.seen.map_or(*before, |seen| seen.min(*before));
        waiting.place = *before;
    }
    waiting
}

/// An entry on its way into the order of all.
#[derive(Debug)]
struct Waiting {
    gateway: u64,
    /// Of its link's MsgServer.
    address: Option<IpAddr>,
    /// Where the predecessor routed its first notice.
    seen: Option<u64>,
    /// The same of the next seen entry of its link, this one included: it was applied before that.
    place: u64,
    /// When it is to be applied, as if it had been read then.
    turn: i64,
    entry: UplinkEntry,
}

impl Waiting {
    /// The user of whom it tells something, if it is an update.
    fn user(&self) -> Option<u32> {
        match &self.entry.entry {
            Some(Entry::Update(update)) => Some(update.user_id),
            _ => None,
        }
    }

    /// Whose notices it has made, or can have made.
    fn subject(&self) -> Option<Subject> {
        let of_msg_server = Subject::MsgServer(self.address);
        match &self.entry.entry {
            Some(Entry::Update(update)) => Some(Subject::User(update.user_id)),
            Some(Entry::Role(_)) => Some(of_msg_server),
            // Whatever else it is, it has made some.
            _ => self.seen.map(|_| of_msg_server),
        }
    }
}

/// Whose notices an entry can make: one user's, or, as a claim, those of any user of a MsgServer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    User(u32),
    MsgServer(Option<IpAddr>),
}

/// Puts turns off so that seen entries keep to their places, and unseen updates come after what is known to have been applied
/// of the same user, and after such claims of the same MsgServer, however late these were read: the gateway may have been away.
fn keep_to_places(all: &mut [Waiting]) {
    let mut seen: Vec<usize> = (0..all.len()).filter(|i| all[*i].seen.is_some()).collect();
    seen.sort_unstable_by_key(|i| all[*i].seen);
    let mut turn = i64::MIN;
    for i in seen {
        turn = turn.max(all[i].turn);
        all[i].turn = turn;
    }
    // First after what was seen, then also after what was applied before something that was seen.
    let was_seen = |waiting: &Waiting| waiting.seen.is_some();
    put_off(all, &Precedents::of(all, was_seen));
    put_off(all, &Precedents::of(all, |waiting| waiting.place != UNSEEN));
}

fn put_off(all: &mut [Waiting], precedents: &Precedents) {
    let mut last: HashMap<(u64, u64), i64> = HashMap::new();
    for waiting in all {
        if let Some(user) = waiting.user().filter(|_| waiting.seen.is_none()) {
            for subject in [Subject::User(user), Subject::MsgServer(waiting.address)] {
                let latest = precedents.latest(subject, waiting.place);
                waiting.turn = latest.map_or(waiting.turn, |turn| turn.max(waiting.turn));
            }
        }
        let link = (waiting.gateway, waiting.entry.link);
        let last = last.entry(link).or_insert(waiting.turn);
        *last = waiting.turn.max(*last);
        waiting.turn = *last;
    }
}

/// Entries that the predecessor had applied: by subject, in order of their places, each with the latest turn so far.
#[derive(Debug)]
struct Precedents(HashMap<Subject, Vec<(u64, i64)>>);

impl Precedents {
    fn of(all: &[Waiting], counts: impl Fn(&Waiting) -> bool) -> Self {
        let mut by_subject: HashMap<Subject, Vec<(u64, i64)>> = HashMap::new();
        for waiting in all.iter().filter(|waiting| counts(waiting)) {
            if let Some(subject) = waiting.subject() {
                let precedents = by_subject.entry(subject).or_default();
                precedents.push((waiting.place, waiting.turn));
            }
        }
        for precedents in by_subject.values_mut() {
            precedents.sort_unstable();
            let mut latest = i64::MIN;
            for (_, turn) in precedents {
                latest = latest.max(*turn);
                *turn = latest;
            }
        }
        Self(by_subject)
    }

    /// The latest turn of those before this place.
    fn latest(&self, subject: Subject, place: u64) -> Option<i64> {
        let precedents = self.0.get(&subject)?;
        let before = precedents.partition_point(|(of, _)| *of < place);
        Some(precedents.get(before.checked_sub(1)?)?.1)
    }
}
