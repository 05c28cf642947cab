//! One record of the table.

use super::Logins;
use crate::ids::ClientType;

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
}

impl Session {
    /// It is a visible mobile login.
    pub(super) fn is_mobile(&self) -> bool {
        self.logins.visible() > 0 && !self.client_type.is_desktop()
    }

    /// It is a visible desktop login.
    pub(super) fn is_desktop(&self) -> bool {
        self.logins.visible() > 0 && self.client_type.is_desktop()
    }
}
