//! From an audience to target links.

use crate::core::Audience;
use crate::ids::UserId;
use crate::links::{Links, Part, Phase};
use crate::sessions::Sessions;
use crate::settings::FanOut;

/// Whom something concerns: an envelope's audience, or what a notice is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Concern<'a> {
    Audience(Audience<'a>),
    /// 0x070e: links that hold the user.
    DesktopLogin(UserId),
    /// 0x0203: links with a desktop session.
    Status,
}

/// Finds target links; keeps its scratch memory between calls.
#[derive(Debug)]
pub(crate) struct FanOuter {
    mode: FanOut,
    /// By slot: chosen already if equal to `generation`.
    stamps: Vec<u32>,
    generation: u32,
    chosen: Vec<u32>,
}

impl FanOuter {
    pub(crate) fn new(mode: FanOut) -> Self {
        FanOuter {
            mode,
            stamps: Vec::new(),
            generation: 0,
            chosen: Vec::new(),
        }
    }

    /// Slots of all links, each once, that get what `origin` sent (a link, and another one that stands for the same
    /// MsgServer): open ones in delivery order, then seats.
    pub(crate) fn choose(
        &mut self,
        links: &Links,
        seats: &[u32],
        sessions: &Sessions,
        origin: [Option<u32>; 2],
        concern: Concern<'_>,
    ) -> &[u32] {
        self.chosen.clear();
        let skipped = if spares_origin(self.mode, concern) {
            origin
        } else {
            [None; 2]
        };
        match self.mode {
            FanOut::Broadcast => {
                let all = links.in_order().map(|(slot, _)| slot);
                self.chosen
                    .extend(all.filter(|slot| !skipped.contains(&Some(*slot))));
            }
            FanOut::Directed => match concern {
                Concern::Audience(Audience::Users(users)) => {
                    self.holders(links, sessions, skipped, users);
                }
                Concern::DesktopLogin(user) => {
                    self.holders(links, sessions, skipped, &[user.0]);
                }
                Concern::Audience(
                    Audience::Reporters
                    | Audience::Others
                    | Audience::UnparsedAll
                    | Audience::Sessions
                    | Audience::Everyone,
                )
                | Concern::Status => {
                    self.among_all(links, seats, sessions, skipped, concern);
                }
            },
        }
        &self.chosen
    }

    fn among_all(
        &mut self,
        links: &Links,
        seats: &[u32],
        sessions: &Sessions,
        skipped: [Option<u32>; 2],
        concern: Concern<'_>,
    ) {
        let open = links.in_order().map(|(slot, _)| slot);
        for slot in open.chain(seats.iter().copied()) {
            let link = &links[slot];
            let wanted = link.opaque
                || match concern {
                    Concern::Audience(Audience::Reporters) => link.reported,
                    Concern::Audience(Audience::Sessions) => sessions.held_by(slot) > 0,
                    Concern::Status => sessions.desktop_held_by(slot) > 0,
                    Concern::Audience(
                        Audience::Others | Audience::UnparsedAll | Audience::Everyone,
                    ) => true,
                    // Found through their users, see `holders`.
                    Concern::Audience(Audience::Users(_)) | Concern::DesktopLogin(_) => false,
                };
            if wanted && !skipped.contains(&Some(slot)) && receives(&link.phase) {
                self.chosen.push(slot);
            }
        }
    }

    fn holders(
        &mut self,
        links: &Links,
        sessions: &Sessions,
        skipped: [Option<u32>; 2],
        users: &[u32],
    ) {
        self.stamps.resize(links.slots(), 0);
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            self.stamps.fill(0);
            self.generation = 1;
        }
        let Self {
            stamps,
            generation,
            chosen,
            ..
        } = self;
        let mut take = |slot: u32| {
            let stamp = &mut stamps[slot as usize];
            if *stamp != *generation {
                *stamp = *generation;
                if !skipped.contains(&Some(slot)) && receives(&links[slot].phase) {
                    chosen.push(slot);
                }
            }
        };
        for user in users {
            sessions.holders(UserId(*user), &mut take);
        }
        if links.any_opaque() {
            for (slot, link) in links.in_order() {
                if link.opaque {
                    take(slot);
                }
            }
        }
        if chosen.len() > 1 {
            chosen.sort_unstable_by_key(|slot| (!links[*slot].is_open(), links[*slot].id));
        }
    }
}

/// "others" in the table of commands, as against "all".
fn spares_origin(mode: FanOut, concern: Concern<'_>) -> bool {
    match concern {
        Concern::Audience(Audience::UnparsedAll) => mode == FanOut::Directed,
        Concern::Audience(Audience::Users(_) | Audience::Reporters | Audience::Others) => true,
        Concern::Audience(Audience::Sessions | Audience::Everyone)
        | Concern::DesktopLogin(_)
        | Concern::Status => false,
    }
}

/// A seat receives for its successor; a link that waits receives through its stand-in.
fn receives(phase: &Phase) -> bool {
    match phase {
        Phase::Open(Part::Active) | Phase::Seat(_) => true,
        Phase::Open(Part::Shadow | Part::Waiting { .. }) | Phase::Ended => false,
    }
}
