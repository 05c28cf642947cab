use std::net::SocketAddr;

use super::*;
use crate::change::{ListEntry, ReportedStatus, Restored};
use crate::ids::{ClientType, LinkId, UserId};
use crate::links::{Link, Reach};
use crate::output::Outputs;
use crate::settings::FanOut;

const NOW: Duration = Duration::from_secs(100);
const SHARED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Links of one address, by slot: when each has claimed, and its users.
fn links(links: &[(Option<i64>, &[u32])]) -> Presence {
    let mut presence = Presence::new(FanOut::Directed);
    for (number, (claimed_at, users)) in (1..).zip(links) {
        let id = LinkId { gateway: 1, number };
        let restored = Restored {
            claimed_at: *claimed_at,
            reported: true,
            listed: true,
            opaque: false,
        };
        let peer = SocketAddr::new(SHARED, 4000);
        let slot = presence.open(Link::new(id, 1, peer, Some(restored)));
        let entries: Vec<_> = users
            .iter()
            .map(|user| ListEntry {
                user: UserId(*user),
                client_type: ClientType(1),
                status: ReportedStatus::Online,
            })
            .collect();
        presence.list(NOW, slot, &entries, &mut Outputs::default());
    }
    presence
}

fn standing(presence: &Presence) -> Standing<'_> {
    Standing::new(presence, NOW, 10)
}

#[test]
fn a_claim_inherits_from_the_link_with_the_table_most_like_its_own() {
    let presence = links(&[
        (Some(1), &[1, 2, 3]),
        (Some(2), &[11, 12, 13]),
        (None, &[11, 12]),
        (None, &[21, 22]),
    ]);

    assert_eq!(standing(&presence).predecessor(2), Some(1));
    assert_eq!(standing(&presence).predecessor(3), None);
}

#[test]
fn unclaimed_links_are_shadows_of_a_claimed_one_and_active_without() {
    let presence = links(&[(Some(1), &[1]), (None, &[1]), (None, &[2])]);
    assert_eq!(
        standing(&presence).followers(SHARED),
        (Part::Shadow, vec![1, 2])
    );

    let presence = links(&[(None, &[1]), (None, &[2])]);
    assert_eq!(
        standing(&presence).followers(SHARED),
        (Part::Active, vec![])
    );
}

#[test]
fn a_claimed_link_leaves_a_seat_if_somebody_may_claim() {
    let presence = links(&[(Some(1), &[1]), (None, &[1])]);
    assert_eq!(standing(&presence).closing(0), Outcome::Seat);
    assert_eq!(standing(&presence).closing(1), Outcome::Ends);

    let presence = links(&[(Some(1), &[1]), (Some(2), &[2])]);
    assert_eq!(standing(&presence).closing(0), Outcome::Ends);
}

#[test]
fn a_seat_that_nobody_claims_goes_to_a_link_like_it_unless_a_claim_may_be_on_its_way() {
    let mut presence = links(&[(Some(1), &[1, 2]), (None, &[1, 2])]);
    presence.links[0].phase = Phase::Seat(CloseReason::Peer);
    assert_eq!(standing(&presence).vacancy(0), Outcome::Inherits(1));

    presence.links.reach.set(1, Reach::Silent);
    assert_eq!(standing(&presence).vacancy(0), Outcome::Seat);
    presence.links[0].phase = Phase::Seat(CloseReason::GatewayLost);
    assert_eq!(standing(&presence).vacancy(0), Outcome::Inherits(1));

    let mut presence = links(&[(Some(1), &[1, 2]), (None, &[3, 4])]);
    presence.links[0].phase = Phase::Seat(CloseReason::Peer);
    assert_eq!(standing(&presence).vacancy(0), Outcome::Ends);
}

#[test]
fn of_two_restored_links_of_a_msg_server_the_later_claim_stands() {
    let presence = links(&[(Some(5), &[1, 2]), (Some(9), &[1, 2])]);
    assert_eq!(standing(&presence).back(0), Return::IsSucceeded(1));
    assert_eq!(standing(&presence).back(1), Return::Succeeds(0));

    // One that has served it meanwhile goes on.
    let presence = links(&[(Some(5), &[1, 2]), (None, &[1, 2])]);
    let stand_in = 1;
    assert_eq!(standing(&presence).back(0), Return::Waits { stand_in });
}
