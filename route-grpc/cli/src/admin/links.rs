//! `route-grpc links`: the connections of MsgServers; `link`: one of them.

use clap::Args;
use route_proto::admin::v1alpha1::{
    CloseLinkRequest, GetLinkRequest, GetLinkResponse, Link, LinkFigures, LinkPart,
    ListClosedLinksRequest, ListLinksRequest,
};

use super::{AdminArgs, closed_links, row};
use crate::failure::Failure;
use crate::names::Named;
use crate::table::{Column, Table};
use crate::{json, show};

/// Flags of `links`.
#[derive(Debug, Args)]
pub(crate) struct LinksArgs {
    /// Only those of this gateway
    #[arg(long, value_name = "ID")]
    gateway: Option<String>,
    /// Only those of this MsgServer: its name, or its IP address if it has none
    #[arg(long, value_name = "NAME|IP")]
    msg_server: Option<String>,
    /// Only those that play this part
    #[arg(long, value_name = "PART", value_parser = parts_of_links())]
    part: Option<LinkPart>,
    /// Ask the gateways what waits for each, and what went through it; the one that takes least comes first
    #[arg(long)]
    figures: bool,
    /// Those that have closed lately instead, since this node started, the newest first, and why
    #[arg(long, conflicts_with_all = ["part", "figures"])]
    closed: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

fn parts_of_links() -> Named<LinkPart> {
    Named::all("LINK_PART_", LinkPart::as_str_name)
}

/// Flags of `link`.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// Its id, as `links` shows it
    link: String,
    /// Close its connection: its MsgServer will connect again
    #[arg(long)]
    close: bool,
    /// Why, for the node's log
    #[arg(long, value_name = "TEXT", requires = "close", default_value = "")]
    reason: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Shows a table, or one object per link.
pub(crate) async fn list(args: LinksArgs) -> Result<(), Failure> {
    let mut client = args.admin.connect().await?;
    if args.closed {
        let asked = ListClosedLinksRequest {
            gateway_id: args.gateway.unwrap_or_default(),
            msg_server: args.msg_server.unwrap_or_default(),
            ..ListClosedLinksRequest::default()
        };
        return closed_links::list(&args.admin, &mut client, asked).await;
    }
    let asked = ListLinksRequest {
        gateway_id: args.gateway.unwrap_or_default(),
        msg_server: args.msg_server.clone().unwrap_or_default(),
        part: args.part.unwrap_or_default().into(),
        include_figures: args.figures,
        ..ListLinksRequest::default()
    };
    let mut links = args.admin.links(&mut client, asked).await?;
    if args.figures {
        let waiting = |link: &Link| link.figures.as_ref().map(|it| it.queued_bytes);
        links.sort_by_key(|link| std::cmp::Reverse(waiting(link)));
    }
    if args.admin.json {
        return links
            .iter()
            .try_for_each(|link| show::line(&json::line(link)));
    }
    match args.figures {
        true => figures(&links).print()?,
        false => parts(&links).print()?,
    }
    match args.msg_server.filter(|_| links.is_empty()) {
        Some(msg_server) => show::no_such_server(&msg_server),
        None => Ok(()),
    }
}

/// Who is slow: what waits to be written to each, the one with most of it first.
fn figures(links: &[Link]) -> Table {
    let mut table = Table::new(&[
        ("link", Column::Id),
        ("MsgServer", Column::Id),
        ("gateway", Column::Id),
        ("queued", Column::Number),
        ("stalled", Column::Number),
        ("unconfirmed", Column::Number),
        ("received", Column::Number),
        ("sent", Column::Number),
        ("idle", Column::Number),
        ("notes", Column::Text),
    ])
    .least_first(&["received", "sent", "unconfirmed", "idle", "gateway"]);
    for link in links {
        let of = |text: fn(&LinkFigures) -> String| {
            link.figures.as_ref().map_or_else(|| "-".to_owned(), text)
        };
        let paused = link.figures.as_ref().is_some_and(|it| it.is_paused);
        let notes = [if paused { "not read" } else { "" }.to_owned(), notes(link)];
        let notes: Vec<_> = notes.into_iter().filter(|it| !it.is_empty()).collect();
        table.row([
            link.link.clone(),
            link.msg_server.clone(),
            link.gateway_id.clone(),
            of(|it| show::bytes(it.queued_bytes)),
            of(|it| show::seconds(it.stalled_duration.as_ref())),
            of(|it| show::bytes(it.unconfirmed_bytes)),
            of(|it| it.received_pdu_count.to_string()),
            of(|it| it.sent_pdu_count.to_string()),
            of(|it| show::seconds(it.idle_duration.as_ref())),
            notes.join(", "),
        ]);
    }
    table
}

/// Which part each plays, and why.
fn parts(links: &[Link]) -> Table {
    let mut table = Table::new(&[
        ("link", Column::Id),
        ("MsgServer", Column::Id),
        ("gateway", Column::Id),
        ("part", Column::Word),
        ("why", Column::Word),
        ("other link", Column::Id),
        ("sessions", Column::Number),
        ("since", Column::Word),
        ("notes", Column::Text),
    ])
    .least_first(&["since", "other link", "sessions"]);
    for link in links {
        table.row([
            link.link.clone(),
            link.msg_server.clone(),
            link.gateway_id.clone(),
            part_of(link),
            reason(link),
            link.other_link.clone(),
            link.session_count.to_string(),
            show::time(link.open_time.as_ref()),
            notes(link),
        ]);
    }
    table
}

/// Shows, or closes, one link.
pub(crate) async fn one(args: LinkArgs) -> Result<(), Failure> {
    let mut client = args.admin.connect().await?;
    if args.close {
        let request = CloseLinkRequest {
            link: args.link.clone(),
            reason: args.reason,
        };
        let closed = client
            .close_link(args.admin.request(request))
            .await?
            .into_inner();
        return match args.admin.json {
            true => show::line(&json::line(&closed)),
            false => show::line(&format!("{} is closed", args.link)),
        };
    }
    let request = GetLinkRequest {
        link: args.link,
        include_figures: true,
    };
    let found = client
        .get_link(args.admin.request(request))
        .await?
        .into_inner();
    match args.admin.json {
        true => show::line(&json::line(&found)),
        false => details(&found).iter().try_for_each(|line| show::line(line)),
    }
}

fn details(found: &GetLinkResponse) -> Vec<String> {
    let Some(link) = &found.link else {
        let closed = found.closed_link.as_ref();
        return closed.map_or_else(Vec::new, closed_links::details);
    };
    let mut lines = vec![
        row("link", link.link.clone()),
        row(
            "MsgServer",
            format!(
                "{} ({})",
                link.msg_server,
                if link.is_named {
                    "named"
                } else {
                    "by its address"
                }
            ),
        ),
        row("peer", link.peer.clone()),
        row("gateway", link.gateway_id.clone()),
        row("dialect", link.dialect.clone()),
        row("part", format!("{}: {}", part_of(link), why(link))),
        row("sessions", link.session_count.to_string()),
        row("opened", show::time(link.open_time.as_ref())),
        row("last entry", show::time(link.last_entry_time.as_ref())),
    ];
    let notes = notes(link);
    if !notes.is_empty() {
        lines.push(row("notes", notes));
    }
    match &found.closed_link {
        Some(closed) => lines.extend(closed_links::closing(closed)),
        None => lines.extend(figure_lines(link)),
    }
    for other in &found.related_links {
        lines.push(row(
            "related",
            format!(
                "{} {}: {} sessions, {} of them here too",
                other.link,
                show::word("LINK_PART_", other.part().as_str_name()),
                other.session_count,
                other.shared_session_count
            ),
        ));
    }
    if !found.predecessors.is_empty() {
        lines.push(row("succeeded", found.predecessors.join(", ")));
    }
    lines
}

/// What its gateway says.
fn figure_lines(link: &Link) -> Vec<String> {
    let Some(it) = &link.figures else {
        return vec![row("figures", "its gateway does not answer")];
    };
    let stalled = show::seconds(it.stalled_duration.as_ref());
    let waiting = show::bytes(it.queued_bytes);
    let (received, sent) = (show::bytes(it.received_bytes), show::bytes(it.sent_bytes));
    vec![
        row("queued", format!("{waiting}, nothing taken for {stalled}")),
        row("unconfirmed", show::bytes(it.unconfirmed_bytes)),
        row(
            "received",
            format!("{} PDUs, {received}", it.received_pdu_count),
        ),
        row("sent", format!("{} PDUs, {sent}", it.sent_pdu_count)),
        row("idle", show::seconds(it.idle_duration.as_ref())),
    ]
}

/// Its part in a word.
pub(super) fn part_of(link: &Link) -> String {
    show::word("LINK_PART_", link.part().as_str_name())
}

/// Why it plays its part.
fn why(link: &Link) -> String {
    match link.other_link.as_str() {
        "" => reason(link),
        other => format!("{} {other}", reason(link)),
    }
}

/// The same without the other link that comes into it.
fn reason(link: &Link) -> String {
    show::word("LINK_PART_REASON_", link.part_reason().as_str_name())
}

/// What is unusual about it.
pub(super) fn notes(link: &Link) -> String {
    let notes = [
        (!link.is_listed, "no list yet"),
        (link.is_opaque, "cannot be read: gets everything"),
        (link.is_silent, "silent"),
        (link.is_detached, "gateway away"),
    ];
    let notes = notes.iter().filter(|(holds, _)| *holds);
    let notes: Vec<_> = notes.map(|(_, note)| *note).collect();
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use route_proto::admin::v1alpha1::LinkPartReason;

    use super::*;

    #[test]
    fn a_shadow_says_whose_it_is() {
        let link = Link {
            part: LinkPart::Shadow.into(),
            part_reason: LinkPartReason::OtherClaimed.into(),
            other_link: "1f-2".to_owned(),
            is_silent: true,
            ..Link::default()
        };

        assert_eq!(part_of(&link), "shadow");
        assert_eq!(why(&link), "other claimed 1f-2");
        assert_eq!(notes(&link), "no list yet, silent");
    }
}
