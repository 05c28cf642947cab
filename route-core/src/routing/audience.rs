//! Whom something concerns.

use crate::settings::FanOut;

/// Whom an envelope concerns, by the table of commands, or a notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience<'a> {
    /// Other links that hold one of these users.
    Users(&'a [u32]),
    /// Other links that have ever sent a list or an update.
    Reporters,
    /// All other links.
    Others,
    /// An unreadable body of a command that goes to the origin too: all other links; in broadcast
    /// mode, all links.
    UnparsedAll,
    /// All links with a session, the origin too.
    Sessions,
    /// All links with a desktop session, the origin too.
    Desktops,
    /// All links.
    Everyone,
}

impl Audience<'_> {
    /// "others" in the table of commands, as against "all".
    pub(super) fn spares_origin(self, mode: FanOut) -> bool {
        match self {
            Audience::UnparsedAll => mode == FanOut::Directed,
            Audience::Users(_) | Audience::Reporters | Audience::Others => true,
            Audience::Sessions | Audience::Desktops | Audience::Everyone => false,
        }
    }
}
