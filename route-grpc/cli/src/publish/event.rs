//! Events as the flags say them, and as JSON.

use std::net::SocketAddr;

use anyhow::Context;
use clap::{Args, Subcommand};
use prost_types::Timestamp;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::subscribe_response::Message;
use route_proto::v1::{
    self, ChatMessage, ClientType, ConversationType, Event, FileNotice, FileServer,
    GroupChangeType, P2pCommand, ReadReceipt, SignatureChange, SubscribeResponse,
};
use serde_json::Value;

use crate::{json, names};

/// What is to be published.
#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// A chat message
    #[command(aliases = ["chat-message", "chat_message", "ChatMessage"])]
    Chat(Chat),
    /// A p2p command
    #[command(aliases = ["p2p-command", "p2p_command", "P2pCommand"])]
    P2p(P2p),
    /// A read receipt
    #[command(aliases = ["read-receipt", "read_receipt", "ReadReceipt"])]
    Read(Read),
    /// Disconnect a user's clients of one class
    Kick(Kick),
    /// Members of a group were added or removed
    GroupChange(GroupChange),
    /// A file waits for a user
    #[command(aliases = ["file-notice", "file_notice", "FileNotice"])]
    File(File),
    /// A user removed a conversation
    ConversationRemoval(ConversationRemoval),
    /// A user's signature changed
    #[command(aliases = ["signature-change", "signature_change", "SignatureChange"])]
    Signature(Signature),
    /// Any event, as subscribe --json shows it
    Event {
        /// Such as {"kick": {"userId": 7, "clientType": 1, "reason": 1}}, or a line of subscribe --json; - reads such lines
        /// from standard input until it ends
        event: String,
    },
}

impl What {
    /// As one event. None: events are to be read from standard input.
    pub(super) fn event(self) -> anyhow::Result<Option<Event>> {
        let event = match self {
            Self::Chat(it) => it.into(),
            Self::P2p(it) => it.into(),
            Self::Read(it) => it.into(),
            Self::Kick(it) => it.into(),
            Self::GroupChange(it) => it.into(),
            Self::File(it) => it.into(),
            Self::ConversationRemoval(it) => it.into(),
            Self::Signature(it) => it.into(),
            Self::Event { event } if event == "-" => return Ok(None),
            Self::Event { event } => {
                let read = read(&event)?;
                return read.context("that line is no event").map(Some);
            }
        };
        Ok(Some(Event {
            body: Some(event),
            ..Event::default()
        }))
    }
}

/// Nobody else may cause such an event.
pub(super) fn is_of_msg_servers(event: &Event) -> bool {
    let body = event.body.as_ref();
    body.is_some_and(|body| match body {
        Typed::StatusChange(_) | Typed::DesktopLoginChange(_) | Typed::OtherCommand(_) => true,
        Typed::ChatMessage(_)
        | Typed::P2pCommand(_)
        | Typed::ReadReceipt(_)
        | Typed::Kick(_)
        | Typed::GroupChange(_)
        | Typed::FileNotice(_)
        | Typed::ConversationRemoval(_)
        | Typed::SignatureChange(_) => false,
    })
}

/// An event, or a line of `subscribe --json`. None: a line that is no event, such as a watermark.
pub(super) fn read(text: &str) -> anyhow::Result<Option<Event>> {
    let is_of_stream =
        serde_json::from_str::<Value>(text).is_ok_and(|it| it.get("position").is_some());
    if !is_of_stream {
        return json::read(text).map(Some).context("the event is not one");
    }
    let response: SubscribeResponse =
        json::read(text).context("that is no line of subscribe --json")?;
    let Some(Message::Event(mut event)) = response.message else {
        return Ok(None);
    };
    // The node writes its own.
    event.raw_pdu.clear();
    event.omitted.retain(|it| it.field != "raw_pdu");
    Ok(Some(event))
}

#[derive(Debug, Args)]
pub(super) struct Chat {
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
pub(super) struct P2p {
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
pub(super) struct Read {
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
pub(super) struct Kick {
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
    // iOS is one word.
    for text in [text, &text.to_lowercase()] {
        let named = names::short("CLIENT_TYPE_", text).to_uppercase();
        let named = format!("CLIENT_TYPE_{named}");
        if let Some(named) = ClientType::from_str_name(&named) {
            return Ok(named.into());
        }
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
pub(super) struct GroupChange {
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
pub(super) struct File {
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
pub(super) struct ConversationRemoval {
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
pub(super) struct Signature {
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
