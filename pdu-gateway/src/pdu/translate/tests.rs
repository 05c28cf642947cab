use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use route_proto::legacy::im;
use route_proto::pdu::command;

use super::*;

#[test]
fn a_heartbeat_may_have_any_body() {
    assert_eq!(
        meaning(command::HEARTBEAT, b"\xff whatever"),
        Meaning::Heartbeat
    );
}

#[test]
fn a_role_claims_or_means_nothing() {
    for (master, claimed) in [(0, false), (1, true), (7, true)] {
        let body = im::server::ImRoleSet { master }.encode_to_vec();

        assert_eq!(meaning(command::ROLE_SET, &body), Meaning::Role { claimed });
    }
}

#[test]
fn a_role_that_cannot_be_read_is_dropped() {
    for body in [&b""[..], b"\xff\xff\xff", b"\x0a\x04text"] {
        assert!(matches!(
            meaning(command::ROLE_SET, body),
            Meaning::Unreadable {
                presence: false,
                ..
            }
        ));
    }
}

#[test]
fn a_list_keeps_its_order() {
    let body = list(&[(7, 1, 0x01), (8, 2, 0x12), (7, 3, 0x11)]);

    let Meaning::List(parts) = meaning(command::ONLINE_USER_LIST, &body) else {
        panic!("a valid list is read");
    };

    let expected = SessionList {
        user_ids: vec![7, 8, 7],
        client_types: vec![0x01, 0x12, 0x11],
        statuses: vec![1, 2, 3],
        last: true,
    };
    assert_eq!(parts, [expected]);
}

#[test]
fn long_lists_come_in_parts_and_empty_ones_in_one() {
    for (length, expected) in [
        (0, vec![0]),
        (LIST_PART, vec![LIST_PART]),
        (2 * LIST_PART + 1, vec![LIST_PART, LIST_PART, 1]),
    ] {
        let entries: Vec<_> = (0..length as u32).map(|user| (user, 1, 1)).collect();

        let Meaning::List(parts) = meaning(command::ONLINE_USER_LIST, &list(&entries)) else {
            panic!("a valid list is read");
        };

        let lengths: Vec<_> = parts.iter().map(|part| part.user_ids.len()).collect();
        assert_eq!(lengths, expected);
        let (last, before) = parts.split_last().unwrap();
        assert!(last.last && before.iter().all(|part| !part.last));
    }
}

#[test]
fn one_bad_entry_drops_the_whole_list() {
    for bad in [
        (9, 0, 1),
        (9, 4, 1),
        (9, 1, 0),
        (9, 1, 0x13),
        (9, 1, 0x0101),
    ] {
        let body = list(&[(7, 1, 1), bad, (8, 1, 1)]);

        assert!(
            matches!(
                meaning(command::ONLINE_USER_LIST, &body),
                Meaning::Unreadable { presence: true, .. }
            ),
            "{bad:?}"
        );
    }
}

#[test]
fn an_update_says_who_and_what() {
    for (status, client_type, expected) in [
        (1, 0x01, 1),
        (2, 0x12, 2),
        (3, 0x02, 3),
        (0, 0x11, 1),
        (99, 0x12, 1),
    ] {
        let body = update(status, 42, client_type);

        let expected = updated(42, client_type, expected);
        assert_eq!(meaning(command::USER_STATUS_UPDATE, &body), expected);
    }
}

#[test]
fn an_update_of_a_desktop_client_needs_a_status_that_exists() {
    for status in [0, 4, 99] {
        let body = update(status, 42, 0x01);

        let expected = unread_presence(BodyError::Status(status));
        assert_eq!(meaning(command::USER_STATUS_UPDATE, &body), expected);
    }
}

#[test]
fn required_fields_are_required() {
    let good = update(1, 42, 1);
    for (field, range) in [("status", 0..2), ("user_id", 2..4), ("client_type", 4..6)] {
        let mut body = good.clone();
        body.drain(range);

        let expected = unread_presence(BodyError::Missing(field));
        assert_eq!(meaning(command::USER_STATUS_UPDATE, &body), expected);
    }
}

#[test]
fn a_field_of_another_wire_type_is_unknown() {
    // given: user_id as a string
    let body = [0x08, 1, 0x12, 1, b'4', 0x18, 1];

    let expected = unread_presence(BodyError::Missing("user_id"));
    assert_eq!(meaning(command::USER_STATUS_UPDATE, &body), expected);
}

#[test]
fn the_last_of_a_repeated_scalar_wins_unless_it_is_no_value_of_its_enum() {
    let body = [update(1, 42, 1), update(2, 43, 0x99)].concat();

    let expected = updated(43, 1, 2);
    assert_eq!(meaning(command::USER_STATUS_UPDATE, &body), expected);
}

