//! What one session counts, and how reports change that.

use crate::change::ReportedStatus;
use crate::status::{LearnedBy, Status};

/// How many logins of each kind a session has. A count that would exceed 65 535 stays there: nobody
/// has that many clients of one type on one MsgServer, and a peer that says so may only confuse its
/// own users.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Logins {
    pub(crate) online: u16,
    /// Away ever since they were reported, or for certain.
    pub(crate) away: u16,
    pub(crate) hidden: u16,
    /// Were online and were marked as away; at most 255, more are simply away.
    pub(crate) left: u8,
}

impl Logins {
    pub(crate) fn visible(self) -> u32 {
        u32::from(self.online) + self.absent()
    }

    /// Visible and away.
    pub(crate) fn absent(self) -> u32 {
        u32::from(self.away) + u32::from(self.left)
    }

    pub(crate) fn status(self) -> Status {
        match (self.online, self.absent()) {
            (1.., _) => Status::Online,
            (0, 1..) => Status::Away,
            (0, 0) => Status::Offline,
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.visible() == 0 && self.hidden == 0
    }

    pub(super) fn after(self, step: Step) -> Logins {
        let mut next = self;
        match step {
            Step::Clear => next = Logins::default(),
            Step::Add(more) | Step::Restore(more) => {
                next.online = next.online.saturating_add(more.online);
                next.away = next.away.saturating_add(more.away);
                next.hidden = next.hidden.saturating_add(more.hidden);
            }
            Step::Report(ReportedStatus::Online) => {
                // Ends an absence, or is one more login.
                if next.left > 0 {
                    next.left -= 1;
                } else {
                    next.away = next.away.saturating_sub(1);
                }
                next.online = next.online.saturating_add(1);
            }
            Step::Report(ReportedStatus::Away) if next.online > 0 && next.left < u8::MAX => {
                next.online -= 1;
                next.left += 1;
            }
            Step::Report(ReportedStatus::Away) if next.online > 0 => {
                next.online -= 1;
                next.away = next.away.saturating_add(1);
            }
            Step::Report(ReportedStatus::Away) => {
                // Nobody was left to go away: this is a client of its own, and so were those that
                // seemed to have left.
                next.online = next.left.into();
                next.away = next.away.saturating_add(u16::from(next.left) + 1);
                next.left = 0;
            }
            Step::Report(ReportedStatus::Offline) => {
                // A visible login before a hidden one; an absent client before an active one.
                if next.left > 0 {
                    next.left -= 1;
                } else if next.away > 0 {
                    next.away -= 1;
                } else if next.online > 0 {
                    next.online -= 1;
                } else {
                    next.hidden = next.hidden.saturating_sub(1);
                }
            }
        }
        next
    }
}

/// What happens to one session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A list tells of so many more logins.
    Add(Logins),
    /// A table that is restored has so many more.
    Restore(Logins),
    /// An update.
    Report(ReportedStatus),
    /// No login is left.
    Clear,
}

impl Step {
    /// It reports somebody who is there for others to see.
    pub(super) fn brings(self) -> bool {
        match self {
            Step::Add(more) | Step::Restore(more) => more.visible() > 0,
            Step::Report(status) => status != ReportedStatus::Offline,
            Step::Clear => false,
        }
    }

    /// How the node learns of a login by it.
    pub(super) fn learned_by(self) -> LearnedBy {
        match self {
            Step::Add(_) => LearnedBy::List,
            Step::Restore(_) => LearnedBy::Restored,
            Step::Report(_) | Step::Clear => LearnedBy::Update,
        }
    }
}
