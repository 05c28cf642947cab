//! Users' presence as the API says it.

use std::sync::Arc;

use route_core::{ChangeReason, PresenceChange, SessionView, Status, Summary, UserId, View};
use route_proto::v1::{
    self as api, ClientClass, LegacyStatus, PresenceStatus, SessionState, StatusChange,
    UserSession, UserStatus,
};

use crate::clock::Clock;

/// A user as looked at; what is said of the user is written without the lock.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) user: UserId,
    pub(crate) summary: Summary,
    /// None: there are none, or they are not asked for.
    pub(crate) sessions: Option<Arc<[SessionView]>>,
}

impl Seen {
    /// As of now, with or without sessions.
    pub(crate) fn now(core: View<'_>, user: UserId, with_sessions: bool) -> Self {
        Self::with(core, user, core.summary(user), with_sessions)
    }

    /// The same, where the summary is known.
    pub(crate) fn with(
        core: View<'_>,
        user: UserId,
        summary: Summary,
        with_sessions: bool,
    ) -> Self {
        let sessions = with_sessions.then(|| core.sessions_of(user).collect::<Arc<[_]>>());
        Self {
            user,
            summary,
            sessions: sessions.filter(|it| !it.is_empty()),
        }
    }

    /// As the API says it.
    pub(crate) fn shown(&self, clock: &Clock) -> UserStatus {
        let sessions = user_sessions(clock, self.sessions.as_deref());
        user_status(self.user, self.summary, sessions)
    }
}

fn user_status(user: UserId, summary: Summary, sessions: Vec<UserSession>) -> UserStatus {
    UserStatus {
        user_id: user.0,
        status: status(summary).into(),
        legacy_status: legacy_status(summary).into(),
        sessions,
    }
}

/// What is said of a user's sessions.
pub(crate) fn user_sessions(clock: &Clock, sessions: Option<&[SessionView]>) -> Vec<UserSession> {
    let sessions = sessions.unwrap_or_default().iter();
    sessions.map(|it| user_session(clock, it)).collect()
}

/// One session.
fn user_session(clock: &Clock, session: &SessionView) -> UserSession {
    UserSession {
        client_type: session.client_type.number.into(),
        state: match session.state {
            Status::Online => SessionState::Online,
            Status::Away => SessionState::Away,
            Status::Offline => SessionState::Unspecified,
        }
        .into(),
        link: session.link.id.to_string(),
        msg_server: session.link.msg_server.clone(),
        peer: session.link.peer.to_string(),
        login_count: session.logins,
        login_time: Some(clock.second(session.since())),
        client_class: if session.client_type.mobile {
            ClientClass::Mobile
        } else {
            ClientClass::Desktop
        }
        .into(),
    }
}

/// What all clients together are.
pub(crate) fn status(summary: Summary) -> PresenceStatus {
    match summary.status {
        Status::Online => PresenceStatus::Online,
        Status::Away => PresenceStatus::Away,
        Status::Offline => PresenceStatus::Offline,
    }
}

/// What legacy clients see.
fn legacy_status(summary: Summary) -> LegacyStatus {
    if summary.legacy_online {
        LegacyStatus::Online
    } else {
        LegacyStatus::Offline
    }
}

/// A change that stands for itself, without sessions.
pub(crate) fn status_change(change: &PresenceChange) -> StatusChange {
    StatusChange {
        user: Some(user_status(change.user, change.after, Vec::new())),
        reason: change_reason(change.reason).into(),
        previous_status: status(change.before).into(),
        previous_legacy_status: legacy_status(change.before).into(),
        merged_count: 0,
    }
}

/// Why a user's presence changed, as the API says it.
fn change_reason(reason: ChangeReason) -> api::ChangeReason {
    match reason {
        ChangeReason::Login => api::ChangeReason::Login,
        ChangeReason::Logout => api::ChangeReason::Logout,
        ChangeReason::Away => api::ChangeReason::Away,
        ChangeReason::Back => api::ChangeReason::Back,
        ChangeReason::Listed => api::ChangeReason::Listed,
        ChangeReason::LinkClosed => api::ChangeReason::LinkClosed,
        ChangeReason::TimedOut => api::ChangeReason::TimedOut,
        ChangeReason::GatewayLost => api::ChangeReason::GatewayLost,
        ChangeReason::Standing => api::ChangeReason::Standing,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::Timestamp;

    use super::*;
    use crate::limits::MAX_IDS_WITH_SESSIONS;

    /// Of one user: `route_core` shows no more.
    const MOST_SESSIONS: usize = 64;

    #[test]
    fn the_longest_answer_fits_into_what_grpc_libraries_take() {
        let session = UserSession {
            client_type: 255,
            state: SessionState::Away.into(),
            link: "f".repeat(16) + "-" + &u64::MAX.to_string(),
            msg_server: "n".repeat(63),
            peer: format!("[{}]:65535", "ffff:".repeat(7) + "ffff"),
            login_count: u32::MAX,
            login_time: Some(Timestamp {
                seconds: u32::MAX.into(),
                nanos: 999_999_999,
            }),
            client_class: ClientClass::Mobile.into(),
        };
        let user = user_status(
            UserId(u32::MAX),
            Summary::OFFLINE,
            vec![session; MOST_SESSIONS],
        );
        let answer = api::BatchGetUserStatusResponse {
            users: vec![user; MAX_IDS_WITH_SESSIONS],
            position: "p".repeat(128),
            node_time: None,
        };

        assert!(answer.encoded_len() < 4 << 20, "{}", answer.encoded_len());
    }
}
