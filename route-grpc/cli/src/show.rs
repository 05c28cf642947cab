//! How answers look on a terminal, and where they are written to.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use prost_types::Timestamp;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::{
    ChangeReason, ClientType, ConversationType, Event, Gap, GapReason, KickReason, UserStatus,
};

use crate::failure::Failure;

/// Writes one line. If nobody reads the output, the command ends without an error.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    Ok(output.flush()?)
}

/// Set once, before anything is said: the command has `--json`.
static WANTS_JSON: AtomicBool = AtomicBool::new(false);

/// What follows is said in JSON, on standard error too.
pub(crate) fn speak_json() {
    WANTS_JSON.store(true, Ordering::Relaxed);
}

/// On standard error: it does not change how the command ends. With `--json` it is an object.
#[allow(clippy::print_stderr)] // output is what a command is for
pub(crate) fn warning(text: &str) {
    match WANTS_JSON.load(Ordering::Relaxed) {
        true => eprintln!("{}", serde_json::json!({ "warning": text })),
        false => eprintln!("route-grpc: {text}"),
    }
}

/// Below an empty table: perhaps the name is mistyped.
pub(crate) fn no_such_server(name: &str) -> Result<(), Failure> {
    line(&format!(
        "-- none of MsgServer {name}; `route-grpc links` shows the names"
    ))
}

/// An enum value in a word: its name without the prefix that all values of its type have.
pub(crate) fn word(prefix: &str, name: &str) -> String {
    match name.strip_prefix(prefix) {
        Some("UNSPECIFIED") | None => "unknown".to_owned(),
        Some(word) => word.to_lowercase().replace('_', " "),
    }
}

/// A moment in the reader's time zone: the time today, else the day and the time; `-` if it is not known.
pub(crate) fn time(at: Option<&Timestamp>) -> String {
    let at = at.and_then(|at| jiff::Timestamp::new(at.seconds, at.nanos).ok());
    at.map_or_else(|| "-".to_owned(), |at| time_as_of(at, &jiff::Zoned::now()))
}

fn time_as_of(at: jiff::Timestamp, now: &jiff::Zoned) -> String {
    let at = at.to_zoned(now.time_zone().clone());
    match at.date() == now.date() {
        true => at.strftime("%H:%M:%S").to_string(),
        false => at.strftime("%Y-%m-%d %H:%M").to_string(),
    }
}

/// A time in seconds, to a tenth.
pub(crate) fn seconds(time: Option<&prost_types::Duration>) -> String {
    let time = time.and_then(|it| std::time::Duration::try_from(*it).ok());
    format!("{:.1} s", time.unwrap_or_default().as_secs_f64())
}

/// So many of these, in words.
pub(crate) fn count_of(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Bytes with a unit.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = UNITS.iter().find(|(_, bits)| count >> bits > 0);
    match unit {
        None => format!("{count} B"),
        Some((name, bits)) => {
            let tenths = ((count >> (bits - 10)) * 10) >> 10;
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}

/// A user's status in a word.
pub(crate) fn status(user: &UserStatus) -> String {
    word("PRESENCE_STATUS_", user.status().as_str_name())
}

/// What legacy clients see, in a word.
pub(crate) fn legacy_status(user: &UserStatus) -> String {
    word("LEGACY_STATUS_", user.legacy_status().as_str_name())
}

/// A client type as people call it.
pub(crate) fn client_type(value: i32) -> String {
    let name = match ClientType::try_from(value) {
        Ok(ClientType::Windows) => "Windows",
        Ok(ClientType::Mac) => "Mac",
        Ok(ClientType::Ios) => "iOS",
        Ok(ClientType::Android) => "Android",
        Ok(ClientType::Unspecified) | Err(_) => return format!("{value:#04x}"),
    };
    name.to_owned()
}

/// Why a client is disconnected, in words.
fn kick_reason(value: i32) -> String {
    match KickReason::try_from(value) {
        Ok(reason) => word("KICK_REASON_", reason.as_str_name()),
        Err(_) => format!("reason {value}"),
    }
}

/// Why a status changed, in words.
pub(crate) fn change_reason(reason: ChangeReason) -> String {
    word("CHANGE_REASON_", reason.as_str_name())
}

/// A gap in words.
pub(crate) fn gap(gap: &Gap) -> String {
    let reason = match gap.reason() {
        GapReason::Compacted => "away for too long",
        GapReason::EpochChanged => "the node was restarted",
        GapReason::SlowConsumer => "too slow",
        GapReason::FilterChanged => "other users or options than before",
        GapReason::Unspecified => "unknown",
    };
    if gap.missed_count == 0 {
        format!("-- gap: {reason}")
    } else {
        format!("-- gap: {} events missed ({reason})", gap.missed_count)
    }
}

/// An event in one line, without what users wrote.
pub(crate) fn event(event: &Event) -> String {
    let kind = match event.body {
        Some(_) => word("EVENT_KIND_", event.kind().as_str_name()),
        None => "unreadable".to_owned(),
    };
    let origin = match event.origin_link.as_str() {
        "" => String::new(),
        link => format!("  [{link}]"),
    };
    format!("{kind:<22}{}{origin}", details(event))
}

fn details(event: &Event) -> String {
    match &event.body {
        Some(Typed::ChatMessage(chat)) => format!(
            "{} -> {}{}  message {}, {} bytes",
            chat.from_user_id,
            group_mark(chat.conversation_type()),
            chat.to_id,
            chat.message_id,
            chat.content.len()
        ),
        Some(Typed::P2pCommand(p2p)) => format!(
            "{} -> {}  {} bytes",
            p2p.from_user_id,
            p2p.to_user_id,
            p2p.command.len()
        ),
        Some(Typed::ReadReceipt(read)) => format!(
            "{} in {}{}  up to message {}",
            read.user_id,
            group_mark(read.conversation_type()),
            read.conversation_id,
            read.message_id
        ),
        Some(Typed::Kick(kick)) => {
            let client = client_type(kick.client_type);
            let reason = kick_reason(kick.reason);
            format!("{} on {client}  ({reason})", kick.user_id)
        }
        Some(Typed::GroupChange(group)) => format!(
            "group {} by {}  {} changed, {} members",
            group.group_id,
            group.user_id,
            group.changed_ids.len(),
            group.member_ids.len()
        ),
        Some(Typed::FileNotice(file)) => {
            let (from, to, bytes) = (file.from_user_id, file.to_user_id, file.file_size_bytes);
            format!("{from} -> {to}  {bytes} bytes")
        }
        Some(Typed::ConversationRemoval(removed)) => {
            let group = group_mark(removed.conversation_type());
            format!(
                "{} removed {group}{}",
                removed.user_id, removed.conversation_id
            )
        }
        Some(Typed::SignatureChange(changed)) => changed.user_id.to_string(),
        Some(Typed::StatusChange(changed)) => {
            let user = changed.user.clone().unwrap_or_default();
            let reason = change_reason(changed.reason());
            format!("{} is {}  ({reason})", user.user_id, status(&user))
        }
        Some(Typed::DesktopLoginChange(changed)) => {
            let state = if changed.logged_in { "on" } else { "off" };
            format!("{} {state}", changed.user_id)
        }
        Some(Typed::OtherCommand(other)) => {
            format!("{:#06x}  {} users", other.command_id, other.user_ids.len())
        }
        None => event.kind().as_str_name().to_owned(),
    }
}

fn group_mark(conversation: ConversationType) -> &'static str {
    match conversation {
        ConversationType::Group => "group ",
        ConversationType::Single | ConversationType::Unspecified => "",
    }
}
