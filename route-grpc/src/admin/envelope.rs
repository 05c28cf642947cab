//! Who would get a PDU, and who would not.

use route_core::{Audience, Recipients, Spared, WhyNot};
use route_dialect::{Command, Concerned, Dialect};
use route_proto::admin::v1alpha1::{
    EnvelopeTarget, ExplainEnvelopeRequest, ExplainEnvelopeResponse, SparedLink, SparedReason,
};
use route_runtime::flags::snake_case;

use super::links::{link_id, unknown};
use crate::api::publisher::{MOST_TARGETS, target};
use crate::dialects::Dialects;
use crate::limits::check_ids;
use crate::node::Node;
use crate::refusal::Refusal;

/// Whom it concerns.
#[derive(Debug)]
enum Whom {
    Concerned(Concerned),
    /// Those with desktop clients: only a notice is for them.
    Desktops,
}

/// Finds out who would get it.
pub(super) fn explain(
    node: &Node,
    request: ExplainEnvelopeRequest,
) -> Result<ExplainEnvelopeResponse, Refusal> {
    check_ids(&request.user_ids, "user_ids")?;
    let origin = match request.origin_link.as_str() {
        "" => None,
        text => Some(link_id(text, "origin_link")?),
    };
    let dialect = match origin {
        None => node.dialects.get(Dialects::PUBLISHED),
        Some(link) => node.dialect_of(link.gateway).ok_or_else(|| unknown(link))?,
    };
    let id = command(&dialect, &request.command)?;
    let whom = whom(&dialect, id, request.user_ids)?;
    let msg_server = Some(request.msg_server.as_str()).filter(|name| !name.is_empty());
    let audience = match &whom {
        Whom::Concerned(Concerned::Users(users)) => Audience::Users(users),
        Whom::Concerned(Concerned::Reporters) => Audience::Reporters,
        Whom::Concerned(Concerned::Sessions) => Audience::Sessions,
        // No MsgServer sends what is published.
        Whom::Concerned(Concerned::Others) if origin.is_none() => Audience::Everyone,
        Whom::Concerned(Concerned::Others) => Audience::Others,
        Whom::Desktops => Audience::Desktops,
    };
    let (explained, at) = node.transact(|transaction, now| {
        let explained = transaction.core.recipients(origin, audience, msg_server);
        (explained, now)
    });
    let explained = explained.map_err(|_| match origin {
        Some(link) => unknown(link),
        None => Refusal::field("origin_link", "is none"),
    })?;
    let Recipients {
        targets,
        spared,
        unknown,
        more,
    } = explained;
    let target_count = u32::try_from(targets.len()).unwrap_or(u32::MAX);
    Ok(ExplainEnvelopeResponse {
        targets: targets.into_iter().take(MOST_TARGETS).map(shown).collect(),
        target_count,
        spared_links: spared.into_iter().map(spared_link).collect(),
        has_more_spared_links: more,
        unknown_user_ids: unknown,
        waits_for: node.waits_for().unwrap_or_default(),
        node_time: Some(node.clock.timestamp(at)),
    })
}

/// A command as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// By its id in some dialect.
    Id(u16),
    /// By its name.
    Named(Command),
}

/// Reads a command: its name, or its id.
pub(super) fn wanted(text: &str) -> Result<Wanted, Refusal> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let named = || named(&snake_case(text));
    let found = number
        .map(Wanted::Id)
        .or_else(|| named().map(Wanted::Named));
    found.ok_or_else(no_command)
}

/// By its name, or by that of the event that it is to services.
fn named(text: &str) -> Option<Command> {
    let event = match text.strip_prefix("event_kind_").unwrap_or(text) {
        "chat_message" => Some(Command::Message),
        "kick" => Some(Command::KickUser),
        "group_change" => Some(Command::GroupChanged),
        "conversation_removal" => Some(Command::ConversationRemoved),
        "signature_change" => Some(Command::SignatureChanged),
        "status_change" => Some(Command::StatusNotice),
        "desktop_login_change" => Some(Command::DesktopLoginNotice),
        // The others have the same names.
        _ => None,
    };
    event.or_else(|| Command::all().find(|command| command.name() == text))
}

/// Its id in this dialect.
fn command(dialect: &Dialect, text: &str) -> Result<u16, Refusal> {
    match wanted(text)? {
        Wanted::Id(id) => Ok(id),
        Wanted::Named(command) => dialect.id(command).ok_or_else(no_command),
    }
}

fn no_command() -> Refusal {
    let names: Vec<_> = Command::all().map(Command::name).collect();
    let names = names.join(", ");
    let problem = format!("neither an id, as 0x0301, nor, in any spelling, one of {names}");
    Refusal::field("command", problem)
}

fn whom(dialect: &Dialect, id: u16, users: Vec<u32>) -> Result<Whom, Refusal> {
    let whom = match dialect.command(id) {
        Some(Command::StatusNotice) => return Ok(Whom::Desktops),
        Some(Command::DesktopLoginNotice) => Concerned::Users(users),
        _ => {
            let problem = || Refusal::field("command", "is not routed");
            dialect.concerned_by(id, users).ok_or_else(problem)?
        }
    };
    if whom == Concerned::Users(Vec::new()) {
        let problem = "is empty: this command goes where its users are";
        return Err(Refusal::field("user_ids", problem));
    }
    Ok(Whom::Concerned(whom))
}

fn shown(it: route_core::Target) -> EnvelopeTarget {
    let detached = it.detached;
    let published = target(it);
    EnvelopeTarget {
        link: published.link,
        msg_server: published.msg_server,
        reason: published.reason,
        user_ids: published.user_ids,
        user_count: published.user_count,
        is_held: published.held,
        waits_for_gateway: detached,
    }
}

fn spared_link(it: Spared) -> SparedLink {
    SparedLink {
        link: it.link.to_string(),
        msg_server: it.msg_server,
        reason: spared_reason(it.why).into(),
    }
}

/// Why a link does not get something, as the API says it.
pub(super) fn spared_reason(why: WhyNot) -> SparedReason {
    match why {
        WhyNot::Origin => SparedReason::Origin,
        WhyNot::OriginMsgServer => SparedReason::OriginMsgServer,
        WhyNot::Shadow => SparedReason::Shadow,
        WhyNot::Waiting => SparedReason::Waiting,
        WhyNot::HasNoUsers => SparedReason::HasNoUsers,
        WhyNot::NeverReported => SparedReason::NeverReported,
        WhyNot::HasNoSessions => SparedReason::HasNoSessions,
        WhyNot::HasNoDesktops => SparedReason::HasNoDesktops,
    }
}