#[test]
fn a_query_takes_packed_and_unpacked_ids() {
    let body = [
        0x08, 7, 0x10, 1, 0x12, 3, 2, 0xac, 0x02, 0x10, 1, 0xa2, 0x01, 2, b'h', b'i',
    ];

    let expected = StatusQuery {
        requester: 7,
        user_ids: vec![1, 2, 300, 1],
        attach_data: b"hi",
    };
    assert_eq!(
        meaning(command::USERS_STATUS_QUERY, &body),
        Meaning::Query(expected)
    );
}

#[test]
fn malformed_queries_are_dropped() {
    let good = [0x08, 5, 0x10, 9];
    let bad: [&[u8]; 9] = [
        b"\x12",
        b"\xa2\x01\x05ab",
        b"\x00",
        b"\x3c",
        b"\x3b",
        b"\x3e",
        b"\x00\x01",
        b"\xff",
        b"\x12\x01\xff",
    ];
    for tail in bad {
        let body = [&good, tail].concat();

        assert!(
            matches!(
                meaning(command::USERS_STATUS_QUERY, &body),
                Meaning::Unreadable {
                    presence: false,
                    ..
                }
            ),
            "{tail:02x?}"
        );
    }
    for body in [&b""[..], &good[2..], b"\x0a\x01x\x10\x09"] {
        assert!(matches!(
            meaning(command::USERS_STATUS_QUERY, body),
            Meaning::Unreadable { .. }
        ));
    }
}

#[test]
fn each_command_has_its_audience() {
    for (command, body, scope, user_ids) in valid_envelopes() {
        let expected = Meaning::Envelope {
            scope,
            user_ids,
            unread: None,
            odd_type: None,
        };
        assert_eq!(meaning(command, &body), expected, "{command:#06x}");
    }
}

#[test]
fn what_cannot_be_read_goes_to_all_others() {
    for (command, body, scope, _) in valid_envelopes() {
        let expected = match scope {
            AudienceScope::Users | AudienceScope::Reporters => AudienceScope::Others,
            AudienceScope::Sessions => AudienceScope::UnparsedAll,
            AudienceScope::Unspecified | AudienceScope::Others | AudienceScope::UnparsedAll => {
                continue;
            }
        };
        for bad in [&b""[..], b"\xff", &[&body[..], b"\x00"].concat()] {
            assert!(
                matches!(
                    meaning(command, bad),
                    Meaning::Envelope { scope, user_ids, unread: Some(_), .. }
                        if user_ids.is_empty() && scope == expected
                ),
                "{command:#06x}"
            );
        }
    }
}

#[test]
fn other_commands_are_unknown() {
    for command in [0x0000, 0x0203, 0x020b, 0x0302, 0x070e, 0x9999, 0xffff] {
        assert_eq!(meaning(command, b""), Meaning::Unknown);
    }
}

#[test]
fn a_fork_may_have_more_client_types() {
    let web = Dialect::standard().with_client_types(&[0x13, 0x21]);
    let body = update(1, 42, 0x21);

    assert_eq!(
        translate(&web, command::USER_STATUS_UPDATE, &body),
        updated(42, 0x21, 1)
    );
}

#[test]
fn a_lenient_dialect_reads_what_is_missing_as_zero() {
    let proto3 = Dialect::standard().lenient();

    // user id 0 omitted, as proto3 does
    assert_eq!(
        translate(&proto3, command::USER_STATUS_UPDATE, &[0x08, 1, 0x18, 1]),
        updated(0, 1, 1)
    );
    // A client of no type is a desktop, and whatever is not OFFLINE is there, as in forks that are compiled so.
    assert_eq!(
        translate(&proto3, command::USER_STATUS_UPDATE, &[0x10, 7]),
        updated(7, 0, 1)
    );
}

proptest! {
    #[test]
    fn prost_and_we_agree_on_valid_lists(
        entries in proptest::collection::vec((any::<u32>(), 1..=3_i32, 0..4_usize), 0..50),
    ) {
        const TYPES: [u32; 4] = [0x01, 0x02, 0x11, 0x12];
        let entries: Vec<_> =
            entries.into_iter().map(|(user, status, kind)| (user, status as u32, TYPES[kind])).collect();
        let body = list(&entries);

        let Meaning::List(parts) = meaning(command::ONLINE_USER_LIST, &body) else {
            panic!("a valid list is read");
        };

        let read: Vec<_> = (0..entries.len())
            .map(|at| (parts[0].user_ids[at], parts[0].statuses[at] as u32, parts[0].client_types[at]))
            .collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn no_body_can_panic_it(command in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let known = [command, command::MESSAGE, command::ONLINE_USER_LIST, command::USER_STATUS_UPDATE,
            command::USERS_STATUS_QUERY, command::GROUP_CHANGED, command::FILE_NOTICE];
        for command in known {
            let _ = translate(&Dialect::standard(), command, &body);
        }
    }
}

fn meaning(command: u16, body: &[u8]) -> Meaning<'_> {
    translate(strict(), command, body)
}

