use route_core::{ChangeReason, LinkId, PresenceChange, Status, Summary, UserId};
use route_proto::pdu::HEADER_LEN;
use route_proto::v1::event::Body as Typed;
use route_proto::v1::{
    self as api, ChatMessage, ConversationRemoval, ConversationType, DesktopLoginChange,
    FileNotice, FileServer, GroupChange, GroupChangeType, Kick, P2pCommand, ReadReceipt,
    SignatureChange, StatusChange, UserRole,
};

use std::sync::Arc;

use bytes::Bytes;
use prost_types::Timestamp;
use route_core::{Command, Event, LinkView};
use route_dialect::{Concerned, Dialect};
use route_proto::pdu::command;
use route_proto::v1::EventKind;

use super::*;
use crate::dialects::{Dialects, Spoken};
use crate::refusal::Refusal;

#[test]
fn what_is_published_reads_back_as_the_same_event() {
    for typed in one_of_each() {
        let publication = publish(typed.clone()).expect("it is complete");

        let event = Event::Envelope {
            origin: None,
            command: standard(publication.command),
            pdu: publication.pdu.clone(),
        };
        let read = shown(&event);
        assert_eq!(read.body, Some(typed));
        assert!(!read.unparsed);
        assert_eq!(read.origin_link, "");
        assert_eq!(raw_pdu(&event), publication.pdu);
    }
}

#[test]
fn a_message_without_a_time_was_written_now() {
    let timeless = Typed::ChatMessage(ChatMessage {
        create_time: None,
        ..chat()
    });

    let publication = publish(timeless).expect("it is complete");

    let read = shown(&envelope(
        publication.command,
        &publication.pdu[HEADER_LEN..],
    ));
    let Some(Typed::ChatMessage(chat)) = read.body else {
        panic!("not a message: {read:?}");
    };
    assert_eq!(chat.create_time, at(NOW));
}

#[test]
fn a_published_pdu_has_the_legacy_header() {
    let publication = publish(signature()).expect("it is complete");

    let body = [0x08, 0x07, 0x12, 0x02, b'h', b'i'];
    let header = [0, 0, 0, 22, 0, 1, 0, 0, 0, 2, 0x02, 0x15, 0, 0, 0, 0];
    assert_eq!(publication.pdu, [&header[..], &body].concat());
}

#[test]
fn every_command_concerns_whom_the_table_names() {
    let concerned: Vec<_> = one_of_each()
        .into_iter()
        .map(|event| publish(event).expect("it is complete"))
        .map(|publication| (publication.command, publication.concerned))
        .collect();

    let users = |ids: &[u32]| Concerned::Users(ids.to_vec());
    assert_eq!(
        concerned,
        [
            (0x0301, users(&[1, 2])),
            (0x0301, Concerned::Reporters),
            (0x0601, users(&[1, 2])),
            (0x0304, users(&[7])),
            (0x070d, Concerned::Others),
            (0x040b, users(&[8, 9, 10])),
            (0x0508, users(&[2])),
            (0x020f, users(&[7])),
            (0x0215, Concerned::Sessions),
        ]
    );
}

#[test]
fn a_body_that_lacks_a_required_field_is_unparsed() {
    for typed in one_of_each() {
        let publication = publish(typed).expect("it is complete");
        let event = |body: &[u8]| Event::Envelope {
            origin: Some(Arc::new(LinkView {
                id: LinkId::new(0xab, 3),
                peer: ([10, 0, 0, 1], 7).into(),
                msg_server: "m1".to_owned(),
            })),
            command: standard(publication.command),
            pdu: [&publication.pdu[..HEADER_LEN], body].concat().into(),
        };

        let empty = shown(&event(b""));
        let garbage = shown(&event(b"\xff\xff\xff"));

        for read in [empty, garbage] {
            assert!(read.unparsed, "{:#x}", publication.command);
            assert_eq!(read.body, None);
            assert_eq!(read.origin_link, "ab-3");
            assert_eq!(read.origin_msg_server, "m1");
            assert_ne!(read.kind(), EventKind::Unspecified);
        }
    }
}

