//! Why a user is what he is.

use route_core::{LearnedBy, LegacyReason, UserId};
use route_proto::admin::v1alpha1::{
    ExplainUserRequest, ExplainUserResponse, ExplainedSession, LegacyStatusReason, SessionSource,
    SessionStanding,
};
use route_proto::v1::ClientClass;

use super::links::shown;
use crate::api::status::Seen;
use crate::clock::Clock;
use crate::limits::check_id;
use crate::node::Node;
use crate::node::gateways::Names;
use crate::refusal::Refusal;

/// A user, and what makes him that.
pub(super) fn explain(
    node: &Node,
    request: &ExplainUserRequest,
) -> Result<ExplainUserResponse, Refusal> {
    check_id(request.user_id, "user_id")?;
    let user = UserId(request.user_id);
    let is_synced = node.sync.is_reached();
    let names = node.gateway_names();
    let (seen, explained, uncertain, now) = node.look(|core, now| {
        let seen = Seen::now(core, user, true);
        // Who is legacy online is hidden by nobody.
        let uncertain = match seen.summary.legacy_online {
            true => Vec::new(),
            false => core.uncertain(),
        };
        (seen, core.explain(user), uncertain, now)
    });
    let clock = &node.clock;
    let sessions = explained.sessions.into_iter();
    Ok(ExplainUserResponse {
        user: Some(seen.shown(clock)),
        legacy_status_reason: legacy_reason(explained.legacy).into(),
        sessions: sessions.map(|it| session(clock, &names, it)).collect(),
        uncertain_links: uncertain
            .into_iter()
            .map(|it| shown(clock, &names, it))
            .collect(),
        is_synced,
        node_time: Some(clock.timestamp(now.at)),
    })
}

/// A session as the API says it.
pub(super) fn session(
    clock: &Clock,
    names: &Names,
    it: route_core::ExplainedSession,
) -> ExplainedSession {
    let class = match it.client_type.mobile {
        true => ClientClass::Mobile,
        false => ClientClass::Desktop,
    };
    ExplainedSession {
        link: it.shown.id.to_string(),
        msg_server: it.shown.msg_server.clone(),
        link_state: it.link.map(|link| shown(clock, names, link)),
        client_type: it.client_type.number.into(),
        client_class: class.into(),
        online_count: it.online,
        away_count: it.away,
        hidden_count: it.hidden,
        source: source(it.learned_by).into(),
        since_time: Some(clock.second(it.since)),
        standing: standing(it.standing).into(),
    }
}

fn source(by: LearnedBy) -> SessionSource {
    match by {
        LearnedBy::List => SessionSource::List,
        LearnedBy::Update => SessionSource::Update,
        LearnedBy::Restored => SessionSource::Restored,
    }
}

fn standing(standing: route_core::SessionStanding) -> SessionStanding {
    use route_core::SessionStanding as Core;
    match standing {
        Core::Counts => SessionStanding::Counts,
        Core::Mobile => SessionStanding::Mobile,
        Core::Hidden => SessionStanding::Hidden,
        Core::Shadow => SessionStanding::Shadow,
        Core::Waiting => SessionStanding::Waiting,
        Core::Following => SessionStanding::Following,
    }
}

fn legacy_reason(reason: LegacyReason) -> LegacyStatusReason {
    match reason {
        LegacyReason::Desktop => LegacyStatusReason::Desktop,
        LegacyReason::NoSession => LegacyStatusReason::NoSession,
        LegacyReason::MobileOnly => LegacyStatusReason::MobileOnly,
        LegacyReason::HiddenOnly => LegacyStatusReason::HiddenOnly,
        LegacyReason::NotStanding => LegacyStatusReason::NotStanding,
    }
}