fn updated(user_id: u32, client_type: u32, status: i32) -> Meaning<'static> {
    Meaning::Update(SessionUpdate {
        user_id,
        client_type,
        status,
    })
}

fn unread_presence(error: BodyError) -> Meaning<'static> {
    Meaning::Unreadable {
        error,
        presence: true,
    }
}

fn strict() -> &'static Dialect {
    static STRICT: std::sync::LazyLock<Dialect> = std::sync::LazyLock::new(Dialect::standard);
    &STRICT
}

fn list(entries: &[(u32, u32, u32)]) -> Vec<u8> {
    let entry =
        |&(user_id, status, client_type): &(u32, u32, u32)| im::base_define::ServerUserStat {
            user_id,
            status: status as i32,
            client_type: client_type as i32,
        };
    im::server::ImOnlineUserInfo {
        user_stat_list: entries.iter().map(entry).collect(),
    }
    .encode_to_vec()
}

fn update(user_status: u32, user_id: u32, client_type: u32) -> Vec<u8> {
    im::server::ImUserStatusUpdate {
        user_status,
        user_id,
        client_type: client_type as i32,
    }
    .encode_to_vec()
}

/// Command, body, scope, users.
#[expect(clippy::too_many_lines, reason = "a table")]
fn valid_envelopes() -> Vec<(u16, Vec<u8>, AudienceScope, Vec<u32>)> {
    use AudienceScope::{Others, Reporters, Sessions, Users};
    let message = |msg_type: i32| {
        im::message::ImMsgData {
            from_user_id: 11,
            to_session_id: 12,
            msg_id: 1,
            create_time: 2,
            msg_type,
            msg_data: Bytes::from_static(b"hello"),
            attach_data: None,
        }
        .encode_to_vec()
    };
    let read = im::message::ImMsgDataReadNotify {
        user_id: 11,
        session_id: 12,
        msg_id: 1,
        session_type: 1,
    }
    .encode_to_vec();
    let p2p = im::switch_service::Imp2pCmdMsg {
        from_user_id: 11,
        to_user_id: 12,
        cmd_msg_data: "x".to_owned(),
    }
    .encode_to_vec();
    let removed = im::buddy::ImRemoveSessionNotify {
        user_id: 11,
        session_type: 2,
        session_id: 12,
    }
    .encode_to_vec();
    let kick = im::server::ImServerKickUser {
        user_id: 11,
        client_type: 1,
        reason: 1,
    }
    .encode_to_vec();
    let group = im::group::ImGroupChangeMemberNotify {
        user_id: 11,
        change_type: 1,
        group_id: 12,
        cur_user_id_list: vec![13, 14],
        chg_user_id_list: vec![14],
    }
    .encode_to_vec();
    let file = im::file::ImFileNotify {
        from_user_id: 11,
        to_user_id: 12,
        file_name: "f".to_owned(),
        file_size: 1,
        task_id: "t".to_owned(),
        ip_addr_list: vec![im::base_define::IpAddr {
            ip: "127.0.0.1".to_owned(),
            port: 1,
        }],
        trans_mode: 2,
        offline_ready: 1,
    }
    .encode_to_vec();
    let signature = im::buddy::ImSignInfoChangedNotify {
        changed_user_id: 11,
        sign_info: "s".to_owned(),
    }
    .encode_to_vec();
    vec![
        (command::MESSAGE, message(1), Users, vec![11, 12]),
        (command::MESSAGE, message(2), Users, vec![11, 12]),
        (command::MESSAGE, message(0x11), Reporters, vec![]),
        (command::MESSAGE, message(0x12), Reporters, vec![]),
        (command::READ_RECEIPT, read, Users, vec![11]),
        (command::P2P_COMMAND, p2p, Users, vec![11, 12]),
        (command::CONVERSATION_REMOVED, removed, Users, vec![11]),
        (command::KICK_USER, kick, Others, vec![]),
        (command::KICK_USER, b"\xff".to_vec(), Others, vec![]),
        (command::GROUP_CHANGED, group, Users, vec![13, 14, 14]),
        (command::FILE_NOTICE, file, Users, vec![12]),
        (command::SIGNATURE_CHANGED, signature, Sessions, vec![]),
    ]
}