#[test]
fn packed_lists_and_text_that_is_not_utf_8_are_read() {
    let body = [8, 7, 16, 1, 24, 5, 34, 3, 1, 2, 3, 42, 2, 4, 5];
    let group = shown(&envelope(command::GROUP_CHANGED, &body));
    let p2p = shown(&envelope(command::P2P_COMMAND, &[8, 1, 16, 2, 26, 1, 0xff]));

    let Some(Typed::GroupChange(group)) = group.body else {
        panic!("not a group change: {group:?}");
    };
    assert_eq!((group.member_ids.len(), group.changed_ids.len()), (3, 2));
    let Some(Typed::P2pCommand(p2p)) = p2p.body else {
        panic!("not a p2p command: {p2p:?}");
    };
    assert_eq!(&p2p.command[..], [0xff]);
}

#[test]
fn text_that_is_not_utf_8_is_shown_with_its_bytes() {
    let body = [0x08, 1, 0x12, 4, 0xc7, 0xa9, 0xc3, 0xfb];
    let changed = shown(&envelope(command::SIGNATURE_CHANGED, &body));

    assert!(!changed.unparsed);
    let Some(Typed::SignatureChange(changed)) = changed.body else {
        panic!("not a signature: {changed:?}");
    };
    assert_eq!(changed.signature, "\u{1e9}\u{fffd}\u{fffd}");
    assert_eq!(changed.signature_bytes[..], body[4..]);
    let published = publish(Typed::SignatureChange(changed)).expect("it is complete");
    assert_eq!(published.pdu[HEADER_LEN..], body);
}

#[test]
fn services_may_publish_what_some_dialect_has() {
    let dialects = Dialects::new();
    let web = Typed::Kick(Kick {
        user_id: 7,
        client_type: 0x21,
        reason: 1,
    });
    let chat = Typed::ChatMessage(ChatMessage {
        message_type: 0x88,
        conversation_type: ConversationType::Group.into(),
        ..chat()
    });
    let event = |typed: &Typed| api::Event {
        body: Some(typed.clone()),
        ..api::Event::default()
    };
    for typed in [&web, &chat] {
        assert!(publication(event(typed), NOW, &dialects).is_err());
    }
    let fork = "name = \"fork\"\nbase = \"teamtalk\"\n\
                [client_types]\ndesktop = [0x21]\n[message_types]\ngroup = [0x88]";
    let fork = Dialects::read(fork).expect("it can be read");
    dialects.learn(fork.as_ref()).expect("it is the first");
    for typed in [&web, &chat] {
        assert!(publication(event(typed), NOW, &dialects).is_ok());
    }
    let publication = publication(event(&chat), NOW, &dialects).expect("a dialect has it");
    assert_eq!(publication.concerned, Concerned::Reporters);
    let event = Event::Envelope {
        origin: None,
        command: Command {
            id: publication.command,
            dialect: Dialects::PUBLISHED,
        },
        pdu: publication.pdu,
    };
    assert_eq!(shown_by(&dialects, &event).body, Some(chat));
}

#[test]
fn no_bytes_can_panic_the_reader() {
    let mut random = fastrand::Rng::with_seed(1);
    let dialects = Dialects::new();
    let told = learn_standard(&dialects);
    let commands: Vec<_> = route_dialect::Command::all()
        .map(route_dialect::Command::standard_id)
        .collect();
    for _ in 0..20_000 {
        let command = commands[random.usize(..commands.len())];
        let pdu: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();

        shown_by(
            &dialects,
            &Event::Envelope {
                origin: None,
                command: Command {
                    id: command,
                    dialect: told.number,
                },
                pdu: pdu.into(),
            },
        );
    }
}

