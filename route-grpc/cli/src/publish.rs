//! `route-grpc publish`: route an event to MsgServers.

use std::net::SocketAddr;

use anyhow::Context;
use clap::{Args, Subcommand};
use prost_types::Timestamp;
use route_proto::v1::broadcast_service_client::BroadcastServiceClient;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::publish_request::Audience;
use route_proto::v1::{
    self, Acknowledgement, AllMsgServers, ChatMessage, ClientType, ConversationType, Event,
    ExplainPublishRequest, ExplainPublishResponse, FileNotice, FileServer, GroupChangeType,
    MsgServersOfUsers, P2pCommand, PublishRequest, PublishResponse, ReadReceipt, SignatureChange,
    explain_publish_request,
};

use crate::client::ClientArgs;
use crate::failure::Failure;
use crate::{json, names, show};

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
    /// Route nothing: say who would get it, and why
    #[arg(long, global = true)]
    dry_run: bool,
    /// Wait until gateways have taken it
    #[arg(long, global = true, conflicts_with = "dry_run")]
    wait: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A chat message
    Chat(Chat),
    /// A p2p command
    P2p(P2p),
    /// A read receipt
    Read(Read),
    /// Disconnect a user's clients of one class
    Kick(Kick),
    /// Members of a group were added or removed
    GroupChange(GroupChange),
    /// A file waits for a user
    File(File),
    /// A user removed a conversation
    ConversationRemoval(ConversationRemoval),
    /// A user's signature changed
    Signature(Signature),
    /// Any event, as subscribe --json shows it
    Event {
        /// Such as {"kick": {"userId": 7, "clientType": 1, "reason": 1}}
        event: String,
    },
}

/// Publishes once, or rehearses it, and says to how many MsgServer connections it was routed.
pub(crate) async fn run(args: PublishArgs) -> Result<(), Failure> {
    let event = event(args.what)?;
    let audience = if args.everyone {
        Some(Audience::AllMsgServers(AllMsgServers {}))
    } else if args.to_users.is_empty() {
        None
    } else {
        Some(Audience::MsgServersOfUsers(MsgServersOfUsers {
            user_ids: args.to_users,
        }))
    };
    let mut broadcast = BroadcastServiceClient::new(args.client.connect().await?);
    if args.dry_run {
        let request = args.client.request(ExplainPublishRequest {
            event: Some(event),
            audience: audience.map(explained),
        });
        let response = broadcast.explain_publish(request).await?.into_inner();
        if args.client.json {
            return show::line(&json::line(&response));
        }
        return explanation(&response)
            .iter()
            .try_for_each(|line| show::line(line));
    }
    let acknowledgement = match args.wait {
        true => Acknowledgement::Taken,
        false => Acknowledgement::Routed,
    };
    let request = args.client.request(PublishRequest {
        request_id: args.request_id,
        event: Some(event),
        audience,
        acknowledgement: acknowledgement.into(),
    });
    let response = broadcast.publish(request).await?.into_inner();
    if args.client.json {
        return show::line(&json::line(&response));
    }
    outcome(&response)
        .iter()
        .try_for_each(|line| show::line(line))
}

fn explained(audience: Audience) -> explain_publish_request::Audience {
    match audience {
        Audience::MsgServersOfUsers(users) => {
            explain_publish_request::Audience::MsgServersOfUsers(users)
        }
        Audience::AllMsgServers(all) => explain_publish_request::Audience::AllMsgServers(all),
    }
}

/// What came of it, in words.
fn outcome(response: &PublishResponse) -> Vec<String> {
    let again = if response.duplicate {
        ", which was published before"
    } else {
        ""
    };
    let links = response.link_count;
    let mut lines = vec![format!("routed to {links} MsgServer connections{again}")];
    if let Some(outcome) = &response.outcome {
        lines.push(format!(
            "taken by {} gateways; {} are away, {} were full; held for {} connections to come",
            outcome.taken_gateway_count,
            outcome.away_gateway_count,
            outcome.full_gateway_count,
            outcome.held_link_count
        ));
    }
    lines
}

/// Who would get it, in words.
fn explanation(response: &ExplainPublishResponse) -> Vec<String> {
    let links = response.targets.len();
    let mut lines = vec![format!("would be routed to {links} MsgServer connections")];
    lines.extend(response.targets.iter().map(|target| {
        let reason = show::word("PUBLISH_TARGET_REASON_", target.reason().as_str_name());
        let users = target.user_ids.iter().map(u32::to_string);
        let users = users.collect::<Vec<_>>().join(" ");
        let (link, msg_server) = (&target.link, &target.msg_server);
        format!("{msg_server:<22} [{link}]  {reason} {users}")
    }));
    lines
}

fn event(what: What) -> anyhow::Result<Event> {
    let event = match what {
        What::Chat(it) => it.into(),
        What::P2p(it) => it.into(),
        What::Read(it) => it.into(),
        What::Kick(it) => it.into(),
        What::GroupChange(it) => it.into(),
        What::File(it) => it.into(),
        What::ConversationRemoval(it) => it.into(),
        What::Signature(it) => it.into(),
        What::Event { event } => return json::read(&event).context("the event is not one"),
    };
    Ok(Event {
        body: Some(event),
        ..Event::default()
    })
}

