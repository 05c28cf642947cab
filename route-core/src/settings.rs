//! How the core behaves.

use std::time::Duration;

/// Who gets what is routed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FanOut {
    /// Exactly the links whose MsgServer would do something with it.
    #[default]
    Directed,
    /// Every MsgServer, as the C++ RouteServer does, but on one link each.
    Broadcast,
}

/// Whom MsgServers are told of when a link ends without having said that its users leave.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum NotifyOnLoss {
    /// Of nobody, as the C++ RouteServer does: the MsgServer comes back in a moment, with its
    /// users.
    #[default]
    None,
    /// Of every user who was seen by legacy clients and is not any more.
    All,
}

/// How the core behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Who gets what is routed.
    pub fan_out: FanOut,
    /// How long the seat of a closed claimed link waits for the MsgServer's next claim. MsgServers
    /// claim within milliseconds; 2 s allow for slow ones. Three times that, if its gateway has sent
    /// it elsewhere and it has no other connection.
    pub seat_hold: Duration,
    /// Most bytes of deliveries that one seat holds; what comes beyond is dropped and counted.
    pub seat_bytes: usize,
    /// Who is told of users that vanish with their link.
    pub notify_on_loss: NotifyOnLoss,
    /// Most sessions that are kept of one link. One that reports more gets everything that is routed,
    /// as if it could not be read.
    pub link_sessions: u32,
    /// Most sessions that are kept in all, 2^31 - 1 at most. What happens beyond is the same.
    pub sessions: u32,
    /// Most [steps](crate::View::work) of what is done piece by piece that are taken in the
    /// transaction that begins it; what is left waits for
    /// [`proceed`](crate::Transaction::proceed).
    pub at_once: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            fan_out: FanOut::Directed,
            seat_hold: Duration::from_secs(2),
            seat_bytes: 64 * 1024 * 1024,
            notify_on_loss: NotifyOnLoss::None,
            link_sessions: 1_000_000,
            sessions: 8_000_000,
            at_once: 4096,
        }
    }
}
