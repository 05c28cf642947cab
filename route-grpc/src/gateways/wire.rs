//! The core's values as they stand on the wire between gateway and node, and back.

use bytes::Bytes;
use route_core::{
    ClientType, Item, LinkId, Payload, Peer, ReportedStatus, ReturnedRun, Taken, UserId,
};
use route_dialect::{Class, Dialect};
use route_proto::attach::is_msg_server_name;
use route_proto::attach::v1::{
    Delivery, DeliveryRun, DesktopLoginNotice, LinkId as WireLinkId, LinkOpened,
    ReportedStatus as WireStatus, StatusNotice, TakenMark, delivery,
};

use super::clock_offset::ClockOffset;
use crate::refusal::Refusal;

/// A link's name.
pub(super) fn link(link: LinkId) -> WireLinkId {
    WireLinkId {
        gateway: link.gateway,
        number: link.number,
    }
}

fn read_link(link: Option<WireLinkId>) -> LinkId {
    let link = link.unwrap_or_default();
    LinkId::new(link.gateway, link.number)
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

/// Deliveries that this link gives back; their times are those of this clock.
pub(crate) fn read_run(
    link: LinkId,
    run: DeliveryRun,
    clock: ClockOffset,
) -> Result<ReturnedRun, Refusal> {
    let items = run.deliveries.into_iter();
    let items = items.map(|delivery| read_delivery(link, delivery, clock));
    Ok(ReturnedRun {
        origin: read_link(run.origin),
        position: run.position,
        items: items.collect::<Result<_, _>>()?,
        receipts: Vec::new(),
    })
}

fn read_delivery(link: LinkId, delivery: Delivery, clock: ClockOffset) -> Result<Item, Refusal> {
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
            status: read_status(link, notice.status)?,
        },
        None => {
            let problem = format!("link {link}: a returned delivery without payload");
            return Err(Refusal::protocol(problem));
        }
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
pub(super) fn read_taken(mark: &TakenMark) -> Taken {
    Taken {
        origin: read_link(mark.origin),
        sequence: mark.sequence,
        index: mark.index,
    }
}

/// Where a link comes from, as its gateway says.
pub(super) fn read_peer(link: LinkId, opened: &LinkOpened) -> Result<Peer<'_>, Refusal> {
    let address = opened
        .peer
        .parse()
        .map_err(|_| Refusal::protocol(format!("link {link}: {:?} is not ip:port", opened.peer)))?;
    let msg_server = (!opened.msg_server.is_empty()).then_some(opened.msg_server.as_str());
    if msg_server.is_some_and(|name| !is_msg_server_name(name)) {
        return Err(Refusal::protocol(format!(
            "link {link}: {:?} cannot be the name of a MsgServer",
            opened.msg_server
        )));
    }
    Ok(Peer {
        address,
        msg_server,
    })
}

/// What kind of client this link reports, in the dialect of its gateway.
pub(super) fn read_client_type(
    link: LinkId,
    dialect: &Dialect,
    value: u32,
) -> Result<ClientType, Refusal> {
    match (u8::try_from(value), dialect.class(value)) {
        (Ok(number), Some(class)) => Ok(ClientType {
            number,
            mobile: class == Class::Mobile,
        }),
        _ => Err(Refusal::protocol(format!(
            "link {link}: its dialect has no client type {value:#04x}"
        ))),
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
pub(super) fn read_status(link: LinkId, value: i32) -> Result<ReportedStatus, Refusal> {
    match WireStatus::try_from(value) {
        Ok(WireStatus::Online) => Ok(ReportedStatus::Online),
        Ok(WireStatus::Offline) => Ok(ReportedStatus::Offline),
        Ok(WireStatus::Away) => Ok(ReportedStatus::Away),
        Ok(WireStatus::Unspecified) | Err(_) => Err(Refusal::protocol(format!(
            "link {link}: {value} is no status"
        ))),
    }
}
