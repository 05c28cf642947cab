use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::change::{CloseReason, ListEntry, Peer, ReportedStatus, Restored};
use crate::ids::{ClientType, LinkId, UserId};
use crate::links::{Link, Reach};
use crate::output::Outputs;

const NOW: Duration = Duration::from_secs(100);
const SHARED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Links of one address, by slot: when each has claimed, and its users.
fn links(links: &[(Option<i64>, &[u32])]) -> Presence {
    let unnamed: Vec<_> = links
        .iter()
        .map(|(at, users)| (None, *at, *users))
        .collect();
    named(&unnamed)
}

/// The same with names.
fn named(links: &[(Option<&str>, Option<i64>, &[u32])]) -> Presence {
    let mut presence = Presence::new(crate::settings::Settings::default());
    for (number, (msg_server, claimed_at, users)) in (1..).zip(links) {
        let id = LinkId { gateway: 1, number };
        let restored = Restored {
            opened_at: 0,
            claimed_at: *claimed_at,
            reported: true,
            listed: true,
            opaque: false,
            silent: false,
        };
        let peer = Peer {
            address: SocketAddr::new(SHARED, 4000),
            msg_server: *msg_server,
        };
        let slot = presence.open(Link::new(id, 1, peer, NOW, Some(restored)));
        let entries: Vec<_> = users
            .iter()
            .map(|user| ListEntry {
                user: UserId(*user),
                client_type: ClientType::published(1),
                status: ReportedStatus::Online,
            })
            .collect();
        presence.list(NOW, slot, &entries, &mut Outputs::default());
    }
    presence
}

/// The same; the unclaimed ones are shadows.
fn with_shadows(links: &[(Option<i64>, &[u32])]) -> Presence {
    let mut presence = self::links(links);
    shadows(&mut presence);
    presence
}

fn shadows(presence: &mut Presence) {
    for slot in 0..presence.links.slots() as u32 {
        let link = &mut presence.links[slot];
        if link.claim == Claim::None {
            link.phase = Phase::Open(Part::Shadow);
        }
    }
}

fn standing(presence: &Presence) -> Standing<'_> {
    Standing::new(presence, 10)
}

fn due(presence: &Presence, slot: u32) -> Due {
    standing(presence).due(slot, NOW)
}

const SHADOW: Due = Due::Now(Part::Shadow);
const ACTIVE: Due = Due::Now(Part::Active);

