//! How answers look on a terminal, and where they are written to.

use std::io::{self, Write};

use route_proto::v1::event::Event as Typed;
use route_proto::v1::{
    ChangeReason, ConversationType, Event, Gap, GapReason, LegacyStatus, SessionState, Status,
    UserStatus,
};

use crate::failure::Failure;

/// Writes one line. An output that nobody reads ends the command without an error.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    Ok(output.flush()?)
}

/// A user's status in a word.
pub(crate) fn status(user: &UserStatus) -> &'static str {
    match user.status() {
        Status::Online => "online",
        Status::Away => "away",
        Status::Offline => "offline",
        Status::Unspecified => "unknown",
    }
}

/// What legacy clients see, in a word.
pub(crate) fn legacy_status(user: &UserStatus) -> &'static str {
    match user.legacy_status() {
        LegacyStatus::Online => "online",
        LegacyStatus::Offline => "offline",
        LegacyStatus::Unspecified => "unknown",
    }
}

/// A client's state in a word.
pub(crate) fn session_state(state: SessionState) -> &'static str {
    match state {
        SessionState::Online => "online",
        SessionState::Away => "away",
        SessionState::Unspecified => "unknown",
    }
}

/// A client type as people call it.
pub(crate) fn client_type(value: u32) -> String {
    match value {
        0x01 => "Windows".to_owned(),
        0x02 => "Mac".to_owned(),
        0x11 => "iOS".to_owned(),
        0x12 => "Android".to_owned(),
        other => format!("{other:#04x}"),
    }
}

/// Why a status changed, in words.
pub(crate) fn change_reason(reason: ChangeReason) -> &'static str {
    match reason {
        ChangeReason::Client => "client",
        ChangeReason::List => "list",
        ChangeReason::LinkClosed => "link closed",
        ChangeReason::GatewayLost => "gateway lost",
        ChangeReason::Role => "role",
        ChangeReason::Unspecified => "unknown",
    }
}

/// A gap in words.
pub(crate) fn gap(gap: &Gap) -> String {
    let reason = match gap.reason() {
        GapReason::Compacted => "away for too long",
        GapReason::EpochChanged => "the node was restarted",
        GapReason::SlowConsumer => "too slow",
        GapReason::Unspecified => "unknown",
    };
    if gap.missed == 0 {
        format!("-- gap: {reason}")
    } else {
        format!("-- gap: {} events missed ({reason})", gap.missed)
    }
}

/// An event in one line, without what users wrote.
pub(crate) fn event(event: &Event) -> String {
    let origin = match event.origin_link.as_str() {
        "" => String::new(),
        link => format!("  [{link}]"),
    };
    let text = match &event.event {
        Some(Typed::ChatMessage(chat)) => format!(
            "chat message          {} -> {}{}  message {}, {} bytes",
            chat.from_user_id,
            group_mark(chat.conversation()),
            chat.to_id,
            chat.message_id,
            chat.content.len()
        ),
        Some(Typed::P2pCommand(p2p)) => format!(
            "p2p command           {} -> {}  {} bytes",
            p2p.from_user_id,
            p2p.to_user_id,
            p2p.command.len()
        ),
        Some(Typed::ReadReceipt(read)) => format!(
            "read receipt          {} in {}{}  up to message {}",
            read.user_id,
            group_mark(read.conversation()),
            read.conversation_id,
            read.message_id
        ),
        Some(Typed::Kick(kick)) => format!(
            "kick                  {} on {}  reason {}",
            kick.user_id,
            client_type(kick.client_type),
            kick.reason
        ),
        Some(Typed::GroupChange(group)) => format!(
            "group change          group {} by {}  {} changed, {} members",
            group.group_id,
            group.user_id,
            group.changed_ids.len(),
            group.member_ids.len()
        ),
        Some(Typed::FileNotice(file)) => format!(
            "file notice           {} -> {}  {} bytes",
            file.from_user_id, file.to_user_id, file.file_size
        ),
        Some(Typed::ConversationRemoved(removed)) => format!(
            "conversation removed  {} removed {}{}",
            removed.user_id,
            group_mark(removed.conversation()),
            removed.conversation_id
        ),
        Some(Typed::SignatureChanged(changed)) => {
            format!("signature changed     {}", changed.user_id)
        }
        Some(Typed::StatusChanged(changed)) => {
            let user = changed.user.clone().unwrap_or_default();
            format!(
                "status changed        {} is {}  ({})",
                user.user_id,
                status(&user),
                change_reason(changed.reason())
            )
        }
        Some(Typed::DesktopLoginChanged(changed)) => format!(
            "desktop login         {} {}",
            changed.user_id,
            if changed.logged_in { "on" } else { "off" }
        ),
        None => format!("unreadable            {}", event.kind().as_str_name()),
    };
    format!("{text}{origin}")
}

fn group_mark(conversation: ConversationType) -> &'static str {
    match conversation {
        ConversationType::Group => "group ",
        ConversationType::Single | ConversationType::Unspecified => "",
    }
}
