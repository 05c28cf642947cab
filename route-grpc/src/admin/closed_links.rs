//! Links that have closed lately, and why.

use route_core::CloseReason;
use route_proto::admin::v1alpha1::{
    ClosedLink, LinkCloseReason, ListClosedLinksRequest, ListClosedLinksResponse,
};

use super::{MAX_PAGE, USUAL_PAGE};
use crate::clock::Clock;
use crate::limits::{number, page_size};
use crate::node::Node;
use crate::node::closed::{Asked, Gone};
use crate::refusal::{Mistakes, Refusal};

/// A page of them, the newest first.
pub(super) fn list(
    node: &Node,
    request: &ListClosedLinksRequest,
) -> Result<ListClosedLinksResponse, Refusal> {
    let now = node.now();
    let mut mistakes = Mistakes::default();
    let size = mistakes.note(page_size(request.page_size, USUAL_PAGE, MAX_PAGE));
    let before = mistakes.end_with(match request.page_token.as_str() {
        "" => Ok(u64::MAX),
        token => number(token, "page_token"),
    })?;
    let size = size.unwrap_or(USUAL_PAGE);
    let is_any = |asked: &str, text: &str| asked.is_empty() || asked == text;
    let found = node.closed.before(before);
    let mut wanted = found.iter().filter(|it| {
        is_any(&request.msg_server, &it.link.msg_server)
            && is_any(&request.gateway_id, &it.gateway_id)
    });
    let page: Vec<_> = wanted.by_ref().take(size).collect();
    let last = page.last().filter(|_| wanted.next().is_some());
    Ok(ListClosedLinksResponse {
        next_page_token: last.map_or_else(String::new, |last| last.number.to_string()),
        closed_links: page.iter().map(|it| shown(&node.clock, it)).collect(),
        remembers_since: Some(node.clock.timestamp(node.closed.since())),
        node_time: Some(node.clock.timestamp(now)),
    })
}

/// One of them, as the API says it.
pub(super) fn shown(clock: &Clock, gone: &Gone) -> ClosedLink {
    let link = &gone.link;
    let operator_reason = match &gone.asked {
        Some(Asked::Operator { reason }) => reason.clone(),
        Some(Asked::Drain | Asked::OtherConnection) | None => String::new(),
    };
    ClosedLink {
        link: link.id.to_string(),
        msg_server: link.msg_server.clone(),
        is_named: link.is_named,
        peer: link.peer.to_string(),
        gateway_id: gone.gateway_id.clone(),
        is_claimed: link.is_claimed,
        session_count: link.sessions,
        open_time: Some(clock.timestamp_micros(link.opened_at)),
        close_time: Some(clock.timestamp(gone.at)),
        reason: reason(gone).into(),
        operator_reason,
    }
}

fn reason(gone: &Gone) -> LinkCloseReason {
    match gone.asked {
        Some(Asked::Operator { .. }) => return LinkCloseReason::Operator,
        Some(Asked::Drain) => return LinkCloseReason::Drained,
        Some(Asked::OtherConnection) => return LinkCloseReason::Superseded,
        None => {}
    }
    match gone.link.reason {
        CloseReason::Peer => LinkCloseReason::Peer,
        CloseReason::TimedOut => LinkCloseReason::Idle,
        CloseReason::BadFrame => LinkCloseReason::BadFrame,
        CloseReason::SlowReader => LinkCloseReason::SlowReader,
        CloseReason::Drain => LinkCloseReason::GatewayStops,
        CloseReason::Requested => LinkCloseReason::NoNode,
        CloseReason::GatewayLost => LinkCloseReason::GatewayLost,
    }
}
