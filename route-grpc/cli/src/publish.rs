//! `route-grpc publish`: route an event to MsgServers.

use std::net::SocketAddr;

use anyhow::Context;
use clap::{Args, Subcommand};
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::event::Event as Typed;
use route_proto::v1::publish_request::Audience;
use route_proto::v1::{
    ChatMessage, ConversationRemoved, ConversationType, Event, EveryoneAudience, FileNotice,
    FileServer, GroupChange, GroupChangeType, Kick, P2pCommand, PublishRequest, ReadReceipt,
    SignatureChanged, UserAudience,
};

use crate::client::ClientArgs;
use crate::failure::Failure;
use crate::{json, show};

/// Flags of `publish`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(subcommand)]
    what: What,
    /// Route it to the MsgServers of these users, not to those that it concerns by itself
    #[arg(long, global = true, value_name = "USER", value_delimiter = ',')]
    to_users: Vec<u32>,
    /// Route it to every MsgServer
    #[arg(long, global = true, conflicts_with = "to_users")]
    everyone: bool,
    /// Route it once, however often it is published with this id
    #[arg(
        long,
        global = true,
        value_name = "ID",
        default_value = "",
        hide_default_value = true
    )]
    request_id: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A chat message
    Chat {
        /// Sender
        #[arg(long)]
        from: u32,
        /// Receiver: a user, or a group with --group
        #[arg(long)]
        to: u32,
        /// To a group
        #[arg(long)]
        group: bool,
        /// Number of the message in its conversation
        #[arg(long, default_value_t = 1)]
        message_id: u32,
        /// When it was written, Unix time in seconds
        #[arg(long, default_value_t = 0)]
        create_time: u32,
        /// Content, passed on as it is; TeamTalk's clients expect it encrypted
        #[arg(long)]
        text: String,
    },
    /// A p2p command
    P2p {
        /// Sender
        #[arg(long)]
        from: u32,
        /// Receiver
        #[arg(long)]
        to: u32,
        /// Text, JSON by convention
        #[arg(long)]
        command: String,
    },
    /// A read receipt
    Read {
        /// Who has read
        #[arg(long)]
        user: u32,
        /// Where: a user, or a group with --group
        #[arg(long)]
        conversation: u32,
        /// In a group
        #[arg(long)]
        group: bool,
        /// Up to which message
        #[arg(long)]
        message_id: u32,
    },
    /// Disconnect a user's clients of one class
    Kick {
        /// Whom
        #[arg(long)]
        user: u32,
        /// 1 Windows, 2 Mac, 17 iOS, 18 Android
        #[arg(long)]
        client_type: u32,
        /// 1 duplicate login, 2 kicked by the mobile client
        #[arg(long, default_value_t = 1)]
        reason: u32,
    },
    /// Members of a group were added or removed
    GroupChange {
        /// Who did it
        #[arg(long)]
        user: u32,
        /// Which group
        #[arg(long)]
        group: u32,
        /// Who was added
        #[arg(long, value_delimiter = ',', required_unless_present = "remove")]
        add: Vec<u32>,
        /// Who was removed
        #[arg(long, value_delimiter = ',', conflicts_with = "add")]
        remove: Vec<u32>,
        /// Who is in the group now
        #[arg(long, value_delimiter = ',')]
        members: Vec<u32>,
    },
    /// A file waits for a user
    File {
        /// Sender
        #[arg(long)]
        from: u32,
        /// Receiver
        #[arg(long)]
        to: u32,
        /// Its name
        #[arg(long)]
        name: String,
        /// Its size in bytes
        #[arg(long)]
        size: u32,
        /// The transfer's id
        #[arg(long)]
        task: String,
        /// Where it can be had
        #[arg(long, value_name = "ADDR")]
        server: Vec<SocketAddr>,
    },
    /// A user removed a conversation
    ConversationRemoved {
        /// Who
        #[arg(long)]
        user: u32,
        /// Which: a user, or a group with --group
        #[arg(long)]
        conversation: u32,
        /// A group's
        #[arg(long)]
        group: bool,
    },
    /// A user's signature changed
    Signature {
        /// Whose
        #[arg(long)]
        user: u32,
        /// The new one
        #[arg(long)]
        text: String,
    },
    /// Any event, as subscribe --json shows it
    Event {
        /// Such as {"kick": {"userId": 7, "clientType": 1, "reason": 1}}
        event: String,
    },
}

