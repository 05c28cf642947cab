//! Whom something concerns.

use crate::ids::UserId;
use crate::settings::FanOut;

/// Whom an envelope concerns, by the table of commands.
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
    /// All links.
    Everyone,
}

/// Whom something concerns: an envelope's audience, or what a notice is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Concern<'a> {
    Audience(Audience<'a>),
    /// 0x070e: links that hold the user.
    DesktopLogin(UserId),
    /// 0x0203: links with a desktop session.
    Status,
}

impl Concern<'_> {
    /// "others" in the table of commands, as against "all".
    pub(super) fn spares_origin(self, mode: FanOut) -> bool {
        match self {
            Concern::Audience(Audience::UnparsedAll) => mode == FanOut::Directed,
            Concern::Audience(Audience::Users(_) | Audience::Reporters | Audience::Others) => true,
            Concern::Audience(Audience::Sessions | Audience::Everyone)
            | Concern::DesktopLogin(_)
            | Concern::Status => false,
        }
    }
}
