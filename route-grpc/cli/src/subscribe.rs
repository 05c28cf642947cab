//! `route-grpc subscribe`: what is routed.

use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{EventKind, SubscribeRequest, SubscribeResponse};

use crate::client::ClientArgs;
use crate::failure::Failure;
use crate::follow::follow;
use crate::{json, show};

/// Flags of `subscribe`.
#[derive(Debug, Args)]
pub(crate) struct SubscribeArgs {
    /// Only these kinds of events
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<Kind>,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    ChatMessage,
    P2pCommand,
    ReadReceipt,
    Kick,
    GroupChange,
    FileNotice,
    ConversationRemoved,
    SignatureChanged,
    StatusChanged,
    DesktopLoginChanged,
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
    let kinds: Vec<i32> = kind
        .into_iter()
        .map(|kind| event_kind(kind).into())
        .collect();
    let open = async |position: String| {
        let mut broadcast = BroadcastServiceClient::new(client.connect().await?)
            .max_decoding_message_size(usize::MAX);
        let request = SubscribeRequest {
            kinds: kinds.clone(),
            user_ids: user.clone(),
            resume_position: position,
            include_raw: raw,
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
        Ok(if count.is_some_and(|count| events >= count) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    };
    follow(resume.unwrap_or_default(), open, show).await
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

fn event_kind(kind: Kind) -> EventKind {
    match kind {
        Kind::ChatMessage => EventKind::ChatMessage,
        Kind::P2pCommand => EventKind::P2pCommand,
        Kind::ReadReceipt => EventKind::ReadReceipt,
        Kind::Kick => EventKind::Kick,
        Kind::GroupChange => EventKind::GroupChange,
        Kind::FileNotice => EventKind::FileNotice,
        Kind::ConversationRemoved => EventKind::ConversationRemoved,
        Kind::SignatureChanged => EventKind::SignatureChanged,
        Kind::StatusChanged => EventKind::StatusChanged,
        Kind::DesktopLoginChanged => EventKind::DesktopLoginChanged,
    }
}
