//! `route-grpc links --closed`, and `link` of one that is gone: why links have closed.

use route_proto::admin::v1alpha1::{
    ClosedLink, LinkCloseReason, ListClosedLinksRequest, ListClosedLinksResponse,
};

use super::{AdminArgs, Client, PAGE, row};
use crate::failure::Failure;
use crate::table::{Column, Table};
use crate::{json, show};

/// Shows a table, or one object per link.
pub(super) async fn list(
    admin: &AdminArgs,
    client: &mut Client,
    asked: ListClosedLinksRequest,
) -> Result<(), Failure> {
    let found = all(admin, client, asked).await?;
    if admin.json {
        let mut links = found.closed_links.iter();
        return links.try_for_each(|it| show::line(&json::line(it)));
    }
    show::line(&row("since", show::time(found.remembers_since.as_ref())))?;
    match found.closed_links.is_empty() {
        true => show::line(&row("closed", "none of these since then")),
        false => table(&found.closed_links).print(),
    }
}

/// Page by page, as one answer.
async fn all(
    admin: &AdminArgs,
    client: &mut Client,
    mut asked: ListClosedLinksRequest,
) -> Result<ListClosedLinksResponse, Failure> {
    asked.page_size = PAGE;
    let mut links = Vec::new();
    loop {
        let request = admin.request(asked.clone());
        let page = client.list_closed_links(request).await?.into_inner();
        links.extend(page.closed_links);
        if page.next_page_token.is_empty() {
            return Ok(ListClosedLinksResponse {
                closed_links: links,
                ..page
            });
        }
        asked.page_token = page.next_page_token;
    }
}

fn table(links: &[ClosedLink]) -> Table {
    let mut table = Table::new(&[
        ("closed", Column::Word),
        ("link", Column::Id),
        ("MsgServer", Column::Id),
        ("gateway", Column::Id),
        ("claimed", Column::Word),
        ("sessions", Column::Number),
        ("why", Column::Word),
    ])
    .least_first(&["claimed", "sessions", "gateway"]);
    for it in links {
        table.row([
            show::time(it.close_time.as_ref()),
            it.link.clone(),
            it.msg_server.clone(),
            it.gateway_id.clone(),
            if it.is_claimed { "yes" } else { "" }.to_owned(),
            it.session_count.to_string(),
            why(it),
        ]);
    }
    table
}

/// What `link` shows of one.
pub(super) fn details(it: &ClosedLink) -> Vec<String> {
    let how = match it.is_named {
        true => "named",
        false => "by its address",
    };
    let mut lines = vec![
        row("link", &it.link),
        row("MsgServer", format!("{} ({how})", it.msg_server)),
        row("peer", &it.peer),
        row("gateway", &it.gateway_id),
        row("sessions", it.session_count),
        row("opened", show::time(it.open_time.as_ref())),
    ];
    lines.extend(closing(it));
    lines
}

/// When it closed, and why.
pub(super) fn closing(it: &ClosedLink) -> [String; 2] {
    [
        row("closed", show::time(it.close_time.as_ref())),
        row("why", why(it)),
    ]
}

fn why(it: &ClosedLink) -> String {
    let why = match it.reason() {
        LinkCloseReason::Peer => "its MsgServer closed it, or it broke",
        LinkCloseReason::Idle => "nothing came from it for too long",
        LinkCloseReason::BadFrame => "it sent what is no PDU: its gateway's log says what",
        LinkCloseReason::SlowReader => "it did not take what it was sent",
        LinkCloseReason::GatewayStops => "its gateway was stopped",
        LinkCloseReason::Operator => "an operator closed it",
        LinkCloseReason::Drained => "an operator drained its gateway",
        LinkCloseReason::Superseded => "another connection of its MsgServer has its place",
        LinkCloseReason::NoNode => "its gateway had no node for too long",
        LinkCloseReason::GatewayLost => "its gateway was lost, or restarted",
        LinkCloseReason::Unspecified => "unknown",
    };
    match it.operator_reason.as_str() {
        "" => why.to_owned(),
        reason => format!("{why}: {reason}"),
    }
}
