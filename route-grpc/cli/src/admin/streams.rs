//! `route-grpc streams`: who reads the node, and how far behind; closes one.

use clap::Args;
use route_proto::admin::v1alpha1::{CloseStreamRequest, ListStreamsRequest, ReaderStream};

use super::{AdminArgs, Client, PAGE};
use crate::failure::Failure;
use crate::table::{Column, Table};
use crate::{json, show};

/// Flags of `streams`.
#[derive(Debug, Args)]
pub(crate) struct StreamsArgs {
    /// Close this stream, by its id
    #[arg(long, value_name = "ID")]
    close: Option<String>,
    /// Why, for the node's log
    #[arg(long, value_name = "TEXT", requires = "close", default_value = "")]
    reason: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Shows a table, or one object per stream.
pub(crate) async fn run(args: StreamsArgs) -> Result<(), Failure> {
    let mut client = args.admin.connect().await?;
    if let Some(stream) = args.close {
        let request = CloseStreamRequest {
            stream: stream.clone(),
            reason: args.reason,
        };
        let closed = client
            .close_stream(args.admin.request(request))
            .await?
            .into_inner();
        let how = match closed.connection_closed {
            true => "closed, with its client's connection: that took nothing",
            false => "closed",
        };
        return match args.admin.json {
            true => show::line(&json::line(&closed)),
            false => show::line(&format!("stream {stream} is {how}")),
        };
    }
    let streams = all(&args.admin, &mut client).await?;
    if args.admin.json {
        return streams
            .iter()
            .try_for_each(|it| show::line(&json::line(it)));
    }
    let mut table = Table::new(&[
        ("stream", Column::Number),
        ("method", Column::Word),
        ("client", Column::Word),
        ("lag", Column::Number),
        ("waiting", Column::Number),
        ("last message", Column::Word),
        ("since", Column::Word),
        ("about", Column::Text),
    ])
    .least_first(&["last message", "since", "waiting"]);
    for it in &streams {
        let method = it.method.rsplit('/').next().unwrap_or_default();
        table.row([
            it.stream.clone(),
            method.to_owned(),
            it.client.clone(),
            it.lag_count.to_string(),
            show::bytes(it.waiting_bytes),
            show::time(it.last_message_time.as_ref()),
            show::time(it.open_time.as_ref()),
            it.about.clone(),
        ]);
    }
    table.print()
}

/// All streams, page by page.
async fn all(admin: &AdminArgs, client: &mut Client) -> Result<Vec<ReaderStream>, Failure> {
    let mut streams = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = admin.request(ListStreamsRequest {
            page_size: PAGE,
            page_token,
        });
        let page = client.list_streams(request).await?.into_inner();
        streams.extend(page.streams);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(streams);
        }
    }
}
