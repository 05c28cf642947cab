//! The core's values as they stand on the wire between gateway and node, and back.

use bytes::Bytes;
use route_core::{
    ClientType, Item, LinkId, PREDECESSORS, Payload, Peer, ReportedStatus, ReturnedRun, Taken,
    UserId,
};
use route_dialect::{Class, Dialect};
use route_proto::attach::is_msg_server_name;
use route_proto::attach::v1::{
    Delivery, DeliveryRun, DesktopLoginNotice, LinkId as WireLinkId, LinkOpened,
    ReportedStatus as WireStatus, RestoredLink, StatusNotice, TakenMark, delivery,
};

use super::check;
use super::clock_offset::ClockOffset;
use crate::refusal::Refusal;

const DELIVERY: &str = "entries.returned.runs.deliveries";

/// A link's name.
pub(super) fn link(link: LinkId) -> WireLinkId {
    WireLinkId {
        gateway: link.gateway,
        number: link.number,
    }
}

/// The link, or the node itself, that something is from.
pub(crate) fn read_link(field: &'static str, link: Option<WireLinkId>) -> Result<LinkId, Refusal> {
    let link = link.unwrap_or_default();
    check::number(field, link.number)?;
    Ok(LinkId::new(link.gateway, link.number))
}

/// A delivery for a gateway with this clock.
pub(super) fn delivery(item: &Item, clock: ClockOffset, traceparent: String) -> Delivery {
    let mut read_at_micros = 0;
    let payload = match &item.payload {
        Payload::Pdu(pdu) => delivery::Payload::Pdu(pdu.clone()),
        Payload::Perishable(perishable) => {
            read_at_micros = match clock.gateway_micros(perishable.read_at) {
                // On the wire 0 says that there is none.
                0 => 1,
                read_at => read_at,
            };
            delivery::Payload::Pdu(perishable.pdu.clone())
        }
        Payload::DesktopLogin { user, on } => delivery::Payload::DesktopLogin(DesktopLoginNotice {
            user_id: user.0,
            logged_in: *on,
        }),
        Payload::Status { user, status } => delivery::Payload::Status(StatusNotice {
            user_id: user.0,
            status: reported(*status).into(),
        }),
    };
    Delivery {
        sequence: item.sequence,
        index: item.index,
        payload: Some(payload),
        traceparent,
        read_at_micros,
    }
}

/// Deliveries that this link gives back, of PDUs up to this length; their times are those of this
/// clock.
pub(crate) fn read_run(
    link: LinkId,
    run: DeliveryRun,
    clock: ClockOffset,
    pdu_limit: usize,
) -> Result<ReturnedRun, Refusal> {
    let origin = read_link("entries.returned.runs.origin", run.origin)?;
    check::number("entries.returned.runs.position", run.position)?;
    let items = run.deliveries.into_iter();
    let items = items.map(|delivery| read_delivery(link, delivery, clock, pdu_limit));
    Ok(ReturnedRun {
        origin,
        position: run.position,
        items: items.collect::<Result<_, _>>()?,
        receipts: Vec::new(),
    })
}

/// Refuses a run that [`read_run`] would refuse.
pub(super) fn check_run(link: LinkId, run: &DeliveryRun, pdu_limit: usize) -> Result<(), Refusal> {
    read_link("entries.returned.runs.origin", run.origin)?;
    check::number("entries.returned.runs.position", run.position)?;
    let mut deliveries = run.deliveries.iter();
    deliveries.try_for_each(|delivery| check_delivery(link, delivery, pdu_limit))
}

fn check_delivery(link: LinkId, delivery: &Delivery, pdu_limit: usize) -> Result<(), Refusal> {
    check::number(
        "entries.returned.runs.deliveries.sequence",
        delivery.sequence,
    )?;
    match &delivery.payload {
        Some(delivery::Payload::Pdu(pdu)) => {
            check::pdu("entries.returned.runs.deliveries.pdu", pdu, pdu_limit).map(|_| ())
        }
        Some(delivery::Payload::DesktopLogin(_)) => Ok(()),
        Some(delivery::Payload::Status(notice)) => {
            read_status(DELIVERY, link, notice.status).map(|_| ())
        }
        None => {
            let problem = format!("link {link}: one without payload");
            Err(Refusal::field(DELIVERY, problem))
        }
    }
}

