//! Who would get something, who not, and why.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use route_core::{
    Audience, Change, ClientType, Command, Core, Effect, LinkError, LinkId, ListEntry, Peer, Reach,
    Recipients, ReportedStatus, Settings, UserId, Why, WhyNot,
};

/// Claimed, user 1. Its second connection lists the same.
const A: LinkId = LinkId::new(1, 1);
const A_SHADOW: LinkId = LinkId::new(1, 2);
/// Claimed, user 2 with a mobile client, at another gateway.
const B: LinkId = LinkId::new(2, 1);
/// Has said nothing.
const SILENT: LinkId = LinkId::new(2, 2);

fn site() -> Core {
    let mut core = Core::new(Settings::default());
    let mut transaction = core.transaction(Duration::ZERO);
    for (link, name, clients) in [
        (A, "a", &[(1, 0x01)][..]),
        (A_SHADOW, "a", &[(1, 0x01)]),
        (B, "b", &[(2, 0x11)]),
        (SILENT, "c", &[]),
    ] {
        let address = SocketAddr::from(([10, 0, 0, 1], 4000));
        let peer = Peer {
            address,
            msg_server: Some(name),
        };
        let opened = Change::Opened {
            peer,
            restored: None,
        };
        let entries: Vec<_> = clients
            .iter()
            .map(|(user, client_type)| ListEntry {
                user: UserId(*user),
                client_type: ClientType::published(*client_type),
                status: ReportedStatus::Online,
            })
            .collect();
        let list = Change::List {
            entries: &entries,
            last: true,
        };
        let claims = [A, B].contains(&link);
        let role = Change::Role { claimed: claims };
        let changes = [opened, role, list];
        let silent = link == SILENT;
        for (sequence, change) in (1..).zip(changes.into_iter().take(if silent { 1 } else { 3 })) {
            let applied = transaction.apply(link, sequence, change, Effect::Notify);
            applied.unwrap();
        }
    }
    drop(transaction);
    core
}

fn recipients(core: &mut Core, origin: Option<LinkId>, audience: Audience<'_>) -> Recipients {
    let mut transaction = core.transaction(Duration::ZERO);
    transaction.recipients(origin, audience, None).unwrap()
}

fn spared(found: &Recipients) -> Vec<(LinkId, WhyNot)> {
    let spared = found.spared.iter();
    spared.map(|it| (it.link, it.why)).collect()
}

#[test]
fn everybody_is_a_target_or_is_told_why_not() {
    let mut core = site();

    let chat = recipients(&mut core, Some(A), Audience::Users(&[1, 2, 9, 9]));

    let [target] = chat.targets.as_slice() else {
        panic!("{chat:?}");
    };
    assert_eq!(target.link, B);
    assert_eq!(target.why, Why::HasUsers(vec![2]));
    assert!(!target.held && !target.detached);
    let expected = [
        (A, WhyNot::Origin),
        (A_SHADOW, WhyNot::Shadow),
        (SILENT, WhyNot::HasNoUsers),
    ];
    assert_eq!(spared(&chat), expected);
    assert_eq!(chat.unknown, [9]);
    assert!(!chat.more);
}

#[test]
fn what_a_shadow_sends_does_not_go_to_its_msg_server() {
    let mut core = site();

    let chat = recipients(&mut core, Some(A_SHADOW), Audience::Users(&[1]));

    assert_eq!(chat.targets, []);
    let of_a = [(A, WhyNot::OriginMsgServer), (A_SHADOW, WhyNot::Origin)];
    assert_eq!(spared(&chat)[..2], of_a);
}

#[test]
fn each_audience_has_its_reason() {
    for (audience, b, silent) in [
        (Audience::Reporters, None, Some(WhyNot::NeverReported)),
        (Audience::Sessions, None, Some(WhyNot::HasNoSessions)),
        (
            Audience::Desktops,
            Some(WhyNot::HasNoDesktops),
            Some(WhyNot::HasNoDesktops),
        ),
        (Audience::Everyone, None, None),
    ] {
        let mut core = site();
        let found = recipients(&mut core, None, audience);
        let why = |link| found.spared.iter().find(|it| it.link == link);
        assert_eq!(why(B).map(|it| it.why), b, "{audience:?}");
        assert_eq!(why(SILENT).map(|it| it.why), silent, "{audience:?}");
    }
}

#[test]
fn what_is_for_a_gateway_that_is_away_waits() {
    let mut core = site();
    let mut transaction = core.transaction(Duration::ZERO);
    transaction.set_reach(2, Reach::Away);

    let chat = transaction.recipients(None, Audience::Users(&[2]), Some("b"));

    let chat = chat.unwrap();
    assert!(chat.targets[0].detached && chat.spared.is_empty());
}

/// Other events stand between them.
#[test]
fn where_each_envelope_went_is_among_the_outputs() {
    let mut core = site();
    let mut transaction = core.transaction(Duration::ZERO);
    let mut sequence = 10;
    for user in [2, 9, 1] {
        let update = Change::Update {
            user: UserId(100 + user),
            client_type: ClientType::published(0x01),
            status: ReportedStatus::Online,
        };
        transaction
            .apply(A, sequence, update, Effect::Notify)
            .unwrap();
        let (command, pdu) = (
            Command {
                id: user as u16,
                dialect: 0,
            },
            Bytes::new(),
        );
        let audience = [1, user];
        let audience = Audience::Users(&audience);
        sequence += 2;
        transaction
            .route(A, sequence - 1, command, audience, pdu, None)
            .unwrap();
    }

    let seen: Vec<_> = transaction
        .routed()
        .map(|it| {
            let origin = it.origin.map(|origin| origin.id);
            assert_eq!(origin, Some(A));
            (
                it.command.id,
                it.targets.to_vec(),
                it.unknown_users,
                it.nobody,
            )
        })
        .collect();

    assert_eq!(
        seen,
        [
            (2, vec![B], 0, None),
            (9, vec![], 1, Some(WhyNot::HasNoUsers)),
            // His other session is on a shadow.
            (1, vec![], 0, Some(WhyNot::Shadow)),
        ]
    );
    transaction.outputs().forget_events();
    assert_eq!(transaction.routed().count(), 0);
}

#[test]
fn it_asks_for_an_open_link() {
    let mut core = site();
    let mut transaction = core.transaction(Duration::ZERO);
    let gone = LinkId::new(1, 9);

    let asked = transaction.recipients(Some(gone), Audience::Everyone, None);

    assert_eq!(asked, Err(LinkError::Unknown(gone)));
}
