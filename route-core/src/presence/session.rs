//! One record of the table.

use super::{Client, Logins, Step};
use crate::change::ReportedStatus;
use crate::ids::{ClientType, UserId};
use crate::status::{LearnedBy, Status, Summary};

/// A user's clients of one type on one link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) user: u32,
    /// Slot of the link; meaningless in a free record.
    pub(super) link: u32,
    /// In a free record: the next free one.
    pub(super) next_of_user: u32,
    pub(super) prev_of_link: u32,
    pub(super) next_of_link: u32,
    /// Seconds since the node started.
    pub(super) since: u32,
    pub(super) logins: Logins,
    pub(super) client_type: ClientType,
    pub(super) told: Told,
    /// It counts for others. As its link is shown, or a moment later, if many follow.
    pub(super) seen: bool,
}

/// What the link has told of a session, in one byte: there are many sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told(u8);

impl Told {
    const BROUGHT: u8 = 1 << 7;

    /// The first thing.
    pub(super) fn first(step: Step) -> Told {
        let brought = if step.brings() { Told::BROUGHT } else { 0 };
        Told(step.learned_by() as u8 | brought)
    }

    /// It had no logins left, and has some by this.
    pub(super) fn anew(self, step: Step) -> Told {
        Told(step.learned_by() as u8 | self.0 & Told::BROUGHT)
    }

    /// One thing more.
    pub(super) fn then(self, step: Step) -> Told {
        Told(self.0 | Told::first(step).0 & Told::BROUGHT)
    }

    /// What was the user's last login of all is taken away.
    pub(super) fn taken_away(self) -> Told {
        Told(self.0 & !Told::BROUGHT)
    }

    /// A visible login was reported, and what was the user's last one was not taken away since. See
    /// [`Sessions`](super::Sessions).
    pub(super) fn brought(self) -> bool {
        self.0 & Told::BROUGHT != 0
    }

    /// How its logins became known.
    pub(super) fn learned_by(self) -> LearnedBy {
        match self.0 & !Told::BROUGHT {
            it if it == LearnedBy::List as u8 => LearnedBy::List,
            it if it == LearnedBy::Update as u8 => LearnedBy::Update,
            _ => LearnedBy::Restored,
        }
    }
}

impl Session {
    /// Whose it is.
    pub(super) fn client(&self) -> Client {
        Client {
            user: UserId(self.user),
            client_type: self.client_type,
        }
    }

    /// It is a visible mobile login.
    pub(super) fn is_mobile(&self) -> bool {
        self.logins.visible() > 0 && !self.client_type.is_desktop()
    }

    /// It is a visible desktop login.
    pub(super) fn is_desktop(&self) -> bool {
        self.logins.visible() > 0 && self.client_type.is_desktop()
    }
}

/// What a user is who has these sessions.
pub(super) fn summary<'a>(sessions: impl Iterator<Item = &'a Session>) -> Summary {
    let (mut online, mut away, mut desktop, mut mobile) = (false, false, false, false);
    for session in sessions {
        online |= session.logins.online > 0;
        away |= session.logins.absent() > 0;
        desktop |= session.is_desktop();
        mobile |= session.is_mobile();
    }
    let status = match (online, away) {
        (true, _) => Status::Online,
        (false, true) => Status::Away,
        (false, false) => Status::Offline,
    };
    Summary {
        status,
        legacy_online: desktop,
        mobile,
    }
}

/// What the visible desktop logins of these sessions are, all together.
pub(super) fn desktop_status<'a>(sessions: impl Iterator<Item = &'a Session>) -> ReportedStatus {
    match summary(sessions.filter(|session| session.is_desktop())).status {
        Status::Online => ReportedStatus::Online,
        Status::Away => ReportedStatus::Away,
        Status::Offline => ReportedStatus::Offline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_36_bytes() {
        assert_eq!(size_of::<Session>(), 36);
    }

    #[test]
    fn what_a_link_told_first_stays_known() {
        let step = Step::Restore(Logins::default());

        let told = Told::first(step).then(Step::Report(ReportedStatus::Online));

        assert_eq!(
            (told.learned_by(), told.brought()),
            (LearnedBy::Restored, true)
        );
        let told = told.taken_away();
        assert_eq!(
            (told.learned_by(), told.brought()),
            (LearnedBy::Restored, false)
        );
    }
}
