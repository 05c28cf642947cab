//! What an entry from a gateway is, and whether it can be.

use std::collections::VecDeque;

use route_core::{Audience, LinkId};
use route_dialect::Dialect;
use route_proto::attach::v1::uplink_entry::Entry;
use route_proto::attach::v1::{AudienceScope, Envelope, Returned, SessionUpdate, UplinkEntry};
use route_proto::pdu::Header;

use super::check;
use super::rows::Rows;
use super::sequences::Kind;
use super::wire::{check_run, read_client_type, read_peer, read_status, read_taken};
use crate::refusal::Refusal;

/// Marks of one closed link: of each link that may have written to it.
const MAX_MARKS: usize = 65_536;

const OPENED_AT: &str = "entries.opened.opened_at_micros";

const CLAIMED_AT: &str = "entries.opened.restored.claimed_at_micros";

/// Checks entries of a gateway that speaks this dialect. Returns those before the first one that
/// cannot be, and why that cannot.
pub(crate) fn checked(
    entries: Vec<UplinkEntry>,
    gateway: u64,
    dialect: &Dialect,
    pdu_limit: usize,
) -> (VecDeque<UplinkEntry>, Option<Refusal>) {
    let mut entries = VecDeque::from(entries);
    let check = |entry: &UplinkEntry| check_entry(entry, gateway, dialect, pdu_limit).err();
    let mut refusals = entries.iter().map(check).enumerate();
    let refused = refusals.find_map(|(place, refusal)| Some((place, refusal?)));
    let Some((place, refusal)) = refused else {
        return (entries, None);
    };
    entries.truncate(place);
    (entries, Some(refusal))
}

fn check_entry(
    entry: &UplinkEntry,
    gateway: u64,
    dialect: &Dialect,
    pdu_limit: usize,
) -> Result<(), Refusal> {
    let link = LinkId::new(gateway, entry.link);
    check::number("entries.read_at_micros", entry.read_at_micros)?;
    match &entry.entry {
        Some(Entry::Opened(opened)) => {
            let claimed_at = opened
                .restored
                .as_ref()
                .map_or(0, |it| it.claimed_at_micros);
            check::number(CLAIMED_AT, claimed_at)?;
            check::number(OPENED_AT, opened.opened_at_micros)?;
            read_peer(link, opened).map(|_| ())
        }
        Some(Entry::Table(part)) => part.check(link, dialect),
        Some(Entry::List(list)) => list.check(link, dialect),
        Some(Entry::Update(update)) => check_update(link, *update, dialect),
        Some(Entry::Query(query)) => {
            check::traceparent("entries.query.traceparent", &query.traceparent)
        }
        Some(Entry::Envelope(envelope)) => read_envelope(link, envelope, pdu_limit).map(|_| ()),
        Some(Entry::Returned(returned)) => check_returned(link, returned, pdu_limit),
        Some(Entry::Closed(_) | Entry::Role(_) | Entry::Silence(_) | Entry::Unreadable(_)) => {
            Ok(())
        }
        None => {
            let (number, sequence) = (entry.link, entry.sequence);
            let problem = format!("entry {sequence} of link {number} is of an unknown kind");
            Err(Refusal::field("entries.entry", problem))
        }
    }
}

fn check_update(link: LinkId, update: SessionUpdate, dialect: &Dialect) -> Result<(), Refusal> {
    const TYPE: &str = "entries.update.client_type";
    read_client_type(TYPE, link, dialect, update.client_type)?;
    read_status("entries.update.status", link, update.status).map(|_| ())
}

fn check_returned(link: LinkId, returned: &Returned, pdu_limit: usize) -> Result<(), Refusal> {
    let mut runs = returned.runs.iter();
    runs.try_for_each(|run| check_run(link, run, pdu_limit))?;
    check::length("entries.returned.taken", returned.taken.len(), MAX_MARKS)?;
    let mut taken = returned.taken.iter();
    taken.try_for_each(|mark| read_taken(mark).map(|_| ()))
}

/// What an envelope is, and whom it concerns.
pub(super) fn read_envelope(
    link: LinkId,
    envelope: &Envelope,
    pdu_limit: usize,
) -> Result<(Header, Audience<'_>), Refusal> {
    check::traceparent("entries.envelope.traceparent", &envelope.traceparent)?;
    let header = check::pdu("entries.envelope.pdu", &envelope.pdu, pdu_limit)?;
    // Each is named in the PDU.
    let (users, most) = (envelope.user_ids.len(), envelope.pdu.len());
    check::length("entries.envelope.user_ids", users, most)?;
    if u32::from(header.command) != envelope.command {
        let problem = format!("link {link}: the PDU's header has another one");
        return Err(Refusal::field("entries.envelope.command", problem));
    }
    let audience = match envelope.scope() {
        AudienceScope::Users => Audience::Users(&envelope.user_ids),
        AudienceScope::Reporters => Audience::Reporters,
        AudienceScope::Others => Audience::Others,
        AudienceScope::UnparsedAll => Audience::UnparsedAll,
        AudienceScope::Sessions => Audience::Sessions,
        AudienceScope::Unspecified => {
            let problem = format!("link {link}: an unknown one");
            return Err(Refusal::field("entries.envelope.scope", problem));
        }
    };
    Ok((header, audience))
}

/// As far as its number is concerned.
pub(crate) fn kind(entry: &Entry) -> Kind {
    match entry {
        Entry::Opened(opened) if opened.restored.is_some() => Kind::Reopened,
        Entry::Opened(_) => Kind::Opened,
        Entry::Closed(_) => Kind::Closed,
        Entry::Table(table) => Kind::Table { last: table.last },
        Entry::Query(_) => Kind::Query,
        Entry::Returned(returned) => Kind::Returned {
            last: returned.last,
        },
        Entry::List(_)
        | Entry::Update(_)
        | Entry::Role(_)
        | Entry::Envelope(_)
        | Entry::Silence(_)
        | Entry::Unreadable(_) => Kind::Other,
    }
}

/// The entry belongs to the table of a link that the node has lost.
pub(crate) fn is_replay(entry: &UplinkEntry) -> bool {
    let kind = entry.entry.as_ref().map(kind);
    matches!(kind, Some(Kind::Reopened | Kind::Table { .. }))
}
