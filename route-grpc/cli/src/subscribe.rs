//! `route-grpc subscribe`: what is routed.

use clap::Args;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{EventFilter, EventKind, SubscribeRequest, SubscribeResponse};

use crate::client::ClientArgs;
use crate::failure::Failure;
use crate::follow::follow;
use crate::names::Named;
use crate::{json, show};

/// Flags of `subscribe`.
#[derive(Debug, Args)]
pub(crate) struct SubscribeArgs {
    /// Only these kinds of events
    #[arg(long, value_parser = kind(), value_name = "KIND", value_delimiter = ',')]
    kind: Vec<EventKind>,
    /// Only events that name one of these users
    #[arg(long, value_name = "USER", value_delimiter = ',')]
    user: Vec<u32>,
    /// Also the raw PDU (with --json)
    #[arg(long)]
    raw: bool,
    /// Go on after this position instead of now
    #[arg(long, value_name = "POSITION")]
    resume: Option<String>,
    /// End after this many events
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

fn kind() -> Named<EventKind> {
    Named::all("EVENT_KIND_", EventKind::as_str_name)
}

/// Shows the stream until it is told to end.
pub(crate) async fn run(args: SubscribeArgs) -> Result<(), Failure> {
    let SubscribeArgs {
        kind,
        user,
        raw,
        resume,
        count,
        client,
    } = args;
    let all_events = kind.is_empty() && user.is_empty();
    let filter = EventFilter {
        kinds: kind.into_iter().map(i32::from).collect(),
        user_ids: user,
        ..EventFilter::default()
    };
    let filters = if all_events { vec![] } else { vec![filter] };
    let open = async |position: String| {
        let mut broadcast = BroadcastServiceClient::new(client.connect().await?)
            .max_decoding_message_size(usize::MAX);
        let request = SubscribeRequest {
            filters: filters.clone(),
            resume_position: position,
            include_raw_pdu: raw,
            ..SubscribeRequest::default()
        };
        Ok(broadcast.subscribe(request).await?.into_inner())
    };
    let mut events = 0;
    let show = |response: SubscribeResponse| {
        events += u64::from(matches!(response.message, Some(Message::Event(_))));
        if client.json {
            show::line(&json::line(&response))?;
        } else if let Some(text) = text(&response) {
            show::line(&text)?;
        }
        Ok(count.is_some_and(|count| events >= count))
    };
    let from = resume.unwrap_or_default();
    follow(from, |message| &message.position, open, show).await
}

fn text(response: &SubscribeResponse) -> Option<String> {
    match response.message.as_ref()? {
        Message::Event(event) => Some(show::event(event)),
        Message::Gap(gap) => Some(show::gap(gap)),
        Message::Draining(_) => Some("-- the node ends this stream; coming back".to_owned()),
        Message::Subscribed(_) => Some("-- subscribed".to_owned()),
        Message::Resumed(_) => Some("-- resumed".to_owned()),
        Message::Watermark(_) => None,
    }
}
