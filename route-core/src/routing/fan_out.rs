//! From an audience to links.

use std::collections::BTreeSet;

use super::Audience;
use crate::ids::UserId;
use crate::links::{Link, Part, Phase};
use crate::presence::Presence;
use crate::settings::FanOut;
use crate::succession::Successions;

/// Finds the links; keeps its scratch memory between calls.
#[derive(Debug)]
pub(super) struct FanOuter {
    pub(super) mode: FanOut,
    /// By slot: chosen already if equal to `generation`.
    stamps: Vec<u32>,
    generation: u32,
    chosen: Vec<u32>,
    /// Users of the last audience whom no link holds, as far as they were looked for.
    pub(super) unknown: u32,
}

impl FanOuter {
    pub(super) fn new(mode: FanOut) -> Self {
        FanOuter {
            mode,
            stamps: Vec::new(),
            generation: 0,
            chosen: Vec::new(),
            unknown: 0,
        }
    }

    /// Chooses all links, each once, that get what `origin` sent (a link, and another one that
    /// stands for the same MsgServer), of these only if given: open ones in delivery order, then
    /// seats.
    pub(super) fn choose(
        &mut self,
        presence: &Presence,
        successions: &Successions,
        origin: [Option<u32>; 2],
        audience: Audience<'_>,
        only: Option<&BTreeSet<u32>>,
    ) -> &[u32] {
        self.chosen.clear();
        self.unknown = 0;
        let skipped = if audience.spares_origin(self.mode) {
            origin
        } else {
            [None; 2]
        };
        match (self.mode, audience) {
            (FanOut::Directed, Audience::Users(users)) => {
                self.holders(presence, skipped, users);
            }
            (mode, _) => {
                let all = presence.links.active().chain(successions.seats());
                let concerned =
                    |slot| mode == FanOut::Broadcast || concerns(presence, slot, audience);
                self.chosen
                    .extend(all.filter(|slot| !skipped.contains(&Some(*slot)) && concerned(*slot)));
            }
        }
        if let Some(only) = only {
            self.chosen.retain(|slot| only.contains(slot));
        }
        &self.chosen
    }

    fn holders(&mut self, presence: &Presence, skipped: [Option<u32>; 2], users: &[u32]) {
        let links = &presence.links;
        self.stamps.resize(links.slots(), 0);
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.stamps.fill(0);
            self.generation = 1;
        }
        let mut take = |slot: u32| {
            let stamp = &mut self.stamps[slot as usize];
            if *stamp != self.generation {
                *stamp = self.generation;
                if !skipped.contains(&Some(slot)) && receives(&links[slot]) {
                    self.chosen.push(slot);
                }
            }
        };
        for user in users {
            let mut holders = presence.sessions.holders(UserId(*user)).peekable();
            self.unknown += u32::from(holders.peek().is_none());
            holders.for_each(&mut take);
        }
        links.opaque().for_each(&mut take);
        if self.chosen.len() > 1 {
            self.chosen
                .sort_unstable_by_key(|slot| (!links[*slot].is_open(), links[*slot].id));
        }
    }
}

fn concerns(presence: &Presence, slot: u32, audience: Audience<'_>) -> bool {
    let (link, sessions) = (&presence.links[slot], &presence.sessions);
    link.is_opaque()
        || match audience {
            Audience::Reporters => link.has_reported(),
            Audience::Sessions => sessions.held_by(slot) > 0,
            Audience::Desktops => sessions.desktop_held_by(slot) > 0,
            Audience::Others | Audience::UnparsedAll | Audience::Everyone => true,
            Audience::Users(_) => false,
        }
}

/// A seat receives for its successor; a link that waits receives through its stand-in.
fn receives(link: &Link) -> bool {
    match link.phase {
        Phase::Open(Part::Active) | Phase::Seat(_) => true,
        Phase::Open(Part::Shadow | Part::Waiting { .. }) | Phase::Ended(_) => false,
    }
}
