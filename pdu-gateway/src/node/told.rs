//! Which notices came lately, and where nodes had routed them: for the node that comes next.
//!
//! When a node is gone, what it had not confirmed is applied again by its successor. Two MsgServers' reports of one user make
//! other notices in another order, so the successor has to keep to the order of its predecessor, as far as anybody has
//! seen anything of it. That is what gateways know: each notice came with its place in that order.
//!
//! Bounded: the notices of some time before the last one, and 65 536 of them. Of what is older, or more, the successor goes by
//! the time of reading.

use std::collections::VecDeque;
use std::time::Duration;

use route_proto::attach::v1::delivery::Payload;
use route_proto::attach::v1::{DeliveryRun, LinkId, Told};

/// A second of the busiest site's; 3 MiB.
const MOST: usize = 65_536;

/// Most of them in one message, whose size has a limit.
const AT_ONCE: usize = 4096;

/// The notices.
#[derive(Debug)]
pub struct Notices {
    remembered: Duration,
    known: VecDeque<Notice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Notice {
    origin: LinkId,
    /// Of the entry that caused it.
    sequence: u64,
    position: u64,
    at: Duration,
}

impl Notices {
    /// None yet. Those that came longer than `remembered` before the last one will be forgotten.
    pub fn new(remembered: Duration) -> Self {
        Self {
            remembered,
            known: VecDeque::new(),
        }
    }

    /// Deliveries have come. Messages among them are nothing to be remembered.
    pub fn note(&mut self, now: Duration, run: &DeliveryRun) {
        let Some(origin) = run.origin.filter(|origin| origin.gateway != 0) else {
            return;
        };
        for (position, delivery) in (run.position..).zip(&run.deliveries) {
            let is_notice = matches!(
                delivery.payload,
                Some(Payload::DesktopLogin(_) | Payload::Status(_))
            );
            if is_notice {
                self.add(Notice {
                    origin,
                    sequence: delivery.sequence,
                    position,
                    at: now,
                });
            }
        }
    }

    /// All of them, as they are told to a node: in messages of limited size.
    pub fn told(&self) -> VecDeque<Vec<Told>> {
        let mut sorted: Vec<&Notice> = self.known.iter().collect();
        sorted.sort_by_key(|n| (n.origin.gateway, n.origin.number, n.sequence));
        let message = |notices: &[&Notice]| {
            let by_origin = notices.chunk_by(|a, b| a.origin == b.origin);
            by_origin
                .map(|notices| Told {
                    origin: Some(notices[0].origin),
                    sequences: notices.iter().map(|n| n.sequence).collect(),
                    positions: notices.iter().map(|n| n.position).collect(),
                })
                .collect()
        };
        sorted.chunks(AT_ONCE).map(message).collect()
    }

    fn add(&mut self, notice: Notice) {
        // An entry mostly causes several, to several links.
        let again =
            |last: &Notice| (last.origin, last.sequence) == (notice.origin, notice.sequence);
        if self.known.back().is_some_and(again) {
            return;
        }
        let remembered = self.remembered;
        let forgotten = |first: &Notice| first.at + remembered < notice.at;
        while self.known.len() >= MOST || self.known.front().is_some_and(forgotten) {
            self.known.pop_front();
        }
        self.known.push_back(notice);
    }
}

#[cfg(test)]
mod tests {
    use route_proto::attach::v1::{Delivery, DesktopLoginNotice, StatusNotice};

    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const REMEMBERED: Duration = Duration::from_secs(30);

    #[test]
    fn an_entry_is_remembered_once_by_the_place_of_its_first_notice() {
        let mut notices = Notices::new(REMEMBERED);
        let run = run(
            7,
            50,
            vec![(3, login()), (3, status()), (4, pdu()), (5, status())],
        );

        notices.note(NOW, &run);

        let told = notices.told();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0][0].sequences, [3, 5]);
        assert_eq!(told[0][0].positions, [50, 53]);
    }

    #[test]
    fn what_the_node_says_by_itself_and_messages_are_nothing() {
        let mut notices = Notices::new(REMEMBERED);

        notices.note(NOW, &run(0, 1, vec![(1, status())]));
        notices.note(NOW, &run(7, 1, vec![(1, pdu())]));

        assert!(notices.told().is_empty());
    }

    #[test]
    fn old_ones_are_forgotten_and_too_many_too() {
        let mut notices = Notices::new(REMEMBERED);
        notices.note(NOW, &run(7, 1, vec![(1, status())]));
        notices.note(NOW + REMEMBERED, &run(7, 2, vec![(2, status())]));
        assert_eq!(notices.known.len(), 2);
        notices.note(NOW + REMEMBERED * 2, &run(7, 3, vec![(3, status())]));
        assert_eq!(notices.known.len(), 2);

        for sequence in 0..MOST as u64 + 10 {
            notices.note(NOW, &run(8, sequence, vec![(sequence, status())]));
        }

        assert_eq!(notices.known.len(), MOST);
        let told = notices.told();
        let in_message = |told: &Vec<Told>| told.iter().map(|t| t.sequences.len()).sum::<usize>();
        assert!(told.iter().all(|told| in_message(told) <= AT_ONCE));
        assert_eq!(told.iter().map(in_message).sum::<usize>(), MOST);
    }

    fn run(gateway: u64, position: u64, deliveries: Vec<(u64, Payload)>) -> DeliveryRun {
        let delivery = |(sequence, payload)| Delivery {
            sequence,
            payload: Some(payload),
            ..Delivery::default()
        };
        DeliveryRun {
            origin: Some(LinkId { gateway, number: 1 }),
            position,
            deliveries: deliveries.into_iter().map(delivery).collect(),
            ..DeliveryRun::default()
        }
    }

    fn login() -> Payload {
        Payload::DesktopLogin(DesktopLoginNotice::default())
    }

    fn status() -> Payload {
        Payload::Status(StatusNotice::default())
    }

    fn pdu() -> Payload {
        Payload::Pdu(bytes::Bytes::new())
    }
}