#[derive(Debug, Args)]
struct Chat {
    /// Sender
    #[arg(long)]
    from: u32,
    /// Receiver: a user, or a group with --group
    #[arg(long)]
    to: u32,
    /// To a group
    #[arg(long)]
    group: bool,
    /// Number of the message in its conversation, from the site's database server
    #[arg(long)]
    message_id: u32,
    /// When it was written, Unix time in seconds; now unless it is said
    #[arg(long)]
    create_time: Option<u32>,
    /// Content, passed on as it is; TeamTalk's clients expect it encrypted
    #[arg(long)]
    text: String,
}

impl From<Chat> for Typed {
    fn from(it: Chat) -> Self {
        Self::ChatMessage(ChatMessage {
            from_user_id: it.from,
            to_id: it.to,
            message_id: it.message_id,
            create_time: it.create_time.map(|seconds| Timestamp {
                seconds: seconds.into(),
                nanos: 0,
            }),
            message_type: if it.group { 0x11 } else { 0x01 },
            content: it.text.into(),
            ..ChatMessage::default()
        })
    }
}

#[derive(Debug, Args)]
struct P2p {
    /// Sender
    #[arg(long)]
    from: u32,
    /// Receiver
    #[arg(long)]
    to: u32,
    /// Text, JSON by convention
    #[arg(long)]
    command: String,
}

impl From<P2p> for Typed {
    fn from(it: P2p) -> Self {
        Self::P2pCommand(P2pCommand {
            from_user_id: it.from,
            to_user_id: it.to,
            command: it.command.into(),
        })
    }
}

#[derive(Debug, Args)]
struct Read {
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
}

impl From<Read> for Typed {
    fn from(it: Read) -> Self {
        Self::ReadReceipt(ReadReceipt {
            user_id: it.user,
            conversation_id: it.conversation,
            message_id: it.message_id,
            conversation_type: conversation_type(it.group),
        })
    }
}

#[derive(Debug, Args)]
struct Kick {
    /// Whom
    #[arg(long)]
    user: u32,
    /// Which class: windows, mac, ios, android, or a number such as 18 or 0x12
    #[arg(long, value_name = "TYPE", value_parser = client_type)]
    client_type: i32,
    /// 1 duplicate login, 2 kicked by the mobile client
    #[arg(long, default_value_t = 1)]
    reason: i32,
}

/// By its name, or its number.
pub(crate) fn client_type(text: &str) -> Result<i32, String> {
    let named = names::short("CLIENT_TYPE_", text).to_uppercase();
    let named = format!("CLIENT_TYPE_{named}");
    if let Some(named) = ClientType::from_str_name(&named) {
        return Ok(named.into());
    }
    let number = match text.strip_prefix("0x") {
        Some(hex) => i32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| "neither windows, mac, ios, android, nor a number".to_owned())
}

impl From<Kick> for Typed {
    fn from(it: Kick) -> Self {
        Self::Kick(v1::Kick {
            user_id: it.user,
            client_type: it.client_type,
            reason: it.reason,
        })
    }
}

#[derive(Debug, Args)]
struct GroupChange {
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
}

impl From<GroupChange> for Typed {
    fn from(it: GroupChange) -> Self {
        let (change, changed_ids) = if it.add.is_empty() {
            (GroupChangeType::Removed, it.remove)
        } else {
            (GroupChangeType::Added, it.add)
        };
        Self::GroupChange(v1::GroupChange {
            user_id: it.user,
            change_type: change.into(),
            group_id: it.group,
            member_ids: it.members,
            changed_ids,
        })
    }
}

#[derive(Debug, Args)]
struct File {
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
}

impl From<File> for Typed {
    fn from(it: File) -> Self {
        let servers = it.server.into_iter().map(|server| FileServer {
            ip: server.ip().to_string(),
            port: server.port().into(),
        });
        Self::FileNotice(FileNotice {
            from_user_id: it.from,
            to_user_id: it.to,
            file_name: it.name,
            file_size_bytes: it.size,
            task_id: it.task,
            servers: servers.collect(),
            transfer_mode: 2,
            offline_ready: true,
            ..FileNotice::default()
        })
    }
}

#[derive(Debug, Args)]
struct ConversationRemoval {
    /// Who
    #[arg(long)]
    user: u32,
    /// Which: a user, or a group with --group
    #[arg(long)]
    conversation: u32,
    /// A group's
    #[arg(long)]
    group: bool,
}

impl From<ConversationRemoval> for Typed {
    fn from(it: ConversationRemoval) -> Self {
        Self::ConversationRemoval(v1::ConversationRemoval {
            user_id: it.user,
            conversation_type: conversation_type(it.group),
            conversation_id: it.conversation,
        })
    }
}

#[derive(Debug, Args)]
struct Signature {
    /// Whose
    #[arg(long)]
    user: u32,
    /// The new one
    #[arg(long)]
    text: String,
}

impl From<Signature> for Typed {
    fn from(it: Signature) -> Self {
        Self::SignatureChange(SignatureChange {
            user_id: it.user,
            signature: it.text,
            ..SignatureChange::default()
        })
    }
}

fn conversation_type(group: bool) -> i32 {
    if group {
        ConversationType::Group.into()
    } else {
        ConversationType::Single.into()
    }
}