/// Publishes once and says to how many MsgServer connections it was routed.
pub(crate) async fn run(args: PublishArgs) -> Result<(), Failure> {
    let event = event(args.what)?;
    let audience = if args.everyone {
        Some(Audience::Everyone(EveryoneAudience {}))
    } else if args.to_users.is_empty() {
        None
    } else {
        Some(Audience::Users(UserAudience {
            user_ids: args.to_users,
        }))
    };
    let mut broadcast = BroadcastServiceClient::new(args.client.connect().await?);
    let request = args.client.request(PublishRequest {
        request_id: args.request_id,
        event: Some(event),
        audience,
    });
    let response = broadcast.publish(request).await?.into_inner();
    if args.client.json {
        return show::line(&json::line(&response));
    }
    let again = if response.duplicate {
        ", which was published before"
    } else {
        ""
    };
    show::line(&format!(
        "routed to {} MsgServer connections{again}",
        response.links
    ))
}

fn event(what: What) -> anyhow::Result<Event> {
    let event = match what {
        What::Chat {
            from,
            to,
            group,
            message_id,
            create_time,
            text,
        } => Typed::ChatMessage(ChatMessage {
            from_user_id: from,
            to_id: to,
            message_id,
            create_time,
            message_type: if group { 0x11 } else { 0x01 },
            content: text.into(),
            ..ChatMessage::default()
        }),
        What::P2p { from, to, command } => Typed::P2pCommand(P2pCommand {
            from_user_id: from,
            to_user_id: to,
            command: command.into(),
        }),
        What::Read {
            user,
            conversation,
            group,
            message_id,
        } => Typed::ReadReceipt(ReadReceipt {
            user_id: user,
            conversation_id: conversation,
            message_id,
            conversation: conversation_type(group),
        }),
        What::Kick {
            user,
            client_type,
            reason,
        } => Typed::Kick(Kick {
            user_id: user,
            client_type,
            reason,
        }),
        What::GroupChange {
            user,
            group,
            add,
            remove,
            members,
        } => {
            let change = if add.is_empty() {
                GroupChangeType::Delete
            } else {
                GroupChangeType::Add
            };
            Typed::GroupChange(GroupChange {
                user_id: user,
                change: change.into(),
                group_id: group,
                member_ids: members,
                changed_ids: if add.is_empty() { remove } else { add },
            })
        }
        What::File {
            from,
            to,
            name,
            size,
            task,
            server,
        } => {
            let servers = server.into_iter().map(|server| FileServer {
                ip: server.ip().to_string(),
                port: server.port().into(),
            });
            Typed::FileNotice(FileNotice {
                from_user_id: from,
                to_user_id: to,
                file_name: name,
                file_size: size,
                task_id: task,
                servers: servers.collect(),
                transfer_mode: 2,
                offline_ready: true,
            })
        }
        What::ConversationRemoved {
            user,
            conversation,
            group,
        } => Typed::ConversationRemoved(ConversationRemoved {
            user_id: user,
            conversation: conversation_type(group),
            conversation_id: conversation,
        }),
        What::Signature { user, text } => Typed::SignatureChanged(SignatureChanged {
            user_id: user,
            signature: text,
        }),
        What::Event { event } => {
            return json::read(&event).context("the event is not one");
        }
    };
    Ok(Event {
        event: Some(event),
        ..Event::default()
    })
}

fn conversation_type(group: bool) -> i32 {
    if group {
        ConversationType::Group.into()
    } else {
        ConversationType::Single.into()
    }
}
