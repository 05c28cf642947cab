//! Whom an event names, and between whom it is.

use route_proto::v1::event::Body as Typed;
use route_proto::v1::{ChatMessage, ConversationType, Event, UserRole};

/// Somebody whom an event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    /// A user.
    User(u32),
    /// All members of a group.
    Group(u32),
}

/// Between whom something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Talk {
    /// Two users, the one with the lower id first.
    Pair(u32, u32),
    /// The members of a group.
    Group(u32),
}

/// Everybody whom the event names in this role; some may come twice.
pub(crate) fn names(event: &Event, role: UserRole) -> impl Iterator<Item = Name> + '_ {
    let named = event.body.as_ref().map(Named::by).unwrap_or_default();
    let sender = named.sender.filter(|_| role != UserRole::Receiver);
    let is_receiver = role != UserRole::Sender;
    let receiver = named.receiver.filter(|_| is_receiver);
    let lists = named.lists.into_iter().filter(move |_| is_receiver);
    let members = lists.flatten().copied().map(Name::User);
    sender.into_iter().chain(receiver).chain(members)
}

/// Of which conversation the event is, if of any.
pub(crate) fn talk(event: &Event) -> Option<Talk> {
    match event.body.as_ref()? {
        Typed::ChatMessage(chat) => Some(match receiver(chat) {
            Name::User(user) => Talk::pair(chat.from_user_id, user),
            Name::Group(group) => Talk::Group(group),
        }),
        Typed::P2pCommand(p2p) => Some(Talk::pair(p2p.from_user_id, p2p.to_user_id)),
        Typed::ReadReceipt(read) => {
            Talk::of(read.user_id, read.conversation_type(), read.conversation_id)
        }
        Typed::GroupChange(group) => Some(Talk::Group(group.group_id)),
        Typed::FileNotice(file) => Some(Talk::pair(file.from_user_id, file.to_user_id)),
        Typed::ConversationRemoval(removed) => {
            let id = removed.conversation_id;
            Talk::of(removed.user_id, removed.conversation_type(), id)
        }
        Typed::Kick(_)
        | Typed::SignatureChange(_)
        | Typed::StatusChange(_)
        | Typed::DesktopLoginChange(_)
        | Typed::OtherCommand(_) => None,
    }
}

impl Talk {
    /// Between these two, whoever says something.
    pub(crate) fn pair(a: u32, b: u32) -> Self {
        Self::Pair(a.min(b), a.max(b))
    }

    fn of(user: u32, kind: ConversationType, id: u32) -> Option<Self> {
        match kind {
            ConversationType::Single => Some(Self::pair(user, id)),
            ConversationType::Group => Some(Self::Group(id)),
            ConversationType::Unspecified => None,
        }
    }
}

/// By role.
#[derive(Debug, Default)]
struct Named<'a> {
    sender: Option<Name>,
    receiver: Option<Name>,
    /// More receivers.
    lists: [&'a [u32]; 2],
}

impl<'a> Named<'a> {
    fn by(event: &'a Typed) -> Self {
        match event {
            Typed::ChatMessage(chat) => Self::from_to(chat.from_user_id, receiver(chat)),
            Typed::P2pCommand(p2p) => Self::from_to(p2p.from_user_id, Name::User(p2p.to_user_id)),
            Typed::FileNotice(file) => {
                Self::from_to(file.from_user_id, Name::User(file.to_user_id))
            }
            Typed::GroupChange(group) => Self {
                sender: Some(Name::User(group.user_id)),
                receiver: None,
                lists: [&group.member_ids, &group.changed_ids],
            },
            Typed::ReadReceipt(read) => Self::about(read.user_id),
            Typed::Kick(kick) => Self::about(kick.user_id),
            Typed::ConversationRemoval(removed) => Self::about(removed.user_id),
            Typed::SignatureChange(changed) => Self::about(changed.user_id),
            Typed::DesktopLoginChange(changed) => Self::about(changed.user_id),
            Typed::StatusChange(changed) => {
                let user = changed.user.as_ref();
                user.map(|user| Self::about(user.user_id))
                    .unwrap_or_default()
            }
            Typed::OtherCommand(other) => Self {
                lists: [&other.user_ids, &[]],
                ..Self::default()
            },
        }
    }

    fn from_to(sender: u32, receiver: Name) -> Self {
        Self {
            sender: Some(Name::User(sender)),
            receiver: Some(receiver),
            lists: [&[]; 2],
        }
    }

    fn about(user: u32) -> Self {
        Self::from_to(user, Name::User(user))
    }
}

fn receiver(chat: &ChatMessage) -> Name {
    match chat.conversation_type() {
        ConversationType::Group => Name::Group(chat.to_id),
        ConversationType::Single | ConversationType::Unspecified => Name::User(chat.to_id),
    }
}
