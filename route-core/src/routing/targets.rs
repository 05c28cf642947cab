//! Who would get something, and why: for those who ask before they send.

use std::collections::{HashMap, HashSet};

use super::{Audience, Routing};
use crate::ids::{LinkId, UserId};
use crate::links::{Part, Phase};
use crate::routed::WhyNot;
use crate::settings::FanOut;

/// A link that would get something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Which.
    pub link: LinkId,
    /// What tells its MsgServer apart: its name, else its IP.
    pub msg_server: String,
    /// It would be held for the one that takes the link's place.
    pub held: bool,
    /// Its gateway is away: it would wait for that.
    pub detached: bool,
    /// Why this one.
    pub why: Why,
}

/// Why a link is a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// It has these users of the audience.
    HasUsers(Vec<u32>),
    /// Its list could not be read, so it gets everything.
    Opaque,
    /// It has reported users.
    Reports,
    /// It has users.
    HasSessions,
    /// All links are.
    All,
}

/// A link that would not get something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spared {
    /// Which.
    pub link: LinkId,
    /// What tells its MsgServer apart: its name, else its IP.
    pub msg_server: String,
    /// Why not this one.
    pub why: WhyNot,
}

/// Who gets something, and who does not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recipients {
    /// Who gets it.
    pub targets: Vec<Target>,
    /// Who does not: open links in the order of their ids.
    pub spared: Vec<Spared>,
    /// Users of the audience of whom no link, whatever its part, holds anything.
    pub unknown: Vec<u32>,
    /// There are more links that do not get it than were looked at, or may be listed.
    pub more: bool,
}

/// Links that are looked at, of those that do not get something.
const MOST_LOOKED_AT: usize = 16_384;

/// Of them, how many are listed.
const MOST_SPARED: usize = 1000;

