//! What readers are not told: from where users are connected.

use std::net::IpAddr;

use route_proto::v1::{PublishTarget, UserStatus, WatchUserSetResponse, watch_user_set_response};

use crate::access::Caller;

/// Leaves out what this caller may not see.
pub(super) fn show(caller: &Caller, users: &mut impl Users) {
    if !caller.sees_places() {
        users.hide_places();
    }
}

/// What somebody is told of users.
pub(super) trait Users {
    /// Leaves out of each session the link and the address. A MsgServer is told by its name; one that has none is
    /// called by its address, and that is left out.
    fn hide_places(&mut self);
}

impl Users for UserStatus {
    fn hide_places(&mut self) {
        for session in &mut self.sessions {
            session.link.clear();
            session.peer.clear();
            if session.msg_server.parse::<IpAddr>().is_ok() {
                session.msg_server.clear();
            }
        }
    }
}

impl Users for PublishTarget {
    /// Which of the users are there, hidden ones too, is not told; how many are, is.
    fn hide_places(&mut self) {
        self.user_ids.clear();
        if self.msg_server.parse::<IpAddr>().is_ok() {
            self.msg_server.clear();
        }
    }
}

impl<T: Users> Users for Vec<T> {
    fn hide_places(&mut self) {
        self.iter_mut().for_each(T::hide_places);
    }
}

impl<T: Users> Users for Option<T> {
    fn hide_places(&mut self) {
        self.iter_mut().for_each(T::hide_places);
    }
}

impl Users for WatchUserSetResponse {
    fn hide_places(&mut self) {
        use watch_user_set_response::Message;
        match &mut self.message {
            Some(Message::Snapshot(part)) => part.users.hide_places(),
            Some(Message::Change(change)) => change.user.hide_places(),
            Some(
                Message::Resumed(_)
                | Message::SnapshotBegin(_)
                | Message::SnapshotEnd(_)
                | Message::Gap(_)
                | Message::Watermark(_)
                | Message::Draining(_)
                | Message::SetChanged(_),
            )
            | None => {}
        }
    }
}
