//! One record of the table.

use super::{Client, Logins};
use crate::change::ReportedStatus;
use crate::ids::{ClientType, UserId};
use crate::status::{Status, Summary};

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
    /// The link reported a visible login and has not taken away what was the user's last one. See
    /// [`Sessions`](super::Sessions).
    pub(super) brought: bool,
    /// It counts for others. As its link is shown, or a moment later, if many follow.
    pub(super) seen: bool,
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