#[test]
fn an_event_names_its_sender_and_its_receivers() {
    let shown: Vec<_> = one_of_each().into_iter().map(of_event).collect();
    let by = |role| shown.iter().map(move |event| names(event, role).collect());
    let users = |ids: &[u32]| ids.iter().copied().map(Name::User).collect::<Vec<_>>();

    let senders: Vec<Vec<Name>> = by(UserRole::Sender).collect();
    let receivers: Vec<Vec<Name>> = by(UserRole::Receiver).collect();
    let either: Vec<Vec<Name>> = by(UserRole::Unspecified).collect();

    let expected = [1, 1, 1, 7, 7, 7, 1, 7, 7].map(|id| users(&[id]));
    assert_eq!(senders, expected);
    let expected = [
        users(&[2]),
        vec![Name::Group(11)],
        users(&[2]),
        users(&[7]),
        users(&[7]),
        users(&[8, 9, 10]),
        users(&[2]),
        users(&[7]),
        users(&[7]),
    ];
    assert_eq!(receivers, expected);
    for (either, (sender, receivers)) in either.iter().zip(senders.iter().zip(&receivers)) {
        assert_eq!(*either, [&sender[..], receivers].concat());
    }
}

#[test]
fn what_is_said_between_two_or_in_a_group_is_of_that_conversation() {
    let shown = one_of_each().into_iter().map(of_event);

    let talks: Vec<_> = shown.map(|event| talk(&event)).collect();

    let (pair, group) = (Some(Talk::pair(2, 1)), Some(Talk::Group(11)));
    let removed = Some(Talk::pair(7, 8));
    let expected = [pair, group, pair, group, None, group, pair, removed, None];
    assert_eq!(talks, expected);
}

#[test]
fn a_status_change_names_its_user() {
    let away = Summary {
        status: Status::Away,
        legacy_online: true,
        mobile: false,
    };
    let event = shown(&Event::Presence(PresenceChange {
        user: UserId(5),
        before: Summary::OFFLINE,
        after: away,
        sessions: None,
        reason: ChangeReason::Away,
    }));

    let named: Vec<_> = names(&event, UserRole::Receiver).collect();
    assert_eq!(named, [Name::User(5)]);
    assert_eq!(event.kind(), EventKind::StatusChange);
}

/// Enums of MsgServers are open, where their dialect reads such a PDU at all.
#[test]
fn numbers_of_a_fork_come_through() {
    let dialects = Dialects::new();
    let proto3 = Dialect::named("proto3").expect("it is built in");
    let spoken = dialects.learn(Some(&proto3)).expect("it is the first");
    let read = Event::Envelope {
        origin: None,
        command: Command {
            id: command::READ_RECEIPT,
            dialect: spoken.number,
        },
        pdu: [&[0; HEADER_LEN][..], b"\x08\x01\x10\x02\x18\x03\x20\x07"]
            .concat()
            .into(),
    };

    let Some(Typed::ReadReceipt(read)) = shown_by(&dialects, &read).body else {
        panic!("it can be read");
    };
    assert_eq!((read.user_id, read.conversation_type), (1, 7));
}

#[test]
fn what_a_msg_server_would_drop_is_refused() {
    let wrong = [
        Typed::ChatMessage(ChatMessage {
            message_type: 3,
            ..chat()
        }),
        Typed::ChatMessage(ChatMessage {
            conversation_type: ConversationType::Group.into(),
            ..chat()
        }),
        Typed::ChatMessage(ChatMessage {
            message_id: 0,
            ..chat()
        }),
        Typed::Kick(Kick {
            user_id: 7,
            client_type: 0x13,
            reason: 1,
        }),
        Typed::Kick(Kick {
            user_id: 7,
            client_type: 1,
            reason: 0,
        }),
        Typed::P2pCommand(P2pCommand::default()),
        Typed::ReadReceipt(ReadReceipt::default()),
        Typed::GroupChange(GroupChange::default()),
        Typed::FileNotice(FileNotice::default()),
        Typed::ConversationRemoval(ConversationRemoval::default()),
        Typed::SignatureChange(SignatureChange::default()),
        Typed::StatusChange(StatusChange::default()),
        Typed::DesktopLoginChange(DesktopLoginChange::default()),
    ];

    for typed in wrong {
        let refused = publish(typed.clone());
        assert!(
            matches!(refused, Err(Refusal::FieldInvalid(_))),
            "{typed:?}"
        );
    }
    assert!(publication(api::Event::default(), NOW, &Dialects::new()).is_err());
}