fn read_delivery(
    link: LinkId,
    delivery: Delivery,
    clock: ClockOffset,
    pdu_limit: usize,
) -> Result<Item, Refusal> {
    check_delivery(link, &delivery, pdu_limit)?;
    let payload = match delivery.payload {
        Some(delivery::Payload::Pdu(pdu)) => {
            let read_at = match delivery.read_at_micros {
                0 => None,
                read_at => Some(clock.node_micros(read_at)),
            };
            // It is a part of something larger.
            Payload::of_pdu(Bytes::copy_from_slice(&pdu), read_at)
        }
        Some(delivery::Payload::DesktopLogin(notice)) => Payload::DesktopLogin {
            user: UserId(notice.user_id),
            on: notice.logged_in,
        },
        Some(delivery::Payload::Status(notice)) => Payload::Status {
            user: UserId(notice.user_id),
            status: read_status(DELIVERY, link, notice.status)?,
        },
        None => return Err(Refusal::field(DELIVERY, "one without payload")),
    };
    Ok(Item {
        sequence: delivery.sequence,
        index: delivery.index,
        payload,
    })
}

/// Up to where one origin's deliveries were written.
pub(super) fn taken(taken: &Taken) -> TakenMark {
    TakenMark {
        origin: Some(link(taken.origin)),
        sequence: taken.sequence,
        index: taken.index,
    }
}

/// The same, as a gateway says it.
pub(super) fn read_taken(mark: &TakenMark) -> Result<Taken, Refusal> {
    check::number("entries.returned.taken.sequence", mark.sequence)?;
    Ok(Taken {
        origin: read_link("entries.returned.taken.origin", mark.origin)?,
        sequence: mark.sequence,
        index: mark.index,
    })
}

/// Whose place a restored link has taken.
pub(super) fn read_predecessors(restored: &RestoredLink) -> Result<Vec<LinkId>, Refusal> {
    const FIELD: &str = "entries.opened.restored.predecessors";
    let predecessors = &restored.predecessors;
    check::length(FIELD, predecessors.len(), PREDECESSORS)?;
    let links = predecessors.iter();
    links.map(|link| read_link(FIELD, Some(*link))).collect()
}

/// Where a link comes from, as its gateway says.
pub(super) fn read_peer(link: LinkId, opened: &LinkOpened) -> Result<Peer<'_>, Refusal> {
    let address = opened.peer.parse().map_err(|_| {
        let problem = format!("link {link}: not ip:port");
        Refusal::field("entries.opened.peer", problem)
    })?;
    let msg_server = (!opened.msg_server.is_empty()).then_some(opened.msg_server.as_str());
    if msg_server.is_some_and(|name| !is_msg_server_name(name)) {
        let problem = format!("link {link}: not 1 to 63 characters of [A-Za-z0-9._-]");
        return Err(Refusal::field("entries.opened.msg_server", problem));
    }
    Ok(Peer {
        address,
        msg_server,
    })
}

/// What kind of client this link reports, in the dialect of its gateway.
pub(super) fn read_client_type(
    field: &'static str,
    link: LinkId,
    dialect: &Dialect,
    value: u32,
) -> Result<ClientType, Refusal> {
    match (u8::try_from(value), dialect.class(value)) {
        (Ok(number), Some(class)) => Ok(ClientType {
            number,
            mobile: class == Class::Mobile,
        }),
        _ => {
            let problem = format!("link {link}: its dialect has no client type {value:#04x}");
            Err(Refusal::field(field, problem))
        }
    }
}

/// A status as it is reported, and told.
pub(super) fn reported(status: ReportedStatus) -> WireStatus {
    match status {
        ReportedStatus::Online => WireStatus::Online,
        ReportedStatus::Offline => WireStatus::Offline,
        ReportedStatus::Away => WireStatus::Away,
    }
}

/// A status that this link reports.
pub(super) fn read_status(
    field: &'static str,
    link: LinkId,
    value: i32,
) -> Result<ReportedStatus, Refusal> {
    match WireStatus::try_from(value) {
        Ok(WireStatus::Online) => Ok(ReportedStatus::Online),
        Ok(WireStatus::Offline) => Ok(ReportedStatus::Offline),
        Ok(WireStatus::Away) => Ok(ReportedStatus::Away),
        Ok(WireStatus::Unspecified) | Err(_) => {
            let problem = format!("link {link}: {value} is no status");
            Err(Refusal::field(field, problem))
        }
    }
}
