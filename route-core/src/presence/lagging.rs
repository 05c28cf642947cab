//! Links that are shown, or not any more, and whose sessions still have to follow.
//!
//! When one link takes another one's place, that is so at once: what is routed goes to the heir.
//! What others see of its users follows user by user, for there may be many. All sessions of a user
//! are brought into line together, whichever links they lag behind, so that nobody is on both, or
//! gone, in between. Whoever is about to change is brought into line before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Client, Presence, tell};
use crate::event_log::ChangeReason;
use crate::ids::UserId;
use crate::output::Outputs;
use crate::receipt::Receipt;

/// By slot.
#[derive(Debug, Default)]
pub(crate) struct Lagging {
    links: BTreeMap<u32, Lag>,
}

/// What is done with each session of a link.
#[derive(Debug)]
struct Lag {
    /// Why it is seen, or not any more.
    reason: ChangeReason,
    /// MsgServers are told what is different.
    told: bool,
    /// When it began to end the twins of its sessions, if it does.
    ends_twins: Option<Duration>,
    /// Of what it is done for.
    causes: Vec<Receipt>,
}

/// How a link's sessions follow it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    /// Why they are seen, or not any more.
    pub(crate) reason: ChangeReason,
    /// MsgServers are told what is different.
    pub(crate) told: bool,
}

/// What MsgServers are to be told of a user.
#[derive(Debug)]
pub(crate) struct Difference {
    /// It is about a desktop client.
    pub(crate) of_desktop: bool,
    /// Of what has caused it.
    pub(crate) causes: Vec<Receipt>,
}

impl Presence {
    /// Hides the one and shows the other.
    pub(crate) fn swap(
        &mut self,
        hide: Option<u32>,
        show: Option<u32>,
        follow: Follow,
        out: &Outputs,
    ) {
        let swapped = [(hide, false), (show, true)];
        for (slot, shown) in swapped {
            if let Some(slot) = slot.filter(|slot| self.sessions.is_shown(*slot) != shown) {
                self.sessions.show(slot, shown);
                let lag = self.lag(slot, follow.reason);
                lag.told |= follow.told;
                if follow.told {
                    lag.causes.extend_from_slice(out.causes());
                }
            }
        }
    }

    /// Ends the twins of everything that the link holds.
    pub(crate) fn end_all_twins(&mut self, now: Duration, slot: u32) {
        let links = &self.links;
        if links[slot].is_active() && links.kin(slot).any(|other| links.is_mute(other)) {
            self.sessions.begin_walk(slot);
            let lag = self.lag(slot, ChangeReason::Standing);
            lag.ends_twins = Some(now);
        }
    }

    fn lag(&mut self, slot: u32, reason: ChangeReason) -> &mut Lag {
        let lag = self.lagging.links.entry(slot).or_insert_with(|| Lag {
            reason,
            told: false,
            ends_twins: None,
            causes: Vec::new(),
        });
        lag.reason = reason;
        lag
    }

    /// Some sessions lag behind their links.
    pub(crate) fn is_lagging(&self) -> bool {
        !self.lagging.links.is_empty()
    }

    /// Sessions of this link do.
    pub(crate) fn lags(&self, slot: u32) -> bool {
        self.lagging.links.contains_key(&slot)
    }

    /// The next user who may have such sessions.
    pub(crate) fn next_lagging(&mut self) -> Option<UserId> {
        while let Some(link) = self.lagging.links.first_entry() {
            let user = self.sessions.walk(*link.key());
            if user.is_some() {
                return user;
            }
            link.remove();
        }
        None
    }

    /// Brings a user into line. Returns what MsgServers are to be told, if anything.
    pub(crate) fn align(&mut self, user: UserId, out: &mut Outputs) -> Option<Difference> {
        let aligned = self.sessions.align(user);
        self.end_twins_of(user, out);
        let aligned = aligned?;
        let lags = aligned.links.iter();
        let lags: Vec<&Lag> = lags.filter_map(|it| self.lagging.links.get(it)).collect();
        let reason = lags.first().map_or(ChangeReason::Standing, |it| it.reason);
        tell(&self.sessions, user, aligned.became, reason, out);
        let of_desktop = aligned.of_desktop?;
        let told = || lags.iter().filter(|lag| lag.told);
        told().next()?;
        let causes = told().flat_map(|lag| &lag.causes).cloned().collect();
        Some(Difference { of_desktop, causes })
    }

    fn end_twins_of(&mut self, user: UserId, out: &mut Outputs) {
        let since = |slot: u32| self.lagging.links.get(&slot)?.ends_twins;
        let held = self.sessions.held_of(user);
        let ending = held.filter_map(|(slot, client)| Some((since(slot)?, slot, client)));
        let ending: Vec<(Duration, u32, Client)> = ending.collect();
        for (since, slot, client) in ending {
            self.end_twins(since, slot, client, out);
        }
    }

    /// Nothing is left of a link.
    pub(crate) fn free(&mut self, slot: u32) {
        self.lagging.links.remove(&slot);
        self.links.free(slot);
    }
}