#[test]
fn a_claim_succeeds_the_link_that_holds_much_the_same() {
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
fn one_user_of_another_msg_server_is_not_enough_to_succeed_it() {
    let presence = links(&[(Some(1), &[1, 2, 3]), (None, &[1])]);

    assert_eq!(due(&presence, 1), SHADOW);
    assert_eq!(standing(&presence).predecessor(1), None);
    assert_eq!(standing(&presence).superseded(1), None);
}

#[test]
fn unclaimed_links_are_shadows_of_the_claimed_link_that_holds_their_sessions() {
    let presence = links(&[(Some(1), &[1]), (None, &[1]), (None, &[2]), (None, &[])]);
    assert_eq!(due(&presence, 1), SHADOW);
    assert_eq!(due(&presence, 2), ACTIVE, "a MsgServer that never claims");
    assert_eq!(due(&presence, 3), SHADOW, "nothing is known of it");

    let presence = links(&[(None, &[1]), (None, &[2])]);
    assert_eq!(due(&presence, 0), ACTIVE);
    assert_eq!(due(&presence, 1), ACTIVE);
}

#[test]
fn a_shadow_whose_sessions_no_claimed_link_holds_is_in_doubt() {
    let mut presence = links(&[
        (Some(1), &[1]),
        (Some(1), &[2]),
        (None, &[3]),
        (None, &[1, 2]),
    ]);
    presence.links.set_phase(2, Phase::Open(Part::Shadow));
    presence.links.set_phase(3, Phase::Open(Part::Shadow));

    assert_eq!(due(&presence, 2), Due::Doubted);
    assert_eq!(due(&presence, 3), SHADOW, "others hold all of them");
}

#[test]
fn of_two_unclaimed_links_with_the_same_sessions_the_older_one_stands() {
    let presence = links(&[(None, &[1, 2, 3]), (None, &[1, 2, 3])]);
    assert_eq!(due(&presence, 0), ACTIVE);
    assert_eq!(due(&presence, 1), SHADOW);
    assert_eq!(standing(&presence).stands_for(1), Some(0));

    let presence = links(&[(None, &[1, 2]), (None, &[1, 2])]);
    assert_eq!(due(&presence, 1), ACTIVE, "too few to tell");
}

#[test]
fn a_claimed_link_leaves_a_seat_if_somebody_may_claim() {
    let presence = with_shadows(&[(Some(1), &[1]), (None, &[1])]);
    assert_eq!(standing(&presence).closing(0), Outcome::Seat);

    let presence = with_shadows(&[(Some(1), &[1]), (None, &[])]);
    assert_eq!(standing(&presence).closing(0), Outcome::Seat);

    let presence = links(&[(Some(1), &[1]), (Some(2), &[2])]);
    assert_eq!(standing(&presence).closing(0), Outcome::Ends);

    let presence = with_shadows(&[(Some(1), &[1, 2]), (Some(2), &[3, 4]), (None, &[3, 4])]);
    assert_eq!(
        standing(&presence).closing(0),
        Outcome::Ends,
        "the third one is the second's"
    );
}

#[test]
fn a_seat_goes_to_a_shadow_of_it_unless_a_claim_may_be_on_its_way() {
    let mut presence = with_shadows(&[(Some(1), &[1, 2]), (None, &[1, 2])]);
    presence.links.set_phase(0, Phase::Seat(CloseReason::Peer));
    assert_eq!(standing(&presence).vacancy(0), Outcome::Inherits(1));

    presence.links.reach.set(1, Reach::Silent);
    assert_eq!(standing(&presence).vacancy(0), Outcome::Seat);
    presence
        .links
        .set_phase(0, Phase::Seat(CloseReason::GatewayLost));
    assert_eq!(standing(&presence).vacancy(0), Outcome::Inherits(1));

    let mut presence = with_shadows(&[(Some(1), &[1, 2]), (None, &[3, 4])]);
    presence.links.set_phase(0, Phase::Seat(CloseReason::Peer));
    assert_eq!(standing(&presence).vacancy(0), Outcome::Ends);
}

#[test]
fn a_seat_is_not_for_a_link_whose_own_claimed_link_lives() {
    // The MsgServer was killed and is back; one of its users has logged in again.
    let mut presence = with_shadows(&[(Some(1), &[1]), (Some(2), &[1]), (None, &[1])]);
    presence.links.set_phase(0, Phase::Seat(CloseReason::Peer));

    assert!(!standing(&presence).may_be_claimed(0));
    assert_eq!(standing(&presence).vacancy(0), Outcome::Ends);
}

#[test]
fn of_two_restored_links_of_a_msg_server_the_later_claim_stands() {
    let presence = links(&[(Some(5), &[1, 2]), (Some(9), &[1, 2])]);
    assert_eq!(standing(&presence).back(0, None), Return::IsSucceeded(1));
    assert_eq!(standing(&presence).back(1, None), Return::Succeeds(0));

    // One that has served it meanwhile goes on.
    let presence = links(&[(Some(5), &[1, 2]), (None, &[1, 2])]);
    let stand_in = 1;
    assert_eq!(
        standing(&presence).back(0, None),
        Return::Waits { stand_in }
    );
}

#[test]
fn a_name_says_more_than_tables() {
    let mut presence = named(&[
        (Some("a"), Some(1), &[1, 2]),
        (Some("b"), Some(1), &[3, 4]),
        (Some("a"), None, &[3, 4]),
        (Some("b"), None, &[]),
    ]);
    shadows(&mut presence);
    let standing = standing(&presence);
    assert_eq!(standing.master(2), Some(0));
    assert_eq!(standing.predecessor(2), Some(0));
    assert_eq!(standing.predecessor(3), Some(1));
    assert_eq!(standing.closing(0), Outcome::Seat);
}

#[test]
fn of_a_name_the_newest_claim_with_a_list_stands() {
    let presence = named(&[(Some("a"), Some(1), &[1, 2]), (Some("a"), Some(2), &[])]);
    assert_eq!(standing(&presence).vacant(1), Some(0));
}

#[test]
fn an_unnamed_link_may_be_of_a_named_msg_server_of_its_address() {
    let presence = named(&[(Some("a"), Some(1), &[1, 2]), (None, None, &[1, 2])]);
    assert_eq!(standing(&presence).master(1), Some(0));
    assert_eq!(standing(&presence).predecessor(1), Some(0));
}

#[test]
fn of_more_links_than_are_compared_the_claimed_ones_stand() {
    let mut crowd: Vec<(Option<i64>, &[u32])> = vec![(Some(1), &[1, 2]); 17];
    crowd.push((None, &[1, 2]));
    let mut presence = links(&crowd);
    assert_eq!(due(&presence, 17), ACTIVE, "it keeps its part");
    shadows(&mut presence);
    let standing = standing(&presence);
    assert_eq!(standing.due(17, NOW), SHADOW);
    assert_eq!(standing.predecessor(17), None);
    assert_eq!(standing.closing(0), Outcome::Ends);
}
