//! Connections that end: their users go, silently, and nobody else's.

use super::Scenario;
use super::script::scripts;

pub(super) fn all() -> Vec<Scenario> {
    scripts! {
        // A MsgServer that held users alone closes: they are OFFLINE, nobody is told.
        close_removes_users: "open A B; A lists +1W +2I; B asks 1 2; A closes; B asks 1 2",
        // The same with a TCP reset.
        close_by_reset: "open A B; A lists +1W; A resets; B asks 1",
        // Users of other MsgServers are untouched by a close.
        close_keeps_others: "open A B C; A lists +1W; B lists +2W; A closes; C asks 1 2",
        // A MsgServer closes and comes back with a list: its users are ONLINE once more.
        close_and_return:
            "open A B; A lists +1W; A closes; open A2; A2 lists +1W; B asks 1; A2 says -1W; B asks 1",
    }
}