fn shown(event: &Event) -> api::Event {
    let dialects = Dialects::new();
    assert_eq!(learn_standard(&dialects).number, STRICT);
    shown_by(&dialects, event)
}

fn shown_by(dialects: &Dialects, event: &Event) -> api::Event {
    typed(dialects, event, kind(dialects, event))
}

fn learn_standard(dialects: &Dialects) -> Spoken {
    let standard = Dialect::standard();
    dialects.learn(Some(&standard)).expect("it is the first")
}

/// Unix time of a publication.
const NOW: u32 = 1_800_000_000;

/// The number of the first dialect that a gateway tells.
const STRICT: u16 = 1;

fn at(seconds: u32) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: seconds.into(),
        nanos: 0,
    })
}

fn standard(id: u16) -> Command {
    let dialect = STRICT;
    Command { id, dialect }
}

fn publish(typed: Typed) -> Result<Publication, Refusal> {
    publication(of_event(typed), NOW, &Dialects::new())
}

fn of_event(typed: Typed) -> api::Event {
    api::Event {
        body: Some(typed),
        ..api::Event::default()
    }
}

fn envelope(command: u16, body: &[u8]) -> Event {
    Event::Envelope {
        origin: None,
        command: standard(command),
        pdu: [&[0; HEADER_LEN][..], body].concat().into(),
    }
}

fn chat() -> ChatMessage {
    ChatMessage {
        from_user_id: 1,
        to_id: 2,
        conversation_type: ConversationType::Single.into(),
        message_id: 3,
        create_time: at(4),
        message_type: 1,
        content: Bytes::from_static(b"\x00hello"),
        attach_data: Bytes::new(),
    }
}

fn signature() -> Typed {
    Typed::SignatureChange(SignatureChange {
        user_id: 7,
        signature: "hi".to_owned(),
        signature_bytes: Bytes::new(),
    })
}

fn one_of_each() -> [Typed; 9] {
    [
        Typed::ChatMessage(chat()),
        Typed::ChatMessage(ChatMessage {
            to_id: 11,
            conversation_type: ConversationType::Group.into(),
            message_type: 0x11,
            attach_data: Bytes::from_static(b"x"),
            ..chat()
        }),
        Typed::P2pCommand(P2pCommand {
            from_user_id: 1,
            to_user_id: 2,
            command: Bytes::from_static(b"{}"),
        }),
        Typed::ReadReceipt(ReadReceipt {
            user_id: 7,
            conversation_id: 11,
            message_id: 12,
            conversation_type: ConversationType::Group.into(),
        }),
        Typed::Kick(Kick {
            user_id: 7,
            client_type: 0x11,
            reason: 1,
        }),
        Typed::GroupChange(GroupChange {
            user_id: 7,
            change_type: GroupChangeType::Removed.into(),
            group_id: 11,
            member_ids: vec![8, 9],
            changed_ids: vec![10],
        }),
        Typed::FileNotice(FileNotice {
            from_user_id: 1,
            to_user_id: 2,
            file_name: "a".to_owned(),
            file_name_bytes: Bytes::new(),
            task_id_bytes: Bytes::new(),
            file_size_bytes: 3,
            task_id: "t".to_owned(),
            servers: vec![FileServer {
                ip: "10.0.0.1".to_owned(),
                port: 80,
            }],
            transfer_mode: 2,
            offline_ready: true,
        }),
        Typed::ConversationRemoval(ConversationRemoval {
            user_id: 7,
            conversation_type: ConversationType::Single.into(),
            conversation_id: 8,
        }),
        signature(),
    ]
}