impl Routing<'_> {
    /// The links that would get what the node sends to this audience.
    pub(crate) fn targets(&mut self, audience: Audience<'_>) -> Vec<Target> {
        let mut users = self.users_by_slot(audience);
        let chosen = self.chosen([None; 2], audience);
        let targets = chosen.iter();
        targets
            .map(|slot| self.target(*slot, &mut users, audience))
            .collect()
    }

    /// Who would get it, and who not; if a name is given, of this MsgServer. `skipped`: links of the sender.
    pub(crate) fn recipients(
        &mut self,
        skipped: [Option<u32>; 2],
        audience: Audience<'_>,
        msg_server: Option<&str>,
    ) -> Recipients {
        let spares_origin = audience.spares_origin(self.router.fan_outer.mode);
        let skipped = skipped.map(|slot| slot.filter(|_| spares_origin));
        let mut users = self.users_by_slot(audience);
        let known: HashSet<u32> = users.values().flatten().copied().collect();
        let mut unknown = Vec::new();
        if let Audience::Users(users) = audience {
            unknown.extend_from_slice(users);
        }
        unknown.retain(|user| !known.contains(user));
        unknown.sort_unstable();
        unknown.dedup();
        let chosen = self.chosen(skipped, audience);
        let links = &self.presence.links;
        let is_of =
            |slot: u32| msg_server.is_none_or(|name| links[slot].identity().to_string() == name);
        let targets = chosen.iter().filter(|slot| is_of(**slot));
        let targets = targets
            .map(|slot| self.target(*slot, &mut users, audience))
            .collect();
        let is_chosen: HashSet<u32> = chosen.into_iter().collect();
        let mut all = links.after(LinkId::NODE);
        let looked_at = all.by_ref().take(MOST_LOOKED_AT);
        let others = looked_at.filter(|slot| !is_chosen.contains(slot) && is_of(*slot));
        let mut spared: Vec<_> = others
            .take(MOST_SPARED + 1)
            .map(|slot| self.spared(slot, skipped, audience))
            .collect();
        let more = spared.len() > MOST_SPARED || all.next().is_some();
        spared.truncate(MOST_SPARED);
        Recipients {
            targets,
            spared,
            unknown,
            more,
        }
    }

    /// Why no link at all is chosen. None: there is no link that receives.
    pub(super) fn why_nobody(
        &self,
        skipped: [Option<u32>; 2],
        audience: Audience<'_>,
    ) -> Option<WhyNot> {
        let links = &self.presence.links;
        let mode = self.router.fan_outer.mode;
        if let (FanOut::Directed, Audience::Users(users)) = (mode, audience) {
            if self.router.fan_outer.unknown > 0 {
                return Some(WhyNot::HasNoUsers);
            }
            let users = users.iter().map(|user| UserId(*user));
            let holders = users.flat_map(|user| self.presence.sessions.holders(user));
            let holders = holders.filter(|slot| links[*slot].is_open());
            let reasons = holders.map(|slot| self.spared(slot, skipped, audience).why);
            // One elsewhere that does not stand says more than that the sender's own does not get it.
            let says = |why: &WhyNot| match why {
                WhyNot::Shadow | WhyNot::Waiting => 2,
                WhyNot::OriginMsgServer => 1,
                WhyNot::Origin
                | WhyNot::HasNoUsers
                | WhyNot::NeverReported
                | WhyNot::HasNoSessions
                | WhyNot::HasNoDesktops => 0,
            };
            return reasons.max_by_key(says).or(Some(WhyNot::HasNoUsers));
        }
        let skipped = skipped.map(|slot| slot.filter(|_| audience.spares_origin(mode)));
        let other = links.active().find(|slot| !skipped.contains(&Some(*slot)));
        match (other, skipped[0]) {
            (Some(slot), _) => Some(self.spared(slot, [None; 2], audience).why),
            (None, Some(_)) => Some(WhyNot::Origin),
            (None, None) => None,
        }
    }

    fn chosen(&mut self, skipped: [Option<u32>; 2], audience: Audience<'_>) -> Vec<u32> {
        let fan_outer = &mut self.router.fan_outer;
        let chosen = fan_outer.choose(self.presence, self.successions, skipped, audience, None);
        chosen.to_vec()
    }

    fn target(
        &self,
        slot: u32,
        users: &mut HashMap<u32, Vec<u32>>,
        audience: Audience<'_>,
    ) -> Target {
        let links = &self.presence.links;
        let link = &links[slot];
        let why = match (users.remove(&slot), audience) {
            (Some(users), _) => Why::HasUsers(users),
            (None, _) if self.router.fan_outer.mode == FanOut::Broadcast => Why::All,
            (None, _) if link.is_opaque() => Why::Opaque,
            (None, Audience::Reporters) => Why::Reports,
            (None, Audience::Sessions | Audience::Desktops) => Why::HasSessions,
            (
                None,
                Audience::Others | Audience::UnparsedAll | Audience::Everyone | Audience::Users(_),
            ) => Why::All,
        };
        Target {
            link: link.id,
            msg_server: link.identity().to_string(),
            held: self.successions.holds(slot),
            detached: links.is_detached(slot),
            why,
        }
    }

    /// Why an open link is not chosen.
    fn spared(&self, slot: u32, skipped: [Option<u32>; 2], audience: Audience<'_>) -> Spared {
        let link = &self.presence.links[slot];
        let why = match link.phase {
            _ if skipped[0] == Some(slot) => WhyNot::Origin,
            _ if skipped[1] == Some(slot) => WhyNot::OriginMsgServer,
            Phase::Open(Part::Shadow) => WhyNot::Shadow,
            Phase::Open(Part::Waiting { .. }) => WhyNot::Waiting,
            Phase::Open(Part::Active) | Phase::Seat(_) | Phase::Ended(_) => match audience {
                Audience::Reporters => WhyNot::NeverReported,
                Audience::Sessions => WhyNot::HasNoSessions,
                Audience::Desktops => WhyNot::HasNoDesktops,
                Audience::Users(_)
                | Audience::Others
                | Audience::UnparsedAll
                | Audience::Everyone => WhyNot::HasNoUsers,
            },
        };
        Spared {
            link: link.id,
            msg_server: link.identity().to_string(),
            why,
        }
    }

    /// Which of the audience's users each link has.
    fn users_by_slot(&self, audience: Audience<'_>) -> HashMap<u32, Vec<u32>> {
        let mut by_slot: HashMap<u32, Vec<u32>> = HashMap::new();
        if let Audience::Users(users) = audience {
            let mut users = users.to_vec();
            users.sort_unstable();
            users.dedup();
            for user in users {
                // One link may have several sessions of a user.
                for slot in self.presence.sessions.holders(UserId(user)) {
                    let of_link = by_slot.entry(slot).or_default();
                    if of_link.last() != Some(&user) {
                        of_link.push(user);
                    }
                }
            }
        }
        by_slot
    }
}
