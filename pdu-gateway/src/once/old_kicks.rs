//! Kicks (0x070d) that were held up: which clients they are for, and a run of its own for each of them, so that a link can be
//! spared it.
//!
//! A MsgServer kicks when a user logs in, so that other MsgServers drop the user's older client. If that takes a while, the
//! user may have logged in there meanwhile, and would be thrown out by what was meant for the client before. The C++
//! RouteServer holds nothing up; here, a kick that comes at once goes as it does there.

use route_proto::attach::v1::delivery::Payload;
use route_proto::attach::v1::{Delivery, DeliveryRun};

use crate::pdu::kick::{Clients, kicked};
use route_dialect::Dialect;
use route_proto::pdu::{HEADER_LEN, Header};

/// By so much the clocks of two gateways may be compared wrongly, microseconds. A login within that time of a kick is not
/// known to be later.
pub const CLOCKS_ERR: i64 = 100_000;

/// A kick that was read before somebody can have logged in for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldKick {
    /// Whom it is for.
    pub clients: Clients,
    /// When it was read, by our clock, microseconds; negative if that was before we started.
    pub read_at: i64,
}

/// Something in the run was read before this moment, and that matters.
pub fn is_any_old(run: &DeliveryRun, moment: i64) -> bool {
    run.deliveries
        .iter()
        .any(|delivery| is_old(delivery, moment))
}

/// Cuts a run, in order, so that kicks which were read before this moment stand alone.
pub fn cut(
    dialect: &Dialect,
    run: DeliveryRun,
    moment: i64,
) -> Vec<(DeliveryRun, Option<OldKick>)> {
    let mut parts: Vec<(DeliveryRun, Option<OldKick>)> = Vec::new();
    for (position, delivery) in (run.position..).zip(run.deliveries) {
        let kick = old_kick(dialect, &delivery, moment);
        match parts.last_mut() {
            Some((part, None)) if kick.is_none() => part.deliveries.push(delivery),
            Some(_) | None => {
                let part = DeliveryRun {
                    origin: run.origin,
                    targets: run.targets.clone(),
                    position,
                    deliveries: vec![delivery],
                    late: run.late,
                };
                parts.push((part, kick));
            }
        }
    }
    parts
}

fn is_old(delivery: &Delivery, moment: i64) -> bool {
    delivery.read_at_micros != 0 && delivery.read_at_micros < moment
}

/// None also for what cannot be read: a MsgServer cannot read it either.
fn old_kick(dialect: &Dialect, delivery: &Delivery, moment: i64) -> Option<OldKick> {
    let Some(Payload::Pdu(pdu)) = &delivery.payload else {
        return None;
    };
    if !is_old(delivery, moment) {
        return None;
    }
    let (header, body) = pdu.split_first_chunk::<HEADER_LEN>()?;
    let clients = kicked(dialect, Header::read(header).command, body)?;
    Some(OldKick {
        clients,
        read_at: delivery.read_at_micros,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use route_proto::pdu::{command, framed};

    const MOMENT: i64 = 1000;

    #[test]
    fn old_kicks_stand_alone_and_keep_their_places() {
        let run = run(vec![
            delivery(command::MESSAGE, b"", 0),
            kick(7, 999),
            kick(8, 1000),
            delivery(command::MESSAGE, b"", 0),
            kick(9, -1),
            kick(10, 1),
        ]);
        assert!(is_any_old(&run, MOMENT));

        let parts = cut(&Dialect::standard(), run.clone(), MOMENT);

        let shapes: Vec<_> = parts
            .iter()
            .map(|(part, kick)| {
                (
                    part.position,
                    part.deliveries.len(),
                    kick.map(|k| k.read_at),
                )
            })
            .collect();
        let old = [(51, 999), (54, -1), (55, 1)].map(|(place, at)| (place, 1, Some(at)));
        assert_eq!(
            shapes,
            [(50, 1, None), old[0], (52, 2, None), old[1], old[2]]
        );
        assert_eq!(
            parts[1].1.map(|kick| kick.clients),
            Some(Clients::like(7, 1))
        );
        let again: Vec<_> = parts
            .iter()
            .flat_map(|(part, _)| part.deliveries.clone())
            .collect();
        assert_eq!(again, run.deliveries);
        assert!(
            parts
                .iter()
                .all(|(part, _)| part.targets == run.targets && part.late)
        );
    }

    #[test]
    fn what_is_young_or_no_kick_is_not_looked_at() {
        let deliveries = vec![kick(7, 1000), delivery(command::MESSAGE, b"", 0)];

        assert!(!is_any_old(&run(deliveries), MOMENT));
    }

    #[test]
    fn what_cannot_be_read_spares_nobody() {
        let unreadable = [
            delivery(command::KICK_USER, b"\xff", 1),
            // No client type.
            delivery(command::KICK_USER, &[0x08, 7, 0x18, 1], 1),
            // Not a kick, whatever the node thinks of its age.
            delivery(command::MESSAGE, &[0x08, 7, 0x10, 1, 0x18, 1], 1),
            Delivery {
                read_at_micros: 1,
                ..Delivery::default()
            },
        ];

        let parts = cut(&Dialect::standard(), run(unreadable.to_vec()), MOMENT);

        assert!(parts.iter().all(|(_, kick)| kick.is_none()));
        assert_eq!(parts.len(), 1);
    }

    fn run(deliveries: Vec<Delivery>) -> DeliveryRun {
        DeliveryRun {
            targets: vec![1, 2],
            position: 50,
            deliveries,
            late: true,
            ..DeliveryRun::default()
        }
    }

    fn kick(user: u8, read_at: i64) -> Delivery {
        delivery(command::KICK_USER, &[0x08, user, 0x10, 1, 0x18, 1], read_at)
    }

    fn delivery(command: u16, body: &[u8], read_at_micros: i64) -> Delivery {
        Delivery {
            payload: Some(Payload::Pdu(framed(command, 0, body))),
            read_at_micros,
            ..Delivery::default()
        }
    }
}
