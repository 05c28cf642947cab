//! Users' presence as the API says it.

use route_core::{ChangeReason, SessionView, Status, Summary, UserId, View};
use route_proto::v1::{
    self as api, ClientClass, LegacyStatus, SessionState, UserSession, UserStatus,
};

use crate::clock::Clock;

/// A user's status without sessions.
pub(crate) fn user_status(user_id: u32, summary: Summary) -> UserStatus {
    UserStatus {
        user_id,
        status: status(summary).into(),
        legacy_status: legacy_status(summary).into(),
        sessions: Vec::new(),
    }
}

/// A user's status as it is now, with or without sessions.
pub(crate) fn user_now(
    core: View<'_>,
    clock: &Clock,
    user: UserId,
    with_sessions: bool,
) -> UserStatus {
    let mut status = user_status(user.0, core.summary(user));
    if with_sessions {
        let sessions = core.sessions_of(user);
        status.sessions = sessions.map(|it| user_session(clock, &it)).collect();
    }
    status
}

/// One session.
pub(crate) fn user_session(clock: &Clock, session: &SessionView) -> UserSession {
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
        logins: session.logins,
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
pub(crate) fn status(summary: Summary) -> api::Status {
    match summary.status {
        Status::Online => api::Status::Online,
        Status::Away => api::Status::Away,
        Status::Offline => api::Status::Offline,
    }
}

/// What legacy clients see.
pub(crate) fn legacy_status(summary: Summary) -> LegacyStatus {
    if summary.legacy_online {
        LegacyStatus::Online
    } else {
        LegacyStatus::Offline
    }
}

/// Why a user's presence changed, as the API says it.
pub(crate) fn change_reason(reason: ChangeReason) -> api::ChangeReason {
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
