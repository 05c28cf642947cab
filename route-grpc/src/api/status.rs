//! Users' status as the API says it.

use route_core::{ChangeReason, Status, Summary};
use route_proto::v1::{self as api, LegacyStatus, UserStatus};

/// A user's status without sessions.
pub(crate) fn user_status(user_id: u32, summary: Summary) -> UserStatus {
    let status = match summary.status {
        Status::Online => api::Status::Online,
        Status::Away => api::Status::Away,
        Status::Offline => api::Status::Offline,
    };
    let legacy_status = if summary.legacy_online {
        LegacyStatus::Online
    } else {
        LegacyStatus::Offline
    };
    UserStatus {
        user_id,
        status: status.into(),
        legacy_status: legacy_status.into(),
        sessions: Vec::new(),
    }
}

/// Why a status changed, as the API says it.
pub(crate) fn change_reason(reason: ChangeReason) -> api::ChangeReason {
    match reason {
        ChangeReason::Client => api::ChangeReason::Client,
        ChangeReason::List => api::ChangeReason::List,
        ChangeReason::LinkClosed => api::ChangeReason::LinkClosed,
        ChangeReason::GatewayLost => api::ChangeReason::GatewayLost,
        ChangeReason::Role => api::ChangeReason::Role,
    }
}
