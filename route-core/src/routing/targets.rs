//! Who would get something, and why: for those who ask before they send.

use std::collections::HashMap;

use super::{Audience, Routing};
use crate::ids::{LinkId, UserId};
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

impl Routing<'_> {
    /// The links that would get what the node sends to this audience.
    pub(crate) fn targets(&mut self, audience: Audience<'_>) -> Vec<Target> {
        let mut users = self.users_by_slot(audience);
        let fan_outer = &mut self.router.fan_outer;
        let mode = fan_outer.mode;
        let chosen = fan_outer.choose(self.presence, self.successions, [None; 2], audience, None);
        let links = &self.presence.links;
        let targets = chosen.iter().map(|slot| {
            let link = &links[*slot];
            let why = match (users.remove(slot), audience) {
                (Some(users), _) => Why::HasUsers(users),
                (None, _) if mode == FanOut::Broadcast => Why::All,
                (None, _) if link.is_opaque() => Why::Opaque,
                (None, Audience::Reporters) => Why::Reports,
                (None, Audience::Sessions | Audience::Desktops) => Why::HasSessions,
                (
                    None,
                    Audience::Others
                    | Audience::UnparsedAll
                    | Audience::Everyone
                    | Audience::Users(_),
                ) => Why::All,
            };
            Target {
                link: link.id,
                msg_server: link.identity().to_string(),
                held: self.successions.holds(*slot),
                why,
            }
        });
        targets.collect()
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
